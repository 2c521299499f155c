"""A server of a small student of faces, run as a user runs it, clips for it, and its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2

from pkdot.answer import Answer
from pkdot.descriptions import EmbedderDescription, LinearDescription, NetworkDescription, PluginDescription
from pkdot.inference.bundle import ModalityDescription, write_bundle
from tests.features.conftest import motion, moved, write_video
from tests.inference.bundles import described, drawn

FRAMES, SIZE, SECONDS = 4, 32, 2.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = "<img src=x onerror=alert(1)>"


def face_bundle(folder: Path, regression: bool = False) -> Path:
    """A student that looks at four small crops of two seconds, with random weights."""
    options = {"frames": FRAMES, "window": None, "size": SIZE, "search": 160, "min_coverage": 0.5}
    shape = [FRAMES, SIZE, SIZE, 3]
    encoder = PluginDescription(name="small_r3d", options={})
    answer = Answer(kind="classification", targets=["pain"], classes=["none", f"some {SCRIPT}"])
    if regression:
        answer = Answer(kind="regression", targets=["valence", "arousal"], frames=2)
    said = described().model_copy(
        update={
            "experiment": "faces",
            "title": f"faces {SCRIPT}",
            "method": "student_only",
            "answer": answer,
            "modalities": {
                "face": ModalityDescription(
                    source="video",
                    feature=PluginDescription(name="faces", options=options),
                    shape=shape,
                    dtype="uint8",
                    seconds=SECONDS,
                    rate=None,
                )
            },
            "encoders": {"face": EmbedderDescription(encoder=encoder, shape=shape, dim=6, tokens=2)},
            "network": NetworkDescription(student=LinearDescription(prevalent=6), modalities=["face"]),
        }
    )
    write_bundle(folder, said, drawn(said))
    (folder / "card.md").write_text(f"# A card {SCRIPT}\n", encoding="utf-8")
    return folder


def write_clip(path: Path, seconds: float = 5.0) -> Path:
    """A clip of a face that moves about."""
    write_video(path, [moved(*motion(number))[0] for number in range(round(25 * seconds))])
    return path


@contextmanager
def serving(bundle: Path, *words: str, log: Path | None = None, temporary: Path | None = None):
    """Yield the address and the process of a server; ``temporary`` is where it may put temporary files."""
    environment = {**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})}
    command = [sys.executable, "-m", "pkdot", "serve", str(bundle), "--port", "0", *words]
    with open(log or os.devnull, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            said = process.stdout.readline()
            found = re.search(r"http://\S+:\d+", said)
            assert found, f"the server did not start: {said}"
            yield found[0], process
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


@contextmanager
def opened(browser, url: str, width: int = 1280, scheme: str = "light"):
    """Yield the page; its ``complaints`` are all that a clean one never causes."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (page.complaints.append(dialog.message), dialog.dismiss()))
    own = (url, "blob:", "data:")
    page.on("request", lambda sent: None if sent.url.startswith(own) else page.complaints.append(sent.url))
    page.goto(url)
    yield page
    context.close()


@contextmanager
def filmed(browser, folder: Path):
    """Yield a Chromium that takes a film of three seconds for its camera."""
    film = folder / "camera.y4m"
    pictures = [cv2.cvtColor(moved(*motion(number))[0], cv2.COLOR_RGB2YUV_I420).tobytes() for number in range(75)]
    film.write_bytes(b"YUV4MPEG2 W320 H240 F25:1 Ip A1:1 C420\n" + b"".join(b"FRAME\n" + one for one in pictures))
    fake = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options = ["--no-sandbox", *fake, f"--use-file-for-fake-video-capture={film}"]
    own = browser.browser_type.launch(executable_path=CHROMIUM, args=options)
    yield own
    own.close()
