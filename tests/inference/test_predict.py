"""``pkdot predict``: any file a user may have gets a row; what cannot be used says why and costs nobody else's."""

import csv
import io
import json
import os
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from face_bundle import FEATURE, write_face_bundle
from synthetic import REPO

import pkdot
from pkdot.cli import main
from pkdot.errors import ConfigError
from pkdot.features.base import Source
from pkdot.inference.predict import PredictOptions, predict
from tests.features.conftest import FACE, motion, moved, write_video

IMAGES = [moved(*motion(number))[0] for number in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_face_bundle(tmp_path_factory.mktemp("bundle") / "student")


@pytest.fixture(scope="module")
def student(folder):
    return pkdot.load_student(folder)


def rows_of(student, names, out, film=None, **options):
    """The rows that are written, and how many sources failed."""
    failed = predict(student, [str(name) for name in names], PredictOptions(**options), out, film)
    with open(out, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), failed


@pytest.fixture
def table(student, tmp_path):
    return lambda *names, **options: rows_of(student, names, tmp_path / "table.csv", **options)


def test_a_row_is_what_the_student_predicts_of_the_same_span(student, table, clip):
    rows, failed = table(clip, every=1.5)
    assert failed == 0
    assert list(rows[0]) == [
        "source", "start", "stop", "face", "prediction", "p_slow", "p_fast", "p_none", "confidence", "note"
    ]  # fmt: skip
    assert [(row["start"], row["stop"]) for row in rows] == [("0.0", "2.0"), ("1.5", "3.5"), ("3.0", "5.0")]
    for row in rows:
        start = float(row["start"])
        got = student.extract({"face": Source("sample", clip, start, start + 2)})
        (truth,) = student.predict_arrays({"face": got["face"].array[None]})
        np.testing.assert_allclose([float(row[f"p_{name}"]) for name in student.classes], truth, atol=1e-6)
        assert row["prediction"] == student.classes[truth.argmax()]
        assert float(row["confidence"]) == pytest.approx(truth.max(), abs=1e-6)
        assert (row["face"], row["note"]) == ("1.0", "")


def test_batches_of_any_size_give_the_same_rows(table, clip):
    (one, status), (five, other) = (table(clip, clip, every=0.5, batch=batch) for batch in (1, 5))
    assert (status, other, len(one), len(five)) == (0, 0, 16, 16)
    for mine, theirs in zip(one, five, strict=True):
        numbers = [key for key in mine if key.startswith("p_") or key == "confidence"]
        same = [key for key in mine if key not in numbers]
        assert [mine[key] for key in same] == [theirs[key] for key in same]
        for key in numbers:  # a product of matrices may round otherwise in a larger batch
            assert float(mine[key]) == pytest.approx(float(theirs[key]), abs=2e-6)


def test_values_of_every_frame_have_rows_of_their_own(tmp_path, clip):
    student = pkdot.load_student(write_face_bundle(tmp_path / "values", regression=True))
    rows, failed = rows_of(student, [clip], tmp_path / "t.csv")
    assert list(rows[0]) == ["source", "start", "stop", "face", "valence", "arousal", "note"]
    assert (len(rows), failed) == (2 * 8, 0)
    assert [row["start"] for row in rows[:9:4]] == ["0.0", "1.0", "2.0"]
    truth = student.predict(clip)
    np.testing.assert_allclose([float(row["arousal"]) for row in rows], truth["arousal"], atol=1e-6)
    with pytest.raises(ConfigError, match="--abstain"):
        rows_of(student, [clip], tmp_path / "t.csv", abstain=0.5)


def test_lines_of_json_have_numbers_and_nothing_where_there_is_none(student, tmp_path, clip):
    predict(student, [str(clip), "gone.mp4"], PredictOptions(lines=True, abstain=0.999), tmp_path / "t.json")
    rows = [json.loads(line) for line in (tmp_path / "t.json").read_text().splitlines()]
    assert len(rows) == 3
    assert rows[0]["p_slow"] + rows[0]["p_fast"] + rows[0]["p_none"] == pytest.approx(1)
    assert rows[0]["prediction"] is None
    assert rows[0]["note"] == "the confidence is below 0.999"
    assert (rows[2]["start"], rows[2]["confidence"]) == (None, None)


# What a user may have


def text(path):
    path.write_text("these are words" * 99)


def nothing(path):
    path.write_bytes(b"")


def nobody(path):
    write_video(path, [np.full((240, 320, 3), number, np.uint8) for number in range(60)])


def short(path):
    write_video(path, IMAGES[:30])


def sound_alone(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32768), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def no_index(path):
    """An MP4 that was cut off has lost its index."""
    write_video(path, IMAGES)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (text, "not a readable video"),
        (nothing, "not a readable video"),
        (nobody, "0 with the subject's face"),
        (short, "lasts 1.20 s, and a window of this bundle is 2 s long"),
        (sound_alone, "the file holds no video"),
        (no_index, "not a readable video"),
    ],
)
def test_what_cannot_be_used_says_why_and_the_others_go_on(table, tmp_path, clip, write, reason):
    write(tmp_path / "odd.mp4")
    rows, failed = table(clip, tmp_path / "odd.mp4", clip)
    assert failed == 1
    assert [row["prediction"] != "" for row in rows] == [True, True, False, True, True]
    assert reason in rows[2]["note"]
    assert rows[2]["source"] == str(tmp_path / "odd.mp4")


def variable_rate(path):
    """Frames at even times, but those of the second half half as often."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(IMAGES):
            if number < 30 or number % 2 == 0:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number * 40, Fraction(1, 1000)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def held_sideways(path):
    """A portrait as a telephone writes it: turned, and the track's matrix turns it back (ISO 14496-12, 8.3.2)."""
    write_video(path, [np.ascontiguousarray(np.rot90(image)) for image in IMAGES])
    data = path.read_bytes()
    upright = np.array([65536, 0, 0, 0, 65536], ">i4").tobytes()
    clockwise = np.array([0, 65536, 0, -65536, 0], ">i4").tobytes()
    track = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:track] + clockwise + data[track + len(clockwise) :])


def portrait(path):
    write_video(path, [moved(0, 0.8, 120 + number % 9, 200, 240, 400)[0] for number in range(60)])


def hevc(path):
    write_video(path, IMAGES, codec="libx265", **{"x265-params": "log-level=error"})


def cut_off(path):
    """Matroska needs no index: what is there can be read."""
    write_video(path, [*IMAGES, *IMAGES[::-1]], g=12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 55 // 100])


@pytest.mark.parametrize(
    ("name", "write", "windows"),
    [
        ("a.mp4", variable_rate, 1),
        ("a.mp4", held_sideways, 1),
        ("a.mp4", portrait, 1),
        ("a.mp4", hevc, 1),
        ("a.mkv", cut_off, 1),
    ],
)
def test_videos_of_all_kinds_are_predicted(table, tmp_path, name, write, windows):
    write(tmp_path / name)
    rows, failed = table(tmp_path / name)
    assert failed == 0
    assert float(rows[0]["face"]) >= 0.75
    assert sum(row["prediction"] != "" for row in rows) == windows


def test_a_picture_held_sideways_is_predicted_like_the_same_upright(table, tmp_path):
    held_sideways(tmp_path / "a.mp4")
    write_video(tmp_path / "b.mp4", IMAGES)
    (one, other), _ = table(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert float(one["p_slow"]) == pytest.approx(float(other["p_slow"]), abs=0.02)  # coded twice, and not alike


def test_odd_names_come_out_as_they_are(table, tmp_path, clip):
    names = ["two\nlines.mp4", "<script>alert(1)</script>".replace("/", "") + ".mp4", 'quo"te, comma.mp4']
    for name in names:
        os.link(clip, tmp_path / name)
    rows, failed = table(*(tmp_path / name for name in names))
    assert failed == 0
    assert [row["source"] for row in rows[::2]] == [str(tmp_path / name) for name in names]


def test_all_people_have_rows_with_their_numbers(table, tmp_path):
    import tests.features.conftest as clips

    images = []
    for number in range(60):
        image = moved(0, 0.8, 110, 120 + number % 5, 480, 240)[0]
        clips.FACE = FACE[:, ::-1, ::-1]
        image = moved(0, 0.6, 350 + number % 7, 130, 480, 240, image)[0]
        clips.FACE = FACE
        images.append(image)
    write_video(tmp_path / "a.mp4", images)
    rows, failed = table(tmp_path / "a.mp4", everyone=True)
    assert failed == 0
    assert [row["track"] for row in rows] == ["1", "2"]
    assert rows[0]["p_slow"] != rows[1]["p_slow"]
    (alone,), _ = table(tmp_path / "a.mp4")
    assert alone["p_slow"] == rows[0]["p_slow"]


def test_an_annotated_video_shows_the_box_and_what_is_predicted(student, tmp_path, clip):
    film = tmp_path / "film.mp4"
    rows, _ = rows_of(student, [clip], tmp_path / "t.csv", film, every=0.5)
    with av.open(str(clip)) as before, av.open(str(film)) as after:
        true = [frame.to_ndarray(format="rgb24") for frame in before.decode(video=0)]
        frames = list(after.decode(video=0))
    assert len(frames) == len(true)
    assert frames[-1].time == pytest.approx(137 / 25, abs=0.01)
    shown = frames[70].to_ndarray(format="rgb24")
    assert (shown.shape[1], shown.shape[0] > 360) == (480, True)
    picture = cv2.resize(true[70], (480, 360), interpolation=cv2.INTER_AREA)
    drawn = np.abs(shown[:360].astype(int) - picture).max(axis=2) > 60
    y, x = np.nonzero(drawn)
    centre = np.array(motion(70)[2:]) * 1.5
    assert 200 < drawn.sum() < 6000  # a frame about the face, and nothing else
    assert x.min() < centre[0] < x.max()
    assert y.min() < centre[1] < y.max()
    assert len(rows) == 8


@pytest.mark.parametrize("names", [[], ["a.mp4", "b.mp4"]])
def test_one_video_is_annotated_and_no_more(student, tmp_path, names):
    with pytest.raises(ConfigError):
        rows_of(student, [str(tmp_path / name) for name in names] or ["0"], tmp_path / "t.csv", tmp_path / "f.mp4")


# The command line


def run(*arguments, stdin=b"", check=None):
    done = subprocess.run(
        [sys.executable, "-m", "pkdot", "predict", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert check is None or done.returncode == check, done.stderr.decode()
    return done


def test_names_come_from_standard_input_and_rows_go_to_standard_output(folder, tmp_path, clip):
    os.link(clip, tmp_path / "two\nlines.mp4")
    names = b"\0".join([bytes(tmp_path / "two\nlines.mp4"), b"gone.mp4"]) + b"\0"
    done = run(folder, "-", stdin=names, check=1)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["source"] for row in rows] == [str(tmp_path / "two\nlines.mp4")] * 2 + ["gone.mp4"]
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_early_ends_it_quietly(folder, clip):
    command = f"{sys.executable} -m pkdot predict {folder} {clip} --every 0.01 --batch 1 | head -n 2"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert done.returncode == 141
    assert done.stdout.count(b"\n") == 2
    assert done.stderr == b""


def test_a_folder_that_holds_nothing_and_a_camera_that_is_not_there_are_rows(folder, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(folder), str(tmp_path / "empty"), "97"])
    assert ended.value.code == 1
    said = capfd.readouterr().out
    assert "holds no file that the bundle takes" in said
    assert "no camera of this number" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone", "a.mp4"], "gone: no such folder"),
        (["BUNDLE", "-"], "no source was named on standard input"),
        (["BUNDLE", "a.mp4", "--every", "0"], "every: Input should be greater than 0"),
        (["BUNDLE", "a.mp4", "--abstain", "2"], "abstain: Input should be less than or equal to 1"),
        (["BUNDLE", "a.mp4", "b.mp4", "--annotate", "f.mp4"], "--annotate takes one video file, and 2 sources"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(folder, monkeypatch, arguments, sentence):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(SystemExit) as ended:
        main(["predict", *(str(folder) if word == "BUNDLE" else word for word in arguments)])
    assert sentence in str(ended.value.code)


def test_the_feature_of_the_bundle_is_the_one_that_was_tested(student):
    assert student.features["face"].options.frames == FEATURE["frames"]
