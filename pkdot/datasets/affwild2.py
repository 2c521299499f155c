"""Aff-Wild2, the track of valence and arousal: videos from the wild, annotated frame by frame.

Kollias and Zafeiriou, arXiv 1811.07770 and 1910.04855. A sample is a sequence of sub-clips of one person.
Ingestion decodes no video: it reads the annotations, the names of the crops and the headers of the videos.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from pkdot.datasets.base import Dataset, register
from pkdot.datasets.copies import copies
from pkdot.errors import DataError
from pkdot.ledger import Ledger
from pkdot.params import Params

TARGETS = ("valence", "arousal")
INVALID = -5.0  # the owners' mark of a frame without a valid annotation
ANNOTATIONS = "VA_Estimation_Challenge"
PARTS = {"Train_Set": "train", "Validation_Set": "validation"}
SUBJECTS = "subjects.csv"
USUAL_RATE = 30.0  # frames a second where no video says it
SLACK = 5  # frames by which annotation and video may differ, one of them being cut off
DRIFT = 0.1  # relative difference up to which it is the two clocks that differ


class AffWild2Options(Params):
    """Options of ``affwild2``."""

    frames: int = Field(8, ge=1, description="frames of a sub-clip, as published")
    dilation: int = Field(4, ge=1, description="every how many frames of the video one is taken, as published")
    subclips: int = Field(16, ge=1, description="sub-clips of a sequence, as published; the same as embedding.tokens")
    every_frame: bool = Field(
        True,
        description="interleave as many sequences as the dilation, so that each frame is predicted once; "
        "otherwise the frames between those of the first sequence are left out",
    )
    unlabelled: Literal["frames"] | None = Field(
        None,
        description="frames: sequences of which no frame has a valid annotation take part without a label, as "
        "recordings of face and voice; null leaves them out",
    )


@dataclass(frozen=True)
class Track:
    """One annotated person in one video."""

    name: str
    video: str
    side: str | None
    part: str
    annotation: Path


@dataclass(frozen=True)
class Clip:
    """What the header of a raw video says; frames a second are those of the annotation where clocks differ."""

    path: str
    frames: int
    rate: float
    sound: bool


@register("affwild2")
class AffWild2(Dataset):
    """Row n of an annotation is frame n of the video, and the crop of that number."""

    Options = AffWild2Options
    options: AffWild2Options
    preparation = "affwild2"
    title = "Aff-Wild2"
    licence = "for research that is not commercial, by an agreement with its owners"
    folders_as_one = ("cropped_aligned",)

    def sources(self) -> tuple[str, ...]:
        return ("face", "audio")

    def sequence(self) -> tuple[int, int]:
        return self.options.subclips, self.options.frames

    def targets(self) -> dict[str, list[str] | None]:
        return dict.fromkeys(TARGETS)

    def read(self, ledger: Ledger) -> pd.DataFrame:
        files = _video_files(self.root / "videos")
        tracks = self._tracks(files, ledger)
        subjects = _read_subjects(self.root / SUBJECTS, tracks)
        groups = group_of(tracks, subjects, self._copies(files, ledger))
        held_out = {groups[track.name] for track in tracks if track.part == "validation"}
        rows: list[dict] = []
        for track in tracks:
            if track.part == "train" and groups[track.name] in held_out:
                problem = "the same video or subject is in Validation_Set: nobody may be on both sides"
                ledger.add(track.name, "", "ingest", problem)
                continue
            try:
                own = self._sequences(track, files.get(track.video), ledger)
            except DataError as problem:
                ledger.add(track.name, "", "ingest", str(problem))
                continue
            person = {"subject_id": subjects.get(track.name, track.name), "group_id": groups[track.name]}
            rows += [row | person | {"official": track.part} for row in own]
        return pd.DataFrame(rows)

    def _tracks(self, files: dict[str, Path], ledger: Ledger) -> list[Track]:
        folders = {part: self.root / ANNOTATIONS / part for part in PARTS}
        if not any(folder.is_dir() for folder in folders.values()):
            inner = sorted(path.parent.name for path in self.root.glob(f"*/{ANNOTATIONS}"))
            hint = f"Point dataset.root at {self.root / inner[0]}" if inner else "Point dataset.root at its parent"
            wanted = f"{ANNOTATIONS}/Train_Set nor .../Validation_Set"
            raise DataError(f"{self.root}: not an Aff-Wild2 root, it holds neither {wanted}. {hint}.")
        tracks: dict[str, Track] = {}
        for folder, part in PARTS.items():
            for path in sorted(folders[folder].glob("*.txt")):
                if path.stem in tracks:
                    problem = f"{path}: annotated in Train_Set too; that one counts"
                    ledger.add(path.stem, "", "ingest", problem, "kept")
                    continue
                video, side = _video_of(path.stem, files)
                tracks[path.stem] = Track(path.stem, video, side, part, path)
        return list(tracks.values())

    def _copies(self, files: dict[str, Path], ledger: Ledger) -> dict[str, str]:
        """Return video -> the first video with the same bytes; copies stay on one side of every split."""
        same: dict[str, str] = {}
        for group in copies(files.values()):
            first, *others = [path.stem for path in group]
            for path, name in zip(group[1:], others, strict=True):
                ledger.add(name, "", "ingest", f"{path}: holds the same bytes as {first}; they stay together", "kept")
                same[name] = first
        return same

    def _sequences(self, track: Track, video: Path | None, ledger: Ledger) -> list[dict[str, object]]:
        """Return the rows of the manifest, without subject and group."""
        values = self._values(track, ledger)
        crops = self.root / "cropped_aligned" / track.name
        last = _last_crop(crops)
        clip = self._clip(track, video, max(len(values), last), ledger)
        if not last and clip is None:
            raise DataError(f"neither {crops}/ nor a video {track.video} that can be read")
        seen = max(last, clip.frames if clip else 0)
        if len(values) > seen:
            note = f"{track.annotation}: rows {seen + 1} to {len(values)} are of frames that are not there"
            ledger.add(track.name, "", "ingest", note, "kept with mask")
            values = values[:seen]
        rate = clip.rate if clip else USUAL_RATE
        sound = clip.path if clip and clip.sound else None
        shape = self.options.subclips, self.options.frames
        rows = []
        values = np.concatenate([values, np.full((1, 2), np.nan)]).astype(np.float32)
        for number, first, frames in self._cut(len(values) - 1):
            row: dict[str, object] = {"sample_id": f"{track.name}-{number + 1:06d}"}
            if np.isnan(values[frames]).all() and self.options.unlabelled is None:
                ledger.add(f"{track.name}-{number + 1:06d}", "", "ingest", "no frame has a valid annotation")
                continue
            row |= {name: list(column.reshape(shape)) for name, column in zip(TARGETS, values[frames].T, strict=True)}
            row |= self._span("face", clip.path if clip and not last else str(crops), first, rate)
            row |= {"face_rate": rate, "face_side": None if last else track.side}
            rows.append(row | self._span("audio", sound, first + 0.5, rate))
        return rows

    def _values(self, track: Track, ledger: Ledger) -> np.ndarray:
        """Return the annotations (rows, 2), NaN where not valid; what is masked goes to the ledger."""
        values = read_annotation(track.annotation)
        valid = (np.abs(values) <= 1) & (values != INVALID)
        for name, column, usable in zip(TARGETS, values.T, valid.T, strict=True):
            if not usable.all():
                odd = int((~usable & (column != INVALID)).sum())
                note = f"{track.annotation}: {(~usable).sum()} of {len(usable)} rows have no valid {name}"
                note += f", {odd} of them outside of -1 to 1" if odd else ""
                ledger.add(track.name, "", "ingest", note, "kept with mask")
        step = self.options.dilation
        if step > 1 and not self.options.every_frame:
            note = f"{len(values) - len(values[::step])} of {len(values)} frames lie between those that are read"
            ledger.add(track.name, "", "ingest", f"{note} (dataset.every_frame)", "as configured")
        return np.where(valid, values, np.nan)

    def _clip(self, track: Track, video: Path | None, frames: int, ledger: Ledger) -> Clip | None:
        """Read the header of the raw video; its rate is that of the annotation, which has ``frames`` frames."""
        if video is None:
            ledger.add(track.name, "audio", "ingest", f"no video {track.video} in {self.root / 'videos'}: no sound")
            return None
        try:
            clip = read_header(video)
        except DataError as problem:
            ledger.add(track.name, "audio", "ingest", str(problem))
            return None
        if not clip.sound:
            ledger.add(track.name, "audio", "ingest", f"{video}: the video has no sound track")
        if not SLACK < abs(frames - clip.frames) <= DRIFT * clip.frames:
            return clip
        note = f"{video}: {clip.frames} frames, {frames} annotated or cropped; these are spread over its time"
        ledger.add(track.name, "", "ingest", note, "kept with mask")
        return Clip(clip.path, frames, clip.rate * frames / clip.frames, clip.sound)

    @property
    def _length(self) -> int:
        """Frames of the video from the start of a sequence to its end."""
        return self.options.subclips * self.options.frames * self.options.dilation

    def _cut(self, count: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield the sequences of a track: a number for the name, the first frame, and the frames predicted, from 0.

        The last sequences start earlier, so as to end with the video. Their first frames belong to those before
        them, and are -1 like frames past the end of a video that is too short; so every frame occurs once.
        """
        last = max(0, count - self._length)
        steps = np.arange(self.options.subclips * self.options.frames) * self.options.dilation
        for begin in range(0, count, self._length):
            for phase in range(self.options.dilation if self.options.every_frame else 1):
                first = min(begin, last) + phase
                frames = np.where((first + steps >= begin) & (first + steps < count), first + steps, -1)
                if (frames >= 0).any():
                    yield begin + phase, first, frames

    def _span(self, source: str, path: str | None, first: float, rate: float) -> dict[str, object]:
        """Return the columns of a source: each frame of the sequence is in the middle of its share of the span."""
        start = (first - self.options.dilation / 2) / rate
        return {
            f"{source}_path": path,
            f"{source}_start": start,
            f"{source}_stop": start + self._length / rate,
        }


def read_annotation(path: Path) -> np.ndarray:
    """Read valence and arousal of every frame, shape (rows, 2), as they are written.

    Raises
    ------
    DataError
        The file is empty, or a row is not two numbers.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            head, rows = file.readline(), file.readlines()
        values = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.empty((0, 2))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not rows of valence,arousal below a header ({error})") from error
    if "valence" not in head.lower():
        raise DataError(f"{path}: the first line is '{head.strip()}', not the header valence,arousal")
    if values.shape[1:] != (2,) or not len(values):
        raise DataError(f"{path}: holds no rows of valence,arousal")
    return values


def read_header(path: Path) -> Clip:
    """Read the header of a video file; no frame is decoded.

    Raises
    ------
    DataError
        It cannot be read, or says neither how many frames it has nor how long it lasts.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: the file holds no video")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0)
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            frames = stream.frames or round((seconds or (container.duration or 0) / 1e6) * rate)
            sound = bool(container.streams.audio)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path}: not a readable video ({error.strerror})") from error
    if not frames or not rate:
        raise DataError(f"{path}: the video says neither how many frames it has nor how long it lasts")
    return Clip(str(path), frames, rate, sound)


def group_of(tracks: Iterable[Track], subjects: dict[str, str], same: dict[str, str]) -> dict[str, str]:
    """Return track -> the first video of all that are tied by shared videos, copies of videos and shared subjects."""
    members: dict[str, set[str]] = {}  # a video or a subject -> all that is tied to it
    for track in tracks:
        tied = {f"video {track.video}", f"video {same.get(track.video, track.video)}"}
        if track.name in subjects:
            tied.add(f"subject {subjects[track.name]}")
        for name in list(tied):
            tied |= members.get(name, set())
        members |= dict.fromkeys(tied, tied)
    first = {name: min(n for n in tied if n.startswith("video ")) for name, tied in members.items()}
    return {track.name: first[f"video {track.video}"].removeprefix("video ") for track in tracks}


def _video_files(folder: Path) -> dict[str, Path]:
    """Return name of a video -> its file, in any folder below."""
    found: dict[str, Path] = {}
    for where, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.lower().endswith((".mp4", ".avi")):
                found.setdefault(Path(name).stem, Path(where) / name)
    return found


def _video_of(track: str, files: dict[str, Path]) -> tuple[str, str | None]:
    """Return the video of a track, and which of two people is meant."""
    for side in ("left", "right"):
        if track.endswith(f"_{side}") and track not in files:
            return track.removesuffix(f"_{side}"), side
    return track, None


def _last_crop(folder: Path) -> int:
    """Return the highest number of a crop, 0 where there is none; the folder is only listed."""
    if not folder.is_dir():
        return 0
    stems = (os.path.splitext(entry.name)[0] for entry in os.scandir(folder))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def _read_subjects(path: Path, tracks: list[Track]) -> dict[str, str]:
    """Return track -> subject, from a table that users may add; without it each track is a subject."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"track", "subject"} <= rows[0].keys():
        raise DataError(f"{path}: has no columns track and subject; name them in the first line, or remove the file.")
    names = {track.name for track in tracks}
    for number, row in enumerate(rows, start=2):
        if row["track"] not in names:
            raise DataError(
                f"{path}, row {number}: there is no annotation of '{row['track']}'; mend or remove the row."
            )
    return {row["track"]: row["subject"] for row in rows}
