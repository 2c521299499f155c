"""A table of arrays: every mistake in it is one clear sentence, in the ledger where the rest can be used."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from synthetic import make_arrays

from pkdot.datasets.arrays import ArraysOptions
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams, ingest
from pkdot.errors import DataError
from pkdot.ledger import Ledger
from pkdot.simulation.prepare import PrepareParams, prepare

OPTIONS = {"streams": ["motion", "pulse"], "classes": ["a", "b"], "seconds": 1, "step": 1}


def read(root, **options):
    """Ingest a root; return the manifest, the ledger's entries and dataset.json."""
    dataset = DatasetChoice(name="arrays", options={**OPTIONS, **options})
    out = root.parent / "out"
    ingest(out, IngestParams(dataset=dataset, root=str(root), sources={"face": "motion", "eda": "pulse"}))
    about = json.loads((out / "dataset.json").read_text())
    return pd.read_parquet(out / "manifest.parquet"), Ledger.read([out / "ingest.ledger.csv"]).entries, about


@pytest.fixture
def root(tmp_path):
    return make_arrays(tmp_path / "own", subjects=3)


def edit(root, row, **cells):
    """Change cells of a row of the table."""
    path = root / "recordings.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, cell in cells.items():
        table.loc[row, column] = cell
    table.to_csv(path, index=False)


def test_recordings_become_windows(root):
    manifest, ledger, about = read(root, title="My data", target="stroke")
    assert ledger == []
    assert len(manifest) == 3 * 2 * 4
    assert manifest["sample_id"].is_unique
    assert (manifest["group_id"] == manifest["subject_id"]).all()
    first = manifest.iloc[0]
    assert (first["sample_id"], first["stroke"], first["subject_id"]) == ("s0a-0000", "a", "s0")
    assert first["face_path"] == str(root / "signals" / "s0a_motion.npy")
    assert manifest["eda_start"].iloc[:4].tolist() == [0, 1, 2, 3]
    assert manifest["eda_stop"].iloc[:4].tolist() == [1, 2, 3, 4]
    assert (manifest["eda_rate"] == 32).all()
    assert about == {
        "title": "My data",
        "simulated": False,
        "licence": "",
        "units": {},
        "targets": {"stroke": ["a", "b"]},
        "samples": 24,
        "subjects": 3,
    }


def test_windows_may_overlap_and_none_reaches_past_the_end(root):
    manifest, _, _ = read(root, seconds=1.5, step=0.5)
    starts = manifest[manifest["sample_id"].str.startswith("s1b")]["face_start"]
    assert starts.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"rate": "fast"}, "the rate 'fast' is not a number of Hz above zero"),
        ({"rate": "0"}, "the rate '0' is not"),
        ({"rate": "-5"}, "the rate '-5' is not"),
        ({"rate": "nan"}, "the rate 'nan' is not"),
        ({"rate": "inf"}, "the rate 'inf' is not"),
        ({"rate": "3_2"}, "the rate '3_2' is not"),
        ({"rate": "1000"}, "the recording lasts 0.1 s, less than a window of 1 s"),
        ({"motion": "signals/nothing.npy"}, "signals/nothing.npy: no such file"),
        ({"motion": "signals"}, "is not a whole .npy file"),
        ({"motion": "recordings.csv"}, "row 2: 's0a' in the column 'recording_id' is no number; mend it"),
        ({"motion": "recordings.csv[pulse_rate]"}, "recordings.csv: has no column 'pulse_rate'; it has recording_id, "),
        ({"motion": "signals/s1a_motion.npy[x]"}, "a .npy file has no parts; write its name alone"),
        ({"motion": "signals/s1a_pulse.npy"}, "the file 'signals/s1a_pulse.npy' is that of two streams"),
        ({"motion": "../outside.npy"}, "the path '../outside.npy' leads out of"),
        ({"motion": "/etc/hostname"}, "the path '/etc/hostname' leads out of"),
        ({"motion": "signals/link.npy"}, "the path 'signals/link.npy' leads out of"),
        ({"motion": "signals/circle.npy"}, "the path 'signals/circle.npy' is a link that leads back to itself"),
        ({"motion": "signals/pickled.npy"}, "is not a whole .npy file"),
        ({"motion": "signals/number.npy"}, "not an array of real numbers"),
        ({"motion": "x" * 5000}, "is not a whole .npy file"),
        ({"motion": "", "pulse": ""}, "the recording has none of the streams motion, pulse"),
        ({"subject_id": ""}, "the subject_id is empty"),
        ({"subject_id": "  "}, "the subject_id is empty"),
        ({"recording_id": ""}, "the recording_id is empty"),
        ({"recording_id": "s0a"}, "the recording_id 's0a' was used before"),
        ({"recording_id": " s0a "}, "the recording_id 's0a' was used before"),
        ({"motion": "signals/s0a_motion.npy"}, "the file 'signals/s0a_motion.npy' is that of the recording 's0a'"),
        ({"motion": "signals/../signals/s0a_pulse.npy"}, "is that of the recording 's0a' already"),
        ({"motion": "signals/same.npy"}, "the file 'signals/same.npy' is that of the recording 's0b' already"),
        ({"rate": "1e-6"}, "at 1e-06 Hz a step of 1 s is no whole sample"),
        ({"rate": "1e-320"}, "Hz a step of 1 s is no whole sample"),
        ({"motion_absent": "4-5"}, "the motion_absent begins at 4, but the motion ends at 4; count in seconds"),
        *(
            ({"motion_absent": cell}, f"row 4: the motion_absent '{cell}' is not like '1.5-3; 7.25-8', spans")
            for cell in ("3-1", "1.5", "1-2,", "1-2 3-4", "-1-2", "1-1", "1,5-3", "0:30-1", "nan-1", "1-1e3", "none")
        ),
    ],
)
def test_a_recording_that_cannot_be_used_is_in_the_ledger(root, cells, sentence):
    signals = root / "signals"
    np.save(root.parent / "outside.npy", np.zeros((128, 2)))
    (signals / "link.npy").symlink_to(root.parent / "outside.npy")
    (signals / "circle.npy").symlink_to(signals / "circle.npy")
    (signals / "same.npy").symlink_to(signals / "s0b_motion.npy")
    np.save(signals / "pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(signals / "number.npy", np.float64(3))
    edit(root, 2, **cells)
    manifest, ledger, _ = read(root)
    assert len(ledger) == 1
    assert sentence in ledger[0].problem
    assert ledger[0].sample_id == cells.get("recording_id", "s1a").strip()
    assert (ledger[0].stage, ledger[0].action) == ("ingest", "dropped")
    assert "\n" not in ledger[0].problem
    assert len(manifest) == 20, "the other recordings stay"
    assert manifest["sample_id"].is_unique


def test_what_a_list_calls_absent_is_told_to_the_features(root):
    edit(root, 0, motion_absent=".5-2.5, 2.5 - 3; 1-2", motion_offset="1", pulse_offset="1")
    edit(root, 5, pulse_absent="All", pulse="signals/no.npy")
    edit(root, 1, motion_absent="0-2.25", pulse_absent="0.25-9", pulse_offset="0.25")
    manifest, ledger, _ = read(root)
    first, second, last = (manifest[manifest["sample_id"].str.startswith(name)] for name in ("s0a", "s0b", "s2b"))
    assert first["face_start"].tolist() == [0, 1, 2, 3]
    assert first["face_path"].isna().tolist() == [False, True, True, False]
    assert {tuple(spans) for spans in first["face_absent"]} == {(0.5, 3.0)}
    assert last["eda_path"].isna().all(), "all: the recording lacks the stream"
    assert last["face_path"].notna().sum() == 4
    assert [name[-1] for name in second["sample_id"]] == ["0", "2"], "of the second nothing is left"
    assert manifest["face_absent"][manifest["subject_id"] != "s0"].isna().all()
    told = [entry for entry in ledger if entry.action == "as configured"]
    assert [entry.modality for entry in told] == ["motion", "motion", "pulse", "pulse"]
    assert told[-1].problem.endswith("row 7: the recording lacks it")
    assert "row 2: by motion_absent 2 of 4 samples have nothing of it" in told[0].problem


def test_a_column_of_what_is_absent_is_of_a_stream(root):
    edit(root, 0, motoin_absent="1-2")
    with pytest.raises(DataError, match="the column 'motoin_absent' is of no column; rename or remove it"):
        read(root)


def test_whole_recordings_count_what_is_absent_in_seconds_and_rows_in_rows(root):
    edit(root, 0, motion_absent="1-2", pulse_absent="0-99")
    manifest, _, _ = read(root, sample="recording")
    assert manifest["face_rate"][0] == 32
    assert manifest["face_rate"][1:].isna().all(), "it is needed nowhere else"
    assert manifest["face_path"].notna().all()
    assert manifest["eda_path"].isna().tolist() == [True] + [False] * 5
    edit(root, 0, pulse_absent="")
    manifest, _, _ = read(root, sample="row", subjects="own")
    lost = manifest["face_path"].isna()
    assert manifest["sample_id"][lost].tolist() == ["s0a-0001"]


def test_a_recording_without_a_stream_stays_without_a_path(root):
    edit(root, 0, pulse="")
    manifest, (entry,), _ = read(root)
    assert (entry.sample_id, entry.modality, entry.action) == ("s0a", "pulse", "as configured")
    assert entry.problem.endswith("row 2: the recording lacks it")
    missing = manifest["eda_path"].isna()
    assert missing.sum() == 4
    assert manifest["sample_id"][missing].str.startswith("s0a").all()
    assert manifest["face_path"].notna().all()


def test_spaces_around_a_cell_do_not_count(root):
    """' s1' would be another person than 's1', and could lie on the other side of a split."""
    before, _, _ = read(root)
    cells = {"recording_id": " s1a", "subject_id": "s1 ", "target": "\ta", "rate": " 32 ", "pulse": " "}
    edit(root, 2, **cells, motion=" signals/s1a_motion.npy\u00a0")
    manifest, (entry,), about = read(root)
    assert entry.problem.endswith("row 4: the recording lacks it")
    assert about["subjects"] == 3
    others = [column for column in before if not column.startswith("eda")]
    pd.testing.assert_frame_equal(manifest[others], before[others])
    assert manifest["eda_path"].isna().sum() == 4


def test_a_file_of_a_recording_that_is_left_out_is_free(root):
    edit(root, 0, target="c")
    edit(root, 1, motion="signals/s0a_motion.npy")
    _, ledger, _ = read(root)
    assert [entry.sample_id for entry in ledger] == ["s0a"]


def test_more_windows_than_memory_holds_are_refused(root):
    np.save(root / "signals" / "s0a_motion.npy", np.zeros((4_000_000, 1), dtype=np.int8))
    np.save(root / "signals" / "s0a_pulse.npy", np.zeros((4_000_000, 1), dtype=np.int8))
    _, ledger, _ = read(root, step=0.03125)
    assert [entry.sample_id for entry in ledger] == ["s0a"]
    assert "a step of 0.03125 s make more than 100,000 windows" in ledger[0].problem
    with pytest.raises(DataError, match=r"at 32 Hz a step of 1e-09 s is no whole sample"):
        read(root, step=1e-9)


def test_streams_of_different_lengths_share_their_common_part_and_the_ledger_says_so(root):
    np.save(root / "signals" / "s0a_motion.npy", np.zeros((32 * 2 + 5, 2)))
    np.save(root / "signals" / "s0b_motion.npy", np.zeros((32 * 4 + 5, 2)))
    manifest, ledger, _ = read(root)
    assert (manifest["sample_id"].str[:3] == "s0a").sum() == 2
    assert (manifest["sample_id"].str[:3] == "s0b").sum() == 4, "less than a window is no loss"
    assert [entry.sample_id for entry in ledger] == ["s0a"]
    assert "the streams last 2.2 to 4.0 s; the rest is left out" in ledger[0].problem


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a table of comma-separated values"),
        (b"\x00\xff\xfe\x9c\x00\x01" * 50, "recordings.csv: "),
        (b"recording_id;subject_id;target;rate;motion;pulse\n1;2;a;3;x;y\n", "has no column 'recording_id'"),
        (b"recording_id,subject_id,target,rate,motion\n", "has no column 'pulse'"),
        (b'a,b\n"1,2\n3,4,5\n', "recordings.csv: "),
        (b"recording_id,subject_id,target,rate,motion,pulse\n", "no sample can be used"),
        ("recording_id,subject_id,target,rate,motion,pulse\nä,s,a,1,x,y\n".encode("latin-1"), "is not a table"),
    ],
)
def test_a_table_that_is_none_is_refused(root, content, sentence):
    (root / "recordings.csv").write_bytes(content)
    with pytest.raises(DataError) as refused:
        read(root)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith((".", ". "))
    assert not (root.parent / "out").exists()


def test_a_table_of_a_spreadsheet_is_read(root):
    """With the mark that some programs put first, and quotes."""
    path = root / "recordings.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"s0a,", b'"s0a",'))
    manifest, ledger, _ = read(root)
    assert ledger == []
    assert len(manifest) == 24


def test_the_first_reason_is_told_where_nothing_is_left(root):
    with pytest.raises(
        DataError, match=r"no sample can be used; the first reason of 6: .*row 2: the target 'a' is not"
    ):
        read(root, classes=["x", "y"])


def test_a_root_that_is_none_is_refused(tmp_path, root):
    with pytest.raises(DataError, match=r"no such folder. Point dataset.root"):
        read(tmp_path / "nothing")
    os.remove(root / "recordings.csv")
    with pytest.raises(DataError, match=r"has no recordings.csv"):
        read(root)


def test_options_that_cannot_be_are_refused():
    for wrong in (
        {"seconds": 0},
        {"step": -1},
        {"streams": []},
        {"classes": ["a"]},
        {"stream": ["a"]},
        {"classes": ["a", "a"]},
        {"streams": ["a", "b", "a"]},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ArraysOptions(**{**OPTIONS, **wrong})


def test_the_watch_recordings_are_a_table_of_arrays(tmp_path):
    root = tmp_path / "watch"
    params = PrepareParams(preparation="watch")
    prepare(root, params)
    dataset = DatasetChoice(name="watch")
    ingest(tmp_path / "out", IngestParams(dataset=dataset, root=str(root), sources={"gyro": "gyroscope"}))
    manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert manifest["subject_id"].nunique() == 10
    assert manifest["exercise"].nunique() == 7
    assert len(pd.read_csv(root / "recordings.csv")) == 140
    assert (tmp_path / "out" / "ingest.ledger.csv").read_text().count("\n") == 1
    assert (root / "SOURCE.md").is_file()
    before = {path: path.read_bytes() for path in root.rglob("*.npy")}
    prepare(root, params)
    assert {path: path.read_bytes() for path in root.rglob("*.npy")} == before


def test_recordings_of_other_classes_are_left_out_as_configured(root):
    edit(root, 2, target="c")
    manifest, ledger, _ = read(root)
    assert [(e.sample_id, e.action) for e in ledger] == [("s1a", "as configured")]
    assert "the target 'c' is not in dataset.classes" in ledger[0].problem
    assert not manifest["sample_id"].str.startswith("s1a").any()


def test_the_same_bytes_in_two_recordings_are_used_in_neither(root):
    shutil.copy(root / "signals" / "s0a_motion.npy", root / "signals" / "s2a_motion.npy")
    manifest, ledger, _ = read(root)
    assert [e.sample_id for e in ledger] == ["s0a", "s2a"]
    assert "signals/s0a_motion.npy: holds the same bytes as signals/s2a_motion.npy of the" in ledger[0].problem
    concerned = manifest["sample_id"].str.startswith(("s0a", "s2a"))
    assert manifest.loc[concerned, "face_path"].isna().all()
    assert manifest["eda_path"].notna().all()
    assert manifest.loc[~concerned, "face_path"].notna().all()


@pytest.mark.parametrize("name", ["S1", "s 1", "\uff531"])
def test_subjects_with_similar_names_are_named_and_stay_together(root, name):
    edit(root, 2, subject_id=name)
    manifest, ledger, _ = read(root)
    assert [(e.sample_id, e.action) for e in ledger] == [("", "kept")]
    assert all(f"{subject!r}" in ledger[0].problem for subject in ("s1", name))
    assert "may be one person" in ledger[0].problem
    assert manifest.loc[manifest["subject_id"].isin(["s1", name]), "group_id"].nunique() == 1
    assert manifest["group_id"].nunique() == manifest["subject_id"].nunique() - 1


def test_streams_of_different_lengths_are_kept_for_the_time_they_share(root):
    path = root / "signals" / "s0a_motion.npy"
    np.save(path, np.load(path)[:64])
    manifest, ledger, _ = read(root)
    assert [(e.sample_id, e.action) for e in ledger] == [("s0a", "kept with mask")]
    assert manifest["sample_id"].str.startswith("s0a").sum() == 2
