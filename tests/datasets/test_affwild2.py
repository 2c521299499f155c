"""Ingestion of Aff-Wild2 from small roots made by hand, where every number is known."""

import csv
import os
import shutil

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import REPO, write_config

from pkdot.data import Samples
from pkdot.datasets.affwild2 import AffWild2, AffWild2Options, Track, group_of, read_annotation
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams, ingest
from pkdot.errors import ConfigError, DataError
from pkdot.experiment import load
from pkdot.features.base import Source
from pkdot.features.faces import Faces, FacesOptions
from pkdot.ledger import Ledger
from pkdot.simulation.video import write_h264
from pkdot.splits import Parts, SplitParams, make_splits

SMALL = {"frames": 2, "dilation": 2, "subclips": 3}  # a sequence spans 12 frames, and there are two a span


class Root:
    """A copy of Aff-Wild2 in the making."""

    def __init__(self, folder):
        self.folder = folder

    def annotate(self, track, values, part="Train_Set", header="valence,arousal"):
        path = self.folder / "VA_Estimation_Challenge" / part / f"{track}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [",".join(f"{v:g}" for v in row) for row in values]
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    def film(self, name, frames, rate=25, sound=True):
        path = self.folder / "videos" / name
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(list(name.encode())).normal(0, 0.1, int(frames / rate * 44100)), 44100
        write_h264(path, np.zeros((frames, 32, 32, 3), np.uint8), rate, sound=noise if sound else None)
        return path

    def crop(self, track, numbers):
        folder = self.folder / "cropped_aligned" / track
        folder.mkdir(parents=True)
        for number in numbers:  # the number is the colour
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), np.full((112, 112, 3), 10 * number % 256, np.uint8))

    def read(self, **options):
        ledger = Ledger()
        table = AffWild2(self.folder, AffWild2Options(**{**SMALL, **options})).read(ledger)
        return table, [f"{e.sample_id}: {e.problem} ({e.action})" for e in ledger.entries]


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def ramp(count):
    """Valence is the row's number in thousandths, arousal its negative."""
    return np.arange(1, count + 1)[:, None] * [0.001, -0.001]


def numbers(table):
    """Frames that are predicted, counted from 1, in the order of the table."""
    values = np.stack([np.stack(cell) for cell in table["valence"]])
    return np.round(values * 1000)


def test_every_frame_is_predicted_once_in_its_own_place(root):
    root.annotate("video1", ramp(24))
    root.film("video1.mp4", 24)
    table, problems = root.read()
    assert problems == []
    assert table["sample_id"].tolist() == [f"video1-{n:06d}" for n in (1, 2, 13, 14)]
    assert numbers(table)[1].tolist() == [[2, 4], [6, 8], [10, 12]]
    assert sorted(numbers(table).ravel().tolist()) == list(range(1, 25))
    assert table["official"].tolist() == ["train"] * 4


@settings(max_examples=60)
@given(st.integers(1, 70), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_frames_are_cut_into_sequences_without_loss_or_repeat(count, frames, dilation, subclips, every_frame):
    options = AffWild2Options(frames=frames, dilation=dilation, subclips=subclips, every_frame=every_frame)
    cut = list(AffWild2(None, options)._cut(count))
    own = np.concatenate([numbers for _, _, numbers in cut])
    own = np.sort(own[own >= 0])
    if every_frame:
        assert own.tolist() == list(range(count))
    else:
        assert len(set(own)) == len(own)
        assert len(own) >= count // dilation - 1
    assert len({name for name, _, _ in cut}) == len(cut)
    for _, first, numbers in cut:
        assert numbers.shape == (frames * subclips,)
        grid = first + np.arange(len(numbers)) * dilation
        assert ((numbers == grid) | (numbers == -1)).all()
        assert count < frames * dilation * subclips or grid[-1] < count  # it ends with the video


def test_the_last_sequences_end_with_the_video_and_leave_earlier_frames_to_others(root):
    root.annotate("video1", ramp(17))
    root.film("video1.mp4", 17)
    table, _ = root.read()
    last = numbers(table)[2:]
    assert np.isnan(last).sum() == 12 - 5
    assert sorted(last[~np.isnan(last)].tolist()) == [13, 14, 15, 16, 17]
    assert table["audio_stop"].iloc[-1] == pytest.approx((17 + 0.5) / 25)


def test_crops_that_the_faces_stage_reads_are_those_of_the_annotation(root):
    root.annotate("video1", ramp(24))
    root.crop("video1", range(1, 25))
    root.film("video1.mp4", 24, rate=30)
    table, _ = root.read()
    faces = Faces(FacesOptions(frames=6, window=None, size=16))
    for row in table.itertuples():
        source = Source(row.sample_id, root.folder / row.face_path, row.face_start, row.face_stop, row.face_rate)
        shown = faces.extract(source).array.mean(axis=(1, 2, 3)) / 10
        np.testing.assert_allclose(shown, np.round(np.concatenate(row.valence) * 1000), atol=0.2)


def test_sound_of_a_frame_is_in_the_middle_of_its_part(root):
    root.annotate("video1", ramp(24))
    root.film("video1.mp4", 24)
    row = root.read()[0].iloc[2]  # frames 13, 15, ... 23
    middles = row.audio_start + (np.arange(6) + 0.5) * (row.audio_stop - row.audio_start) / 6
    np.testing.assert_allclose(middles, (np.array([13, 15, 17, 19, 21, 23]) - 0.5) / 25)


def test_frames_between_those_that_are_read_are_in_the_ledger(root):
    root.annotate("video1", ramp(24))
    root.film("video1.mp4", 24)
    table, problems = root.read(every_frame=False)
    assert sorted(numbers(table).ravel().tolist()) == list(range(1, 25, 2))
    assert problems == ["video1: 12 of 24 frames lie between those that are read (dataset.every_frame) (as configured)"]


def test_minus_five_is_masked_for_its_target_alone(root):
    values = ramp(24)
    values[[0, 5], 0] = -5
    values[7] = 1.5, -5
    root.annotate("video1", values)
    root.film("video1.mp4", 24)
    table, problems = root.read()
    valence, arousal = (np.concatenate([np.concatenate(cell) for cell in table[n]]) for n in ("valence", "arousal"))
    assert np.isnan(valence).sum() == 3
    assert np.isnan(arousal).sum() == 1
    assert "3 of 24 rows have no valid valence, 1 of them outside of -1 to 1 (kept with mask)" in problems[0]
    assert "1 of 24 rows have no valid arousal (kept with mask)" in problems[1]


def test_a_sequence_without_any_valid_frame_is_dropped_and_said(root):
    values = ramp(24)
    values[:12] = -5
    root.annotate("video1", values)
    root.film("video1.mp4", 24)
    table, problems = root.read()
    assert table["sample_id"].tolist() == ["video1-000013", "video1-000014"]
    assert "video1-000001: no frame has a valid annotation (dropped)" in problems


def test_frames_without_annotation_may_take_part_without_a_label_and_are_never_tested(root, tmp_path):
    values = ramp(24)
    values[:12] = -5
    for name in ("video1", "video2", "video3", "video4"):
        root.annotate(name, values, part="Validation_Set" if name == "video4" else "Train_Set")
        root.film(f"{name}.mp4", 24)
    table, problems = root.read(unlabelled="frames")
    assert table["sample_id"].tolist()[:4] == [f"video1-{n:06d}" for n in (1, 2, 13, 14)]
    assert not any("dropped" in problem for problem in problems)
    assert sum("12 of 24 rows have no valid valence" in problem for problem in problems) == 4
    dataset = DatasetChoice(name="affwild2", options={**SMALL, "unlabelled": "frames"})
    sources = {"face": "face", "voice": "audio"}
    ingest(tmp_path / "out", IngestParams(dataset=dataset, root=str(root.folder), sources=sources))
    manifest = tmp_path / "out" / "manifest.parquet"
    make_splits(manifest, tmp_path / "out", SplitParams(scheme="official", validation_fraction=0.3))
    samples = Samples.load(manifest)
    parts = Parts.read(tmp_path / "out" / "splits.json", 0, samples)
    ids = samples.table["sample_id"].to_numpy()
    without = {name for name in ids if name.endswith(("-000001", "-000002"))}
    assert set(ids[~samples.labelled]) == without
    assert set(ids[parts.unlabelled]) < without  # of the training part alone
    assert len(parts.unlabelled) == len(parts.train) == 4
    tested = set(ids[np.concatenate([parts.validation, parts.test])])
    assert not tested & without
    assert {name[:6] for name in ids[parts.unlabelled]} == {name[:6] for name in ids[parts.train]}
    assert {name[:6] for name in ids[parts.test]} == {"video4"}


def test_rows_past_the_last_frame_are_dropped_and_said(root):
    root.annotate("video1", ramp(27))
    root.film("video1.mp4", 24)
    table, problems = root.read()
    assert np.nanmax(numbers(table)) == 24
    assert "rows 25 to 27 are of frames that are not there (kept with mask)" in problems[0]


def test_an_annotation_that_ends_early_keeps_its_frames_in_place(root):
    root.annotate("video1", ramp(22))
    root.film("video1.mp4", 24)
    table, problems = root.read()
    assert problems == []
    assert table["audio_start"].iloc[0] == pytest.approx((0.5 - 1) / 25)
    assert np.nanmax(numbers(table)) == 22


def test_clocks_that_differ_are_brought_together(root):
    """Annotated at 25 frames a second, filmed at 24: row n is heard and seen at n / 25."""
    root.annotate("video1", ramp(200))
    root.film("video1.mp4", 192, rate=24)
    table, problems = root.read()
    assert "192 frames, 200 annotated or cropped; these are spread over its time (kept with mask)" in problems[0]
    np.testing.assert_allclose(table["face_rate"], 25)
    row = table.iloc[-1]  # its last frame is the 200th
    assert row.audio_stop == pytest.approx((200 - 0.5 + 1) / 25)


def test_a_short_annotation_of_a_fully_cropped_video_is_no_drift(root):
    """The crops say that the owners counted as many frames as the video has."""
    root.annotate("video1", ramp(176))
    root.crop("video1", [1, 192])
    root.film("video1.mp4", 192, rate=24)
    table, problems = root.read()
    assert problems == []
    np.testing.assert_allclose(table["face_rate"], 24)


def test_without_crops_the_raw_video_is_taken_with_the_side_of_the_person(root):
    for side in ("left", "right"):
        root.annotate(f"video1_{side}", ramp(24))
    root.crop("video1_left", range(1, 25))
    path = root.film("video1.mp4", 24)
    table, _ = root.read()
    left, right = (table[table["sample_id"].str.contains(side)].iloc[0] for side in ("left", "right"))
    assert left.face_path.endswith("cropped_aligned/video1_left")
    assert left.face_side is None
    assert (right.face_path, right.face_side) == (str(path), "right")
    assert left.audio_path == right.audio_path == str(path)
    assert table["group_id"].unique().tolist() == ["video1"]
    assert sorted(table["subject_id"].unique()) == ["video1_left", "video1_right"]


def test_a_name_that_ends_like_a_side_is_a_video_where_there_is_one(root):
    root.annotate("turn_left", ramp(24))
    root.film("turn_left.mp4", 24)
    table, _ = root.read()
    assert table["group_id"].unique().tolist() == ["turn_left"]
    assert table["face_side"].isna().all()


def test_videos_are_found_in_folders_below_and_as_avi(root):
    root.annotate("102", ramp(24))
    root.film("102.mp4", 24)
    (root.folder / "videos" / "batch1").mkdir()
    with av.open(str(root.folder / "videos" / "batch1" / "102.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    (root.folder / "videos" / "102.mp4").unlink()
    table, problems = root.read()
    assert len(table) == 4
    assert "has no sound track" in problems[0]
    assert table["audio_path"].isna().all()


def test_a_video_without_sound_keeps_its_faces(root):
    root.annotate("video1", ramp(24))
    root.film("video1.mp4", 24, sound=False)
    table, problems = root.read()
    assert table["face_path"].notna().all()
    assert table["audio_path"].isna().all()
    assert len(problems) == 1


def test_crops_alone_will_do(root):
    root.annotate("video1", ramp(24))
    root.crop("video1", range(1, 25))
    table, problems = root.read()
    assert len(table) == 4
    assert table["audio_path"].isna().all()
    assert "no video video1" in problems[0]


def test_an_annotation_of_nothing_is_dropped_and_said(root):
    root.annotate("video1", ramp(24))
    root.annotate("video2", ramp(24))
    root.film("video2.mp4", 24)
    table, problems = root.read()
    assert table["subject_id"].unique().tolist() == ["video2"]
    assert any(p.startswith("video1: neither") for p in problems)


def test_nobody_is_on_both_sides_of_the_official_split(root):
    root.annotate("video1_left", ramp(24))
    root.annotate("video1_right", ramp(24), part="Validation_Set")
    root.annotate("video2", ramp(24))
    for name in ("video1.mp4", "video2.mp4"):
        root.film(name, 24)
    table, problems = root.read()
    assert table.groupby("group_id")["official"].first().to_dict() == {"video1": "validation", "video2": "train"}
    assert "video1_right" in table["subject_id"].tolist()
    assert problems[0].startswith("video1_left: the same video or subject is in Validation_Set")


def test_all_videos_of_a_subject_stay_together(root):
    for name in ("video1", "video2", "video3"):
        root.annotate(name, ramp(24))
        root.film(f"{name}.mp4", 24)
    with open(root.folder / "subjects.csv", "w", newline="") as file:
        csv.writer(file).writerows([("track", "subject"), ("video1", "anna"), ("video3", "anna")])
    table, _ = root.read()
    groups = table.groupby("sample_id").first()["group_id"]
    assert groups["video1-000001"] == groups["video3-000001"] == "video1"
    assert groups["video2-000001"] == "video2"
    assert sorted(table["subject_id"].unique()) == ["anna", "video2"]


def test_subjects_of_no_track_are_refused(root):
    root.annotate("video1", ramp(24))
    (root.folder / "subjects.csv").write_text("track,subject\nvideo9,anna\n")
    with pytest.raises(DataError, match=r"subjects\.csv, row 2: there is no annotation of 'video9'"):
        root.read()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12, unique=True))
def test_groups_are_the_connected_parts(pairs):
    """Against the closure of 'shares a video or a subject', by brute force."""
    tracks = [Track(f"t{i}", f"v{video}", None, "train", None) for i, (video, _) in enumerate(pairs)]
    subjects = {f"t{i}": f"s{subject}" for i, (_, subject) in enumerate(pairs)}
    linked = np.array([[a[0] == b[0] or a[1] == b[1] for b in pairs] for a in pairs])
    for _ in pairs:
        linked = linked @ linked
    groups = group_of(tracks, subjects, {})
    names = [groups[track.name] for track in tracks]
    assert (np.equal.outer(names, names) == linked).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is ''"),
        ("0.1,0.2\n0.3,0.4\n", "first line is '0.1,0.2'"),
        ("valence,arousal\n", "no rows"),
        ("valence,arousal\n0.1,0.2\n0.1,x\n", "not rows of valence,arousal"),
        ("valence,arousal\n0.1\n", "no rows of valence,arousal"),
    ],
)
def test_broken_annotations_are_dropped_with_the_reason(root, text, message):
    path = root.annotate("video1", ramp(24))
    path.write_text(text)
    root.annotate("video2", ramp(24))
    root.film("video2.mp4", 24)
    with pytest.raises(DataError, match=message):
        read_annotation(path)
    table, problems = root.read()
    assert table["subject_id"].unique().tolist() == ["video2"]
    assert str(path) in problems[0]


def test_a_broken_video_leaves_the_faces(root):
    root.annotate("video1", ramp(24))
    root.crop("video1", range(1, 25))
    (root.folder / "videos").mkdir()
    (root.folder / "videos" / "video1.mp4").write_bytes(b"no video")
    table, problems = root.read()
    assert len(table) == 4
    assert table["audio_path"].isna().all()
    assert "not a readable video" in problems[0]


def test_another_folder_is_refused_with_a_hint(tmp_path):
    root = Root(tmp_path / "inner")
    root.annotate("video1", ramp(24))
    with pytest.raises(DataError, match=r"Point dataset\.root at .*inner"):
        Root(tmp_path).read()


def test_copies_of_a_video_stay_together(root):
    for name in ("video1", "video2"):
        root.annotate(name, ramp(24))
    shutil.copy(root.film("video1.mp4", 24), root.folder / "videos" / "video2.mp4")
    table, problems = root.read()
    assert set(table["group_id"]) == {"video1"}
    (problem,) = problems
    assert "video2.mp4: holds the same bytes as video1; they stay together (kept)" in problem


def test_a_name_that_is_not_utf_8_costs_its_track_alone(root, tmp_path):
    root.annotate("video1", ramp(24))
    root.film("video1.mp4", 24)
    odd = os.fsencode(root.annotate("odd", ramp(24))).replace(b"odd", b"od\xff")
    os.rename(root.folder / "VA_Estimation_Challenge" / "Train_Set" / "odd.txt", odd)
    os.rename(root.film("odd.mp4", 24), os.fsencode(root.folder / "videos") + b"/od\xff.mp4")
    dataset = DatasetChoice(name="affwild2", options=SMALL)
    sources = {"face": "face", "voice": "audio"}
    ingest(tmp_path / "out", IngestParams(dataset=dataset, root=str(root.folder), sources=sources))
    assert set(pd.read_parquet(tmp_path / "out" / "manifest.parquet")["subject_id"]) == {"video1"}
    entries = Ledger.read([tmp_path / "out" / "ingest.ledger.csv"]).entries
    assert {e.sample_id.split("-")[0] for e in entries} == {"od\\udcff"}
    assert any("not valid UTF-8; rename it" in e.problem for e in entries)


def test_the_pictures_of_a_sequence_are_those_of_its_sub_clips(tmp_path):
    values = yaml.safe_load((REPO / "config" / "affwild2.yaml").read_text())
    values["dataset"]["subclips"] = values["embedding"]["tokens"] = 16
    path = write_config(tmp_path / "config" / "affwild2.yaml", values)
    with pytest.raises(ConfigError, match=r"modalities.face.feature.frames is 32, but .* 16 sub-clips of 8 .* to 128"):
        load(path)
    values["modalities"]["face"]["feature"]["frames"] = 128
    load(write_config(path, values))
