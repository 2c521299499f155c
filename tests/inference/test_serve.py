"""A server as a user runs it: what it answers, what it refuses, what it keeps, and its page in a browser."""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from serving import SCRIPT, face_bundle, filmed, opened, serving, write_clip

import pkdot
from pkdot.cli import main
from tests.features.conftest import write_video

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
LIMITS = ["--megabytes", "2", "--length", "20", "--pixels", "1000000", "--upload", "4", "--waiting", "7"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    face_bundle(folder / "student")
    write_clip(folder / "clip.mp4")
    write_clip(folder / "short.mp4", seconds=2.0)
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """A client of a running server, with its process."""
    started = serving(folder / "student", *LIMITS, log=folder / "log", temporary=folder / "temporary")
    with started as (url, process), httpx.Client(base_url=url, timeout=120) as client:
        client.process = process
        yield client
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture
def clip(folder):
    return (folder / "clip.mp4").read_bytes()


def test_it_answers_what_the_student_predicts(server, folder, clip):
    answer = server.post("/predict", content=clip).json()["windows"]
    table = pkdot.load_student(folder / "student").predict(folder / "clip.mp4", every=1.0)
    assert [(one["start"], one["stop"]) for one in answer] == list(zip(table["start"], table["stop"], strict=True))
    assert [one["answer"]["prediction"] for one in answer] == table["prediction"].tolist()
    given = [list(one["answer"]["probabilities"].values()) for one in answer]
    np.testing.assert_allclose(given, table.filter(like="p_").to_numpy(), atol=1e-5)
    for one in answer:
        time, left, top, right, bottom = np.array(one["boxes"]).T
        assert ((one["start"] <= time) & (time <= one["stop"])).all()
        assert ((left < right) & (top < bottom)).all()
        assert one["face"] == 1


def test_windows_are_lines_as_soon_as_they_are_known(server, clip):
    with server.stream("POST", "/predict", content=clip, headers={"Accept": "application/x-ndjson"}) as answer:
        events = [json.loads(line) for line in answer.iter_lines()]
    assert [event["event"] for event in events] == ["window"] * 4 + ["done"]
    assert [event["share"] for event in events[:-1]] == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("name", ["clip.mp4", "../../etc/passwd", f"{SCRIPT}.mp4", "a\nb.mp4", "", "人.MP4"])
def test_a_form_may_carry_the_file_whatever_it_is_called(server, clip, name):
    answer = server.post("/predict", files={"file": (name, clip, "video/mp4")})
    assert (answer.status_code, len(answer.json().get("windows", []))) == ((200, 4) if name else (400, 0))


def test_what_cannot_be_predicted_is_a_status_and_a_sentence(server, folder, clip):
    write_clip(folder / "long.mp4", seconds=21)
    write_video(folder / "large.mp4", [np.zeros((1200, 1000, 3), np.uint8)] * 2)
    write_video(folder / "nobody.mp4", list(np.random.default_rng(0).integers(0, 255, (60, 120, 160, 3), np.uint8)))
    cases = [
        (b"", 400, "no file came"),
        (b"hello", 422, "not a readable video"),
        (clip[:2000], 422, "not a readable video"),
        (b"\x00" * 100_000, 422, "not a readable video"),
        ((folder / "long.mp4").read_bytes(), 422, "it lasts 21.0 s, and 20 s are allowed"),
        ((folder / "large.mp4").read_bytes(), 422, "has 1000 x 1200 pixels, and 1,000,000 are allowed"),
        ((folder / "nobody.mp4").read_bytes(), 422, "0 with the subject's face"),
        (b"\x00" * 2_000_001, 413, "the file has 2.0 MB, and 2 MB are allowed"),
        ((b"\x00" * 100_000 for _ in range(30)), 413, "more than the 2 MB that are allowed"),
    ]
    for content, status, sentence in cases:
        answer = server.post("/predict", content=content)
        assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
        assert str(folder) not in answer.text
    for form in ({"files": {"file": (None, "text")}}, {"files": {"file": ("x.mp4", b"")}}):
        assert server.post("/predict", **form).status_code == 400
    mangled = server.post("/predict", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data"})
    assert mangled.status_code == 400
    assert server.post("/predict", content=clip).status_code == 200


def raw(server, content):
    """A connection on which some bytes were sent."""
    address = urlsplit(str(server.base_url))
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    connection.sendall(content)
    return connection


def begun(server, length=1_000_000):
    host = urlsplit(str(server.base_url)).netloc
    return f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\nonly this".encode()


def test_a_file_that_comes_too_slowly_is_given_up(server, clip):
    connections = [raw(server, begun(server)) for _ in range(3)]
    assert server.post("/predict", content=clip).status_code == 200, "others are served meanwhile"
    for connection in connections:
        assert connection.recv(100).startswith(b"HTTP/1.1 408"), "not within its four seconds"
        connection.close()


def idle(server):
    """Wait until nothing is worked on."""
    for _ in range(600):
        if server.get("/health").json()["now"] == 0:
            return True
        threading.Event().wait(0.05)
    return False


def test_who_leaves_costs_nobody_else_anything(server, clip):
    for _ in range(5):
        raw(server, begun(server)).close()  # before the file has come
        with server.stream("POST", "/predict", content=clip, headers={"Accept": "application/x-ndjson"}) as answer:
            next(answer.iter_lines())  # while it is computed
    assert idle(server)
    assert len(server.post("/predict", content=clip).json()["windows"]) == 4


def test_too_many_at_once_are_told_to_come_back(server, clip):
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(server.base_url.join("/predict"), content=clip, timeout=120), range(16))
        )
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 8
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "5"
    assert idle(server)


def memory(process):
    """Bytes of a process and of those that it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in family)


def test_many_requests_lose_nothing_and_memory_stays(server, folder):
    """Eight at once, as benchmarks/serve.py does it with two hundred."""
    clip = (folder / "short.mp4").read_bytes()

    def round_of(count):
        with ThreadPoolExecutor(8) as pool:
            send = lambda _: httpx.post(server.base_url.join("/predict"), content=clip, timeout=120)  # noqa: E731
            return [answer.json()["windows"] for answer in pool.map(send, range(count))]

    first = round_of(8)
    before = memory(server.process)
    found = first + round_of(24)
    assert all(windows == first[0] for windows in found)
    assert memory(server.process) < 1.1 * before


def test_nothing_of_what_was_sent_is_on_the_disk(server, folder, clip):
    with server.stream("POST", "/predict", content=clip, headers={"Accept": "application/x-ndjson"}) as answer:
        lines = answer.iter_lines()
        next(lines)
        held = [path for path in (folder / "temporary").rglob("*") if path.is_file() and not path.is_symlink()]
        assert held == []
        list(lines)
    assert idle(server)
    assert list((folder / "temporary").iterdir()) == []


def test_pages_of_other_sites_and_other_names_are_refused(server, clip):
    own = str(server.base_url).rstrip("/")
    assert server.post("/predict", content=clip, headers={"Origin": own}).status_code == 200
    for origin in ("https://example.org", "null", own.replace("127.0.0.1", "localhost")):
        assert server.post("/predict", content=clip, headers={"Origin": origin}).status_code == 403
    assert server.get("/health", headers={"Host": "example.org"}).status_code == 400


def test_every_answer_tells_browsers_what_they_may_do(server):
    for path in ("/", "/page.js", "/docs", "/card", "/openapi.json", "/nothing"):
        answer = server.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.get("/card").headers["content-type"].startswith("text/markdown")
    described = server.get("/openapi.json").json()["paths"]
    assert described.keys() == {"/predict", "/about", "/card", "/health"}
    assert {"400", "408", "413", "422", "503", "504"} <= described["/predict"]["post"]["responses"].keys()
    reference = server.get("/docs").text
    assert "POST /predict" in reference
    assert SCRIPT not in reference


def test_what_is_missing_is_a_sentence(tmp_path, monkeypatch, folder, server):
    with pytest.raises(SystemExit, match="no such folder"):
        main(["serve", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match=r"megabytes: Input should be greater than 0 \(it is 0\.0\)"):
        main(["serve", str(folder / "student"), "--megabytes", "0"])
    port = str(urlsplit(str(server.base_url)).port)
    with pytest.raises(SystemExit, match="cannot listen there"):
        main(["serve", str(folder / "student"), "--port", port])
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(
        SystemExit, match=r"needs the package uvicorn, which is not installed. Run: pip install 'pkdot\[serve\]'"
    ):
        main(["serve", str(folder / "student")])


DRAWN = """() => {
    const canvas = document.getElementById('boxes');
    const ink = canvas.width && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return Boolean(ink && ink.some(value => value > 0));
}"""


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=str)
def page(request, browser, server):
    """The page; its ``complaints`` are all that a clean one never causes."""
    width, scheme = request.param
    with opened(browser, str(server.base_url), width, scheme) as page:
        yield page


def test_a_clip_is_shown_with_its_face_its_trajectory_and_its_answer(page, folder):
    page.wait_for_selector("#simulated:visible")
    assert page.title() == "SIMULATED: faces, student"
    page.set_input_files("#file", str(folder / "clip.mp4"))
    page.wait_for_selector("#progress[value='1']", timeout=60_000)
    assert page.locator("#answer").inner_text() in ("none", f"some {SCRIPT}"), "what is from data is text"
    assert page.locator("#bars meter").count() == 2
    assert page.locator("#trajectory polyline").count() == 2
    assert page.locator("#trajectory circle").count() == 2 * 4
    assert any(page.evaluate(DRAWN) or page.wait_for_timeout(100) for _ in range(100)), "no box is drawn"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("img").count() == 0
    assert page.complaints == []


def test_the_camera_is_predicted_until_it_is_stopped(server, folder, browser):
    """Chromium takes a file for the camera; the page records it and sends what it has recorded."""
    with filmed(browser, folder) as own, opened(own, str(server.base_url)) as page:
        page.click("#camera")
        page.wait_for_selector("#progress[value='1']", timeout=60_000)
        assert page.locator("#problem").is_hidden(), page.locator("#problem").inner_text()
        assert page.locator("#name").inner_text() == "camera.webm"
        assert page.locator("#trajectory polyline").count() == 2
        assert page.evaluate(DRAWN)
        assert page.evaluate("document.getElementById('video').videoWidth") == 320
        page.click("#stop")
        page.wait_for_selector("#camera:visible")
        assert page.evaluate("document.getElementById('video').srcObject") is None
        assert page.complaints == []


def test_the_page_says_why_a_file_cannot_be_predicted(page, folder):
    broken = folder / f"{SCRIPT.replace('/', '')}.mp4"
    broken.write_bytes(b"no video")
    page.set_input_files("#file", str(broken))
    page.wait_for_selector("#problem:visible", timeout=60_000)
    assert "not a readable video" in page.locator("#problem").inner_text()
    assert page.locator("img").count() == 0
    assert [each for each in page.complaints if "422" not in each] == []
