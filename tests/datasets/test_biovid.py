"""Ingestion of BioVid: what it reads, what it tolerates, and the reason for all that it leaves out."""

import io
import os
import shutil

import av
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.biovid import BioVid, BioVidOptions, mp4_problem
from pkdot.datasets.ingest import IngestParams, ingest
from pkdot.errors import DataError
from pkdot.ledger import Ledger

SUBJECTS = ("071309_w_21", "080314_m_25")
LEVELS = ("BL1", "PA4")
NAMES = [f"{subject}-{level}-{number:03d}" for subject in SUBJECTS for level in LEVELS for number in (1, 2)]
FIRST = NAMES[0]


def write_video(path, shade, **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(6):
            image = np.full((32, 32, 3), shade + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_table(path, shift, rows=2816, sep="\t", end="\n"):
    time = np.arange(rows) * 1_000_000 // 512
    lines = [sep.join(("time", "gsr", "ecg", "emg_trapezius"))]
    lines += [sep.join((str(t), f"{shift + t / 1e7:.5f}", "0.1", "0.2")) for t in time]
    path.write_text(end.join(lines) + end, newline="")


def write_list(root, names=NAMES):
    rows = [(n.split("-")[0], {"BL1": 0, "PA4": 4}[n.split("-")[1]], n.split("-")[1], n) for n in names]
    table = pd.DataFrame(rows, columns=["subject_name", "class_id", "class_name", "sample_name"])
    table.insert(0, "subject_id", pd.factorize(table["subject_name"])[0] + 1)
    table.insert(4, "sample_id", range(1, len(table) + 1))
    (root / "starting_point").mkdir(exist_ok=True)
    table.to_csv(root / "starting_point" / "samples.csv", sep="\t", index=False)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("PartA")
    for number, name in enumerate(NAMES):
        subject = name.split("-")[0]
        for folder in ("video", "biosignals_filtered"):
            (root / folder / subject).mkdir(parents=True, exist_ok=True)
        write_video(root / "video" / subject / f"{name}.mp4", 10 * number)
        write_table(root / "biosignals_filtered" / subject / f"{name}_bio.csv", number)
    write_list(root)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "PartA")


def video(root, name=FIRST):
    return root / "video" / name.split("-")[0] / f"{name}.mp4"


def table(root, name=FIRST):
    return root / "biosignals_filtered" / name.split("-")[0] / f"{name}_bio.csv"


def read(root, **options):
    ledger = Ledger()
    return BioVid(root, BioVidOptions(**options)).read(ledger), ledger.entries


def test_a_sound_tree_gives_a_row_a_clip_and_an_empty_ledger(pristine):
    rows, entries = read(pristine)
    assert entries == []
    assert rows["sample_id"].tolist() == sorted(NAMES)
    assert rows["subject_id"].tolist() == [name.split("-")[0] for name in sorted(NAMES)]
    assert rows["pain"].tolist() == [name.split("-")[1] for name in sorted(NAMES)]
    assert rows["video_path"].tolist() == [str(video(pristine, name)) for name in sorted(NAMES)]
    assert rows["biosignals_path"].tolist() == [str(table(pristine, name)) for name in sorted(NAMES)]
    assert rows[["video_start", "biosignals_stop"]].isna().all(axis=None)


def test_names_carry_everything_where_the_list_is_missing(root, pristine):
    shutil.rmtree(root / "starting_point")
    rows, entries = read(root)
    assert entries == []
    assert rows["pain"].tolist() == read(pristine)[0]["pain"].tolist()


def test_the_list_may_be_parted_by_semicolons_with_spaces_and_a_byte_order_mark(root):
    path = root / "starting_point" / "samples.csv"
    path.write_text("\ufeff" + path.read_text().replace("\t", " ; "), encoding="utf-8")
    rows, entries = read(root)
    assert (len(rows), entries) == (len(NAMES), [])


def test_tables_may_have_one_row_more_windows_lines_and_spaces_around_names(root):
    write_table(table(root), 0, rows=2817, sep=" \t ", end="\r\n")
    rows, entries = read(root)
    assert (rows["biosignals_path"].notna().all(), entries) == (True, [])


def test_only_the_classes_asked_for_are_read(pristine):
    rows, entries = read(pristine, classes=["PA4", "BL1", "PA2"])
    assert BioVid(pristine, BioVidOptions(classes=["PA4", "BL1"])).targets() == {"pain": ["PA4", "BL1"]}
    assert (set(rows["pain"]), entries) == ({"BL1", "PA4"}, [])
    assert len(read(pristine, classes=["PA4", "PA2"])[0]) == len(NAMES) / 2


def test_clips_of_other_levels_may_take_part_without_a_label(pristine):
    table, entries = read(pristine, classes=["BL1", "PA3"], unlabelled="other_levels")
    assert sorted(table["sample_id"]) == sorted(NAMES)
    level = table["sample_id"].str.split("-").str[1]
    assert (table.loc[level == "BL1", "pain"] == "BL1").all()
    assert table.loc[level == "PA4", "pain"].isna().all()
    assert entries == []


@pytest.mark.parametrize("classes", [["BL1"], ["BL1", "BL1"], ["BL1", "PA5"]])
def test_classes_that_cannot_be_told_apart_are_refused(classes):
    with pytest.raises(ValidationError):
        BioVidOptions(classes=classes)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def replaced_by_a_folder(path):
    path.unlink()
    path.mkdir()


BROKEN = {
    "missing video": (lambda r: video(r).unlink(), "video", "no file video/"),
    "empty video": (lambda r: video(r).write_bytes(b""), "video", "empty"),
    "cut video": (lambda r: cut(video(r), 0.9), "video", "cut off"),
    "text as video": (lambda r: video(r).write_text("what is this?" * 99), "video", "not an MP4"),
    "boxes without end": (lambda r: video(r).write_bytes(b"\0\0\0\x08free" * 20_000), "video", "not an MP4"),
    "unreadable video": (lambda r: replaced_by_a_folder(video(r)), "video", "cannot be read"),
    "missing table": (lambda r: table(r).unlink(), "biosignals", "no file biosignals_filtered/"),
    "empty table": (lambda r: table(r).write_bytes(b""), "biosignals", "empty"),
    "short table": (lambda r: write_table(table(r), 0, rows=1500), "biosignals", "ends at 2.93 s"),
    "cut line": (lambda r: cut(table(r), 0.9999), "biosignals", "values, its header 4 names"),
    "bytes as table": (lambda r: table(r).write_bytes(bytes(range(256)) * 9), "biosignals", "not a table"),
    "header alone": (lambda r: table(r).write_text("time\tgsr\n"), "biosignals", "no row of numbers"),
    "commas": (lambda r: write_table(table(r), 0, sep=","), "biosignals", "parted by tabs"),
    "decimal commas": (
        lambda r: table(r).write_text(table(r).read_text().replace(".", ",")),
        "biosignals",
        "numbers are written with a decimal comma, such as",
    ),
    "short row": (
        lambda r: table(r).write_text(table(r).read_text() + "5600000\t1.0\n"),
        "biosignals",
        "a row is incomplete: its last row has 2 values, its header 4 names",
    ),
    "long row": (
        lambda r: table(r).write_text(table(r).read_text() + "5600000\t1.0\t2\t3\t4\n"),
        "biosignals",
        "the rows do not fit the header: the last one has 5 values, the header 4 names",
    ),
}


HARMLESS = {
    "an empty last cell": lambda text: text.rstrip("\n").rpartition("\t")[0] + "\t\n",
    "tabs at the end of the rows": lambda text: text.replace("\n", "\t\n"),
    "tabs at the end of the rows but not of the header": lambda text: text.replace("\n", "\t\n").replace(
        "\t\n", "\n", 1
    ),
    "rows of more than 400 bytes": lambda text: "\n".join(
        line + "".join(f"\t{f'signal{i}' if line.startswith('time') else i}" for i in range(400))
        for line in text.splitlines()
    ),
    "empty lines at the end": lambda text: text + "\n\n",
    "no end of the last line": lambda text: text.rstrip("\n"),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_a_whole_table_in_another_style_is_not_called_cut_off(root, change):
    text = HARMLESS[change](table(root).read_text())
    assert text != table(root).read_text()
    table(root).write_text(text)
    rows, entries = read(root)
    assert (rows["biosignals_path"].notna().all(), entries) == (True, [])


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_costs_its_sample_one_source_and_gives_one_line(root, fault):
    breakage, source, reason = BROKEN[fault]
    breakage(root)
    rows, entries = read(root)
    assert [(e.sample_id, e.modality, e.stage, e.action) for e in entries] == [(FIRST, source, "ingest", "dropped")]
    assert reason in entries[0].problem
    lost = rows.set_index("sample_id")[f"{source}_path"].isna()
    assert lost[lost].index.tolist() == [FIRST]
    assert len(rows) == len(NAMES)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "index first"])
def test_every_cut_of_a_video_is_seen(tmp_path, options):
    write_video(tmp_path / "whole.mp4", 0, **options)
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert mp4_problem(io.BytesIO(whole), len(whole)) == ""
    for length in range(1, len(whole)):
        assert mp4_problem(io.BytesIO(whole[:length]), length), f"{length} of {len(whole)} bytes"


def test_a_sample_without_any_file_is_dropped(root):
    video(root).unlink()
    table(root).unlink()
    rows, entries = read(root)
    assert FIRST not in set(rows["sample_id"])
    assert {(e.sample_id, e.modality) for e in entries} == {(FIRST, "video"), (FIRST, "biosignals")}


def test_files_that_the_list_does_not_name_are_dropped(root):
    write_list(root, NAMES[1:])
    rows, entries = read(root)
    assert FIRST not in set(rows["sample_id"])
    assert [(e.sample_id, e.problem) for e in entries] == [(FIRST, "not in starting_point/samples.csv")]


def test_a_sample_whose_name_and_list_disagree_is_dropped(root):
    path = root / "starting_point" / "samples.csv"
    path.write_text(path.read_text().replace("0\tBL1\t1\t", "4\tPA4\t1\t"))
    rows, entries = read(root)
    assert FIRST not in set(rows["sample_id"])
    assert [e.sample_id for e in entries] == [FIRST]
    assert "mislabelled" in entries[0].problem
    assert "line 2 says 071309_w_21 and PA4" in entries[0].problem


def test_a_line_given_twice_counts_once(root):
    write_list(root, [*NAMES, FIRST])
    rows, entries = read(root)
    assert len(rows) == len(NAMES)
    assert [(e.sample_id, "listed twice" in e.problem) for e in entries] == [(FIRST, True)]


def test_a_clip_in_another_subjects_folder_is_not_taken(root):
    video(root).rename(root / "video" / SUBJECTS[1] / video(root).name)
    rows, entries = read(root)
    assert rows.set_index("sample_id")["video_path"].isna()[FIRST]
    assert [e.sample_id for e in entries] == [FIRST]
    assert f"the clip of {SUBJECTS[0]} lies in the folder of {SUBJECTS[1]}" in entries[0].problem


def test_copies_of_one_file_under_two_names_are_both_left_out(root):
    shutil.copy(video(root, NAMES[0]), video(root, NAMES[3]))
    rows, entries = read(root)
    assert set(rows["sample_id"][rows["video_path"].isna()]) == {NAMES[0], NAMES[3]}
    assert {e.sample_id for e in entries} == {NAMES[0], NAMES[3]}
    assert all("same bytes" in e.problem for e in entries)


def test_files_with_other_names_are_noted(root):
    (root / "video" / SUBJECTS[0] / "notes.txt").write_text("hello")
    (root / "video" / "Thumbs.db").write_text("hello")
    (root / "video" / SUBJECTS[0] / f"{SUBJECTS[0]}-BL7-001.mp4").write_text("hello")
    rows, entries = read(root)
    assert len(rows) == len(NAMES)
    assert {e.sample_id for e in entries} == {"notes.txt", "Thumbs.db", f"{SUBJECTS[0]}-BL7-001.mp4"}


def test_a_missing_folder_of_signals_is_one_line_of_the_ledger(root):
    rows, entries = read(root, signals="raw")
    assert rows["biosignals_path"].isna().all()
    assert rows["video_path"].notna().all()
    assert [(e.sample_id, e.modality) for e in entries] == [("", "biosignals")]


@pytest.mark.parametrize("content", ["hello\n", f'sample_name,subject_name,class_name\n"{"never closed " * 20_000}\n'])
def test_a_list_that_is_none_is_noted_and_names_count(root, content):
    (root / "starting_point" / "samples.csv").write_text(content)
    rows, entries = read(root)
    assert len(rows) == len(NAMES)
    assert ["the names of files count" in e.problem for e in entries] == [True]


def test_another_tree_gets_one_clear_sentence(root, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="not a BioVid root, it holds neither video/ nor biosignals_filtered/"):
        read(tmp_path / "other")
    with pytest.raises(DataError, match=f"Point dataset.root at {root}"):
        read(root.parent)


def test_the_stage_writes_manifest_and_ledger(root, tmp_path):
    video(root).write_bytes(b"")
    dataset = DatasetChoice(name="biovid", options={"classes": ["BL1", "PA4"]})
    sources = {"face": "video", "eda": "biosignals"}
    ingest(tmp_path / "out", IngestParams(dataset=dataset, root=str(root), sources=sources))
    manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert manifest["face_path"].isna().tolist() == [name == FIRST for name in sorted(NAMES)]
    assert [e.sample_id for e in Ledger.read([tmp_path / "out" / "ingest.ledger.csv"]).entries] == [FIRST]


def test_file_names_that_are_not_utf_8_are_in_the_ledger(root, tmp_path):
    (root / "video" / SUBJECTS[0] / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    (root / "video" / os.fsdecode(b"f\xe9")).mkdir()
    (root / "video" / os.fsdecode(b"f\xe9") / f"{FIRST}.mp4").write_bytes(b"x")
    dataset = DatasetChoice(name="biovid", options={"classes": ["BL1", "PA4"]})
    ingest(tmp_path / "out", IngestParams(dataset=dataset, root=str(root), sources={"face": "video"}))
    entries = Ledger.read([tmp_path / "out" / "ingest.ledger.csv"]).entries
    assert [e.sample_id for e in entries] == ["caf\\udce9.mp4", FIRST]
    assert "not the name of a BioVid clip" in entries[0].problem
