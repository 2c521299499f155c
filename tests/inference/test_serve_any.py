"""A server of a student that takes whatever modalities are there: a form with the file of each, and its page."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from bundles import described, drawn, whatever
from serving import face_bundle, filmed, opened, serving, write_clip

import pkdot
from pkdot import recordings
from pkdot.cli import main
from pkdot.inference.bundle import read_bundle, write_bundle
from pkdot.inference.live import live_student
from tests.features.conftest import write_video

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
LIMITS = ["--megabytes", "2", "--length", "20", "--pixels", "1000000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student of a face and a pulse, both prevalent or not, with a clip and a pulse of five seconds."""
    folder = tmp_path_factory.mktemp("serve")
    face_bundle(folder / "faces")
    face, waves, model = read_bundle(folder / "faces"), described(), whatever().network
    names = ["face", "pulse"]
    student = model.student.model_copy(update={"modalities": names, "prevalent": ["face"]})
    said = waves.model_copy(
        update={
            "method": "any_subset",
            "modalities": {"face": face.modalities["face"], "pulse": waves.modalities["pulse"]},
            "encoders": {"face": face.encoders["face"], "pulse": waves.encoders["pulse"]},
            "network": model.model_copy(update={"student": student, "modalities": names}),
        }
    )
    write_bundle(folder / "student", said, drawn(said))
    write_clip(folder / "clip.mp4")
    np.save(folder / "pulse.npy", np.random.default_rng(0).normal(size=(5 * 16, 1)).astype(np.float32))
    (folder / "broken.npy").write_bytes(b"no array")
    (folder / "empty.npy").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    started = serving(folder / "student", *LIMITS, log=folder / "log")
    with started as (url, _), httpx.Client(base_url=url, timeout=120) as client:
        yield client
    assert "Traceback" not in (folder / "log").read_text()


def sent(server, folder, **names):
    """What the server says of files by the names of fields."""
    files = {field: (name, (folder / name).read_bytes()) for field, name in names.items()}
    return server.post("/predict", files=files)


def windows(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["windows"]


def numbers(found):
    return [list(one["answer"]["probabilities"].values()) for one in found]


def test_a_form_takes_the_file_of_each_modality_and_the_answer_says_what_was_present(server, folder):
    both = windows(sent(server, folder, face="clip.mp4", pulse="pulse.npy"))
    face, pulse = (windows(sent(server, folder, **one)) for one in ({"face": "clip.mp4"}, {"pulse": "pulse.npy"}))
    assert [{*map(tuple, (one["present"] for one in each))} for each in (both, face, pulse)] == [
        {("face", "pulse")}, {("face",)}, {("pulse",)},
    ]  # fmt: skip
    student = pkdot.load_student(folder / "student")
    for found, files in ((both, {"face": "clip.mp4", "pulse": "pulse.npy"}), (face, {"face": "clip.mp4"})):
        table = student.predict({name: folder / file for name, file in files.items()}, every=1.0)
        np.testing.assert_allclose(numbers(found), table.filter(like="p_").to_numpy(dtype=float), atol=1e-5)
    assert pulse[0]["boxes"] == []
    assert all(one["boxes"] for one in both)


def test_one_file_stands_for_what_it_may_hold(server, folder):
    form = windows(sent(server, folder, file="clip.mp4"))
    body = server.post("/predict", content=(folder / "pulse.npy").read_bytes(), headers={"X-File-Name": "p.npy"})
    assert form == windows(sent(server, folder, face="clip.mp4"))
    assert windows(body) == windows(sent(server, folder, pulse="pulse.npy"))


@pytest.mark.parametrize("damaged", ["broken.npy", "empty.npy", "clip.mp4"])
def test_a_damaged_file_beside_a_good_one_is_absent_and_the_note_says_why(server, folder, damaged):
    found = windows(sent(server, folder, face="clip.mp4", pulse=damaged))
    alone = windows(sent(server, folder, face="clip.mp4"))
    assert all(one["note"].startswith("the pulse file: ") for one in found)
    assert [{**one, "note": ""} for one in found] == alone
    assert {"present": ["face"]}.items() <= found[0].items()


def test_a_file_alone_that_is_damaged_is_refused(server, folder):
    answer = sent(server, folder, face="broken.npy", pulse="broken.npy")
    assert answer.status_code == 422
    assert all(f"the {name} file" in answer.text for name in ("face", "pulse"))
    assert str(folder) not in answer.text
    assert "/tmp" not in answer.text


def test_a_form_that_is_wrong_is_a_sentence(server, folder):
    clip, pulse = (folder / "clip.mp4").read_bytes(), (folder / "pulse.npy").read_bytes()
    takes = "this student takes one file as 'file', or the file of a modality by its name (face, pulse)"
    cases = [
        ({"eda": clip}, f"the form has a field 'eda', and {takes}"),
        ({"face": clip, "eda": pulse}, f"the form has a field 'eda', and {takes}"),
        ({"face": clip, "file": pulse}, "the form has face and file; send one file as 'file', or the file of a mod"),
        ({"face": ("x.mp4", b"")}, f"the form has no file; {takes}"),
        ({"face": (None, "clip.mp4")}, "face: the form has text there and no file; with curl: -F face=@FILE"),
        ([("face", clip), ("face", clip)], "face is given twice; a recording has one file of each modality"),
        ({"face": clip, "pulse": pulse, "file": clip}, "the form cannot be read: Too many files"),
    ]
    for files, sentence in cases:
        answer = server.post("/predict", files=files)
        assert (answer.status_code, sentence in answer.json()["error"]) == (400, True), answer.text
    empty = server.post("/predict", content=b"--x--\r\n", headers={"content-type": "multipart/form-data; boundary=x"})
    assert (empty.status_code, "the form has no file" in empty.text) == (400, True)
    chosen = {"face": ("clip.mp4", clip), "pulse": ("", b""), "note": (None, "")}
    assert len(windows(server.post("/predict", files=chosen))) == 4, "a field in which nothing was chosen"


def test_every_file_has_the_limits_of_one(server, folder):
    write_clip(folder / "long.mp4", seconds=21)
    write_video(folder / "large.mp4", [np.zeros((1200, 1000, 3), np.uint8)] * 2)
    clip = (folder / "clip.mp4").read_bytes()
    lasting = io.BytesIO()
    np.save(lasting, np.zeros((21 * 16, 1), np.float32))
    cases = [
        ({"face": (folder / "long.mp4").read_bytes(), "pulse": b"x"}, 422, "the face file: it lasts 21.0 s, and 20 s"),
        ({"face": (folder / "large.mp4").read_bytes(), "pulse": b"x"}, 422, "the face file: a picture has 1000 x 1200"),
        ({"face": clip, "pulse": lasting.getvalue()}, 422, "the pulse file: it lasts 21.0 s, and 20 s are allowed"),
        ({"face": clip, "pulse": b"\0" * 2_500_000}, 413, "the pulse file has 2.5 MB, and 2 MB are allowed"),
        ({"face": b"\0" * 2_500_000, "pulse": b"\0" * 2_500_000}, 413, "the form has 5.0 MB, and 4 MB are allowed"),
    ]
    for files, status, sentence in cases:
        answer = server.post("/predict", files={name: (f"a.{ENDINGS[name]}", one) for name, one in files.items()})
        assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text
    for ending, content in (("npz", archive()), ("parquet", table())):
        assert len(content) < 50_000
        answer = server.post("/predict", files={"face": ("a.mp4", clip), "pulse": (f"a.{ending}", content)})
        assert "the pulse file: unpacked it has 4" in answer.text, "it is refused before it is read"
    two = {"face": ("a.mp4", clip + b"\0" * 1_500_000), "pulse": ("a.npy", b"\0" * 1_500_000)}
    assert windows(server.post("/predict", files=two))[0]["present"] == ["face"], "each is within the limit"
    assert server.post("/predict", content=b"\0" * 2_500_000).status_code == 413, "a body is one file"


def archive():
    """Four megabytes of zeros in an archive of a few kilobytes."""
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros((1_000_000, 1), np.float32))
    return file.getvalue()


def table():
    """Half a million rows of one number."""
    file = io.BytesIO()
    pd.DataFrame({"a": np.zeros(500_000)}).to_parquet(file)
    return file.getvalue()


def test_nothing_of_a_file_stays_in_memory(folder, tmp_path):
    values = np.load(folder / "pulse.npy")
    np.savez(tmp_path / "pulse.npz", values)
    pd.DataFrame(values, columns=["a"]).to_parquet(tmp_path / "pulse.parquet")
    student = live_student(folder / "student", threads=1)
    for name in ("pulse.npz", "pulse.parquet"):
        assert list(student.predict({"pulse": tmp_path / name}))
        kept = (recordings._of_archive, recordings._table, recordings._numbers)
        assert [one.cache_info().currsize for one in kept] == [0, 0, 0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "99999"], "127.0.0.1:99999: cannot listen there"),
        (["--every", "0"], "--every is 0; it takes seconds above zero"),
        (["--every", "nan"], "--every is nan; it takes seconds above zero"),
    ],
)
def test_a_number_that_cannot_be_is_a_sentence(folder, words, sentence):
    with pytest.raises(SystemExit, match=sentence):
        main(["serve", str(folder / "student"), *words])


ENDINGS = {"face": "mp4", "pulse": "npy"}


def test_the_list_of_what_can_be_asked_names_the_fields(server):
    content = server.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(content["multipart/form-data"]["schema"]["properties"]) == ["file", "face", "pulse"]
    assert server.get("/about").json()["any"] is True


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=str)
def page(request, browser, server):
    with opened(browser, str(server.base_url), *request.param) as page:
        page.wait_for_selector("#files:visible")
        yield page


def predicted(page):
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#progress[value='1']", timeout=60_000)
    assert page.locator("#problem").is_hidden(), page.locator("#problem").inner_text()
    return page.locator("#present").inner_text()


def test_the_page_has_a_field_for_each_modality(page, folder):
    assert page.locator("#one").is_hidden()
    assert page.locator("#fields label").all_inner_texts() == ["face", "pulse"]
    page.get_by_label("face").set_input_files(folder / "clip.mp4")
    page.get_by_label("pulse").set_input_files(folder / "pulse.npy")
    assert predicted(page) == "present: face, pulse"
    assert page.locator("#bars meter").count() == 3
    assert page.locator("#name").inner_text() == "clip.mp4, pulse.npy"
    page.wait_for_function("document.getElementById('video').videoWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("pulse").set_input_files(folder / "pulse.npy")
    assert predicted(page) == "present: pulse"
    assert page.locator("#video").is_hidden()
    assert page.complaints == []


def test_the_page_says_what_is_wrong_with_a_form(page, folder):
    page.get_by_role("button", name="Predict").click()
    assert page.locator("#problem").inner_text() == "Choose a file for at least one modality."
    page.get_by_label("face").set_input_files(folder / "clip.mp4")
    page.get_by_label("pulse").set_input_files(folder / "broken.npy")
    assert predicted(page) == "present: face"
    assert page.locator("#note").inner_text().startswith("the pulse file: ")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("face").set_input_files(folder / "broken.npy")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#problem:visible")
    assert "the face file" in page.locator("#problem").inner_text()
    assert [each for each in page.complaints if "422" not in each] == []


def test_a_file_is_dropped_on_the_field_of_its_modality(page, folder):
    content = json.dumps(list((folder / "pulse.npy").read_bytes()))
    page.evaluate(
        """(bytes) => {
            const given = new DataTransfer(), field = document.getElementById('field-pulse');
            given.items.add(new File([new Uint8Array(bytes)], 'dropped.npy'));
            for (const place of [document.body, field])
                place.dispatchEvent(new DragEvent('drop', { dataTransfer: given, bubbles: true }));
        }""",
        json.loads(content),
    )
    assert page.locator("#work").is_hidden(), "nothing is sent before it is asked for"
    assert predicted(page) == "present: pulse"
    assert page.locator("#name").inner_text() == "dropped.npy"
    assert page.complaints == []


def test_the_camera_gives_a_face_alone(server, folder, browser):
    with filmed(browser, folder) as own, opened(own, str(server.base_url)) as page:
        page.click("#camera")
        page.wait_for_selector("#progress[value='1']", timeout=60_000)
        assert page.locator("#problem").is_hidden(), page.locator("#problem").inner_text()
        assert page.locator("#present").inner_text() == "present: face"
        page.click("#stop")
        assert page.complaints == []
