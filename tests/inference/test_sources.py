"""What a user names becomes recordings: every name gives one, or the reason why not."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from pkdot.descriptions import PluginDescription
from pkdot.inference.bundle import ModalityDescription
from pkdot.inference.sources import Wanted, recordings


def modality(feature, source="video", rate=None):
    plugin = PluginDescription(name=feature, options={})
    return ModalityDescription(source=source, feature=plugin, shape=[1], dtype="float32", seconds=None, rate=rate)


FACE = Wanted({"face": modality("faces")})
MOTION = Wanted({"motion": modality("window", "gyroscope", 50.0)})


def found(names, wanted=FACE, stdin=b""):
    return list(recordings([str(name) for name in names], wanted, BytesIO(stdin)))


def paths(recording):
    return {name: raw.path for name, raw in recording.raws.items()}


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_are_taken_as_named_and_folders_searched_in_order(tmp_path):
    touch(tmp_path / "b" / "z.MP4", tmp_path / "a.mov", tmp_path / "b" / "a.avi", tmp_path / "notes.txt")
    touch(tmp_path / ".trash" / "c.mp4", tmp_path / "._a.mov")
    names = [one.name for one in found([tmp_path / "notes.txt", tmp_path])]
    assert names == [str(tmp_path / name) for name in ("notes.txt", "a.mov", "b/a.avi", "b/z.MP4")]
    assert all(paths(one) == {"face": Path(one.name)} for one in found([tmp_path]))


def test_patterns_find_files_and_one_without_any_is_a_problem(tmp_path):
    touch(tmp_path / "x" / "1.mp4", tmp_path / "x" / "y" / "2.mp4", tmp_path / "[odd].mp4")
    assert [Path(one.name).name for one in found([tmp_path / "**" / "[12].mp4"])] == ["1.mp4", "2.mp4"]
    assert [one.problem for one in found([tmp_path / "[odd].mp4"])] == [""]  # a file goes before a pattern
    (nothing,) = found([tmp_path / "*.mkv"])
    assert "there is no such file or folder" in nothing.problem


def test_a_folder_without_clips_and_names_that_cannot_be_are_problems(tmp_path):
    touch(tmp_path / "notes.txt")
    problems = [one.problem for one in found([tmp_path, "n" * 5000, "nul\0byte"])]
    assert "holds no file that the bundle takes (.mp4," in problems[0]
    assert all(problems)


def test_names_on_standard_input_are_lines_or_end_in_nul_bytes(tmp_path):
    odd = tmp_path / "two\nlines <b>.mp4"
    touch(odd, tmp_path / "a.mp4")
    lines = f"{tmp_path / 'a.mp4'}\n\n{tmp_path / 'b.mp4'}\r\n".encode()
    assert [Path(one.name).name for one in found(["-"], stdin=lines)] == ["a.mp4", "b.mp4"]
    ended = b"\0".join(bytes(path) for path in (odd, tmp_path / "a.mp4")) + b"\0"
    assert [one.name for one in found(["-"], stdin=ended)] == [str(odd), str(tmp_path / "a.mp4")]
    broken = tmp_path / "\udce4.mp4"  # bytes that are no UTF-8
    touch(broken)
    (one,) = found(["-"], stdin=bytes(broken))
    assert (one.name, one.problem) == (str(broken), "")


def test_a_number_is_a_camera_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert found(["0"])[0].camera == 0
    assert "no such file" in found(["0"], MOTION)[0].problem
    touch(Path("0"))
    assert found(["0"])[0].camera is None


def test_a_folder_of_numbered_images_is_one_video(tmp_path):
    (tmp_path / "clips" / "one").mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / "clips" / "one" / f"{number:05d}.jpg"), np.zeros((8, 8, 3), np.uint8))
    touch(tmp_path / "clips" / "a.mp4", tmp_path / "clips" / "1.png")  # a thumbnail beside a video is none
    assert [Path(one.name).name for one in found([tmp_path])] == ["a.mp4", "one"]


def test_a_table_names_a_file_for_each_modality(tmp_path):
    table = tmp_path / "recordings.csv"
    table.write_text(
        "recording_id, rate,gyroscope,gyroscope_offset,start,stop\n"
        "r1,100,a.npz[gyro],0.5,2,\nr2,,a.npy,,,\nr3,fast,a.npy,,,\nr4,100,,,,\n,100,a.npy,,,\nr6,1,../a.npy,,,\n"
        "r7,1,a.npy,,5,3\n"
    )
    for named in (table, tmp_path):
        r1, r2, r3, r4, r5, r6, r7 = found([named], MOTION)
        raw = r1.raws["motion"]
        assert (r1.name, raw.path, raw.part, raw.rate, raw.offset) == ("r1", tmp_path / "a.npz", "gyro", 100, 0.5)
        assert (r1.start, r1.source("motion", 2.0, None).start) == (2, 1.5)
        assert r2.raws["motion"].rate == 50
        assert r3.problem == f"{table}, row 4: the rate 'fast' is not a number of Hz above zero"
        assert r4.problem == f"{table}, row 5: the gyroscope is empty, and the bundle cannot do without it"
        assert r5.name == f"{table}, row 6"
        assert "leads out of" in r6.problem
        assert r7.problem == f"{table}, row 8: it starts at 5 s, which is not before its stop at 3 s"
    touch(tmp_path / "a.npy", tmp_path / "signals" / "b.npy")
    assert len(found([tmp_path], MOTION)) == 7  # the files of the table are not taken once more
    assert found([tmp_path / "a.npy"], MOTION)[0].raws["motion"].rate == 50
    assert found([tmp_path / "a.npy"], Wanted(MOTION.modalities, rate=25.0))[0].raws["motion"].rate == 25


def test_a_table_that_is_none_is_a_problem(tmp_path):
    (tmp_path / "recordings.csv").write_bytes(b"motion\n\xff\xfe")
    (one,) = found([tmp_path], MOTION)
    assert "is not a table of comma-separated values" in one.problem


@pytest.mark.parametrize("features", [{"face": "faces", "eda": "physiology"}, {"a": "window", "b": "window"}], ids=str)
def test_a_bundle_of_several_files_asks_for_a_table(tmp_path, features):
    touch(tmp_path / "a.mp4")
    (one,) = found([tmp_path / "a.mp4"], Wanted({name: modality(feature) for name, feature in features.items()}))
    assert "name a table with a column for each" in one.problem


def test_face_and_voice_of_one_video_need_one_name(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "a.wav")
    both = Wanted({"face": modality("faces"), "voice": modality("audio")})
    assert [paths(one) for one in found([tmp_path], both)] == [dict.fromkeys(both.modalities, tmp_path / "a.mp4")]
