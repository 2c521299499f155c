"""A stand-in for Part A of the BioVid Heat Pain Database, in its owners' layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pkdot.files import write_text
from pkdot.params import Params
from pkdot.simulation.base import Preparation, register
from pkdot.simulation.gestures import Motion
from pkdot.simulation.pain import CODE, LEVELS, Traits, Trial, draw_traits, draw_trial, face_curves, head_motion
from pkdot.simulation.root import finish, in_processes, start_over
from pkdot.simulation.video import write_h264

if TYPE_CHECKING:
    from pkdot.simulation.physiology import Body

FRAME_RATE, FRAMES = 25, 138
SAMPLES = 2816
LIST = "starting_point/samples.csv"
_FOLDERS = ("video", "biosignals_filtered")


class BiovidSimulation(Params):
    """How much of BioVid to simulate, and how clearly pain shows."""

    subjects: int = Field(60, ge=1, le=9999, description="number of subjects")
    classes: tuple[Literal["BL1", "PA1", "PA2", "PA3", "PA4"], ...] = Field(
        ("BL1", "PA4"), min_length=1, description="classes: no pain (BL1) and four levels of heat"
    )
    clips: int = Field(4, ge=1, le=199, description="clips of each class of each subject")
    seed: int = Field(0, ge=0, description="seed of everything that is drawn")
    width: int = Field(256, ge=64, le=1920, multiple_of=2, description="width of the video in pixels")
    height: int = Field(208, ge=64, le=1080, multiple_of=2, description="height of the video in pixels")
    hold: int = Field(2, ge=1, le=25, description="frames that show the same drawing, each with noise of its own")
    face_strength: float = Field(1.4, ge=0, description="factor on pain in the face; 0: the face tells nothing")
    face_noise: float = Field(
        0.25, ge=0, le=4, description="how loosely the face follows the pain that is felt; 0: it shows just that"
    )
    stoics: float = Field(0.15, ge=0, le=1, description="share of the subjects whose face hardly shows pain")
    physiology_strength: float = Field(2.0, ge=0, description="factor on pain in the signals; 0: they tell nothing")


@register("biovid")
class Biovid(Preparation):
    """Draws a stand-in for BioVid."""

    Options = BiovidSimulation
    packages = ("anny", "numba")

    @staticmethod
    def make(root: Path, options: Any, workers: int) -> None:
        simulate_biovid(root, options, workers)


def simulate_biovid(out: Path, params: BiovidSimulation, workers: int = 1) -> None:
    """Write a simulated BioVid: samples.csv, videos, signals, and last the marker SIMULATED.md.

    The result does not depend on ``workers``. The human model is built once into ``<parent of out>/.cache``.

    Parameters
    ----------
    out : Path
        Root of the data set; emptied first if it holds a simulation.
    params : BiovidSimulation
    workers : int
        Processes.

    Raises
    ------
    DataError
        ``out`` holds something that is no simulation of this module.
    """
    cache_dir = out.parent / ".cache"
    start_over(out, _FOLDERS, CODE)
    calls = [(out, params, number, cache_dir) for number in range(params.subjects)]
    rows = [row for rows in in_processes(_simulate_subject, calls, workers, cache_dir) for row in rows]
    _write_samples(out, rows)
    finish(out, _card(params))


@dataclass(frozen=True)
class Clip:
    """One clip before it is drawn.

    Attributes
    ----------
    label : str
        Its class.
    number : int
        Its number among the clips of the class, from 0.
    trial : Trial
    curves : dict of str to ndarray, shape (FRAMES,)
        Facial actions.
    signals : ndarray, shape (SAMPLES, 5)
    rng : Generator
        For what is drawn after them.
    """

    label: str
    number: int
    trial: Trial
    curves: dict[str, np.ndarray]
    signals: np.ndarray
    rng: np.random.Generator


def draw_clips(params: BiovidSimulation, number: int, traits: Traits, body: Body) -> Iterator[Clip]:
    """Draw the curves and signals of all clips of the subject of a number, without pictures."""
    time = np.arange(FRAMES) / FRAME_RATE
    for label, clip in _clips(params):
        # A generator of its own: a clip does not change with the number of others.
        rng = np.random.default_rng([params.seed, number, list(LEVELS).index(label), clip])
        trial = draw_trial(rng, traits, LEVELS[label])
        curves = face_curves(rng, traits, trial, time, params.face_strength, params.face_noise)
        signals = body.signals(rng, trial, curves, time, SAMPLES, params.physiology_strength)
        yield Clip(label, clip, trial, curves, signals, rng)


def _simulate_subject(out: Path, params: BiovidSimulation, number: int, cache_dir: Path) -> list[tuple]:
    """Write all clips of one subject; return its rows of samples.csv without the running number."""
    from pkdot.simulation.faces import Face
    from pkdot.simulation.physiology import Body
    from pkdot.simulation.scenes import backdrop, draw_light, film

    rng = np.random.default_rng([params.seed, number])
    traits = draw_traits(rng, number + 1, params.stoics)
    body = Body(rng, traits)
    face = Face(int(rng.integers(2**31)), cache_dir, traits.female, traits.age)
    room, light = backdrop(rng, params.width, params.height), draw_light(rng)
    folders = [out / folder / traits.name for folder in _FOLDERS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for drawn in draw_clips(params, number, traits, body):
        motion = head_motion(drawn.rng, traits, FRAMES, FRAME_RATE)
        name = f"{traits.name}-{drawn.label}-{_clip_number(drawn.label, drawn.number, params.clips):03d}"
        curves, motion = _every(params.hold, drawn.curves), Motion(**_every(params.hold, asdict(motion)))
        frames = np.repeat(face.render(curves, motion, light, room), params.hold, axis=0)[:FRAMES]
        write_h264(folders[0] / f"{name}.mp4", film(drawn.rng, frames), FRAME_RATE)
        _write_signals(folders[1] / f"{name}_bio.csv", drawn.signals)
        rows.append((number + 1, traits.name, list(LEVELS).index(drawn.label), drawn.label, name))
    return rows


def _every(step: int, courses: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: course[::step] for name, course in courses.items()}


def _clips(params: BiovidSimulation) -> Iterable[tuple[str, int]]:
    return ((label, clip) for label in sorted(set(params.classes)) for clip in range(params.clips))


def _clip_number(label: str, clip: int, clips: int) -> int:
    """Return the number in the sample's name: PA1 to PA4 first, then BL1, as the owners count."""
    return (list(LEVELS).index(label) - 1) % len(LEVELS) * clips + clip + 1


def _write_signals(path: Path, signals: np.ndarray) -> None:
    """Write a table separated by tabs, with the time in microseconds."""
    from pkdot.simulation.physiology import COLUMNS, RATE

    time = np.round(np.arange(len(signals)) * 1e6 / RATE)
    header = "\t".join(["time", *COLUMNS])
    np.savetxt(path, np.column_stack([time, signals]), "%d" + "\t%.6f" * 5, header=header, comments="")


def _write_samples(out: Path, rows: list[tuple]) -> None:
    lines = ["subject_id\tsubject_name\tclass_id\tclass_name\tsample_id\tsample_name"]
    for number, (subject_id, subject, class_id, label, sample) in enumerate(rows, start=1):
        lines.append(f"{subject_id}\t{subject}\t{class_id}\t{label}\t{number}\t{sample}")
    (out / LIST).parent.mkdir(exist_ok=True)
    write_text(out / LIST, "\n".join(lines) + "\n")


def _card(params: BiovidSimulation) -> str:
    return f"""# Simulated data: not BioVid

Nothing here was recorded from a person. `pkdot simulate biovid` drew faces, signals and pain by computer, in
the layout of Part A of the BioVid Heat Pain Database. Results on these data say nothing about people and must
not be compared with results on BioVid.

Faces: the human model of the package anny (Apache-2.0), painted and drawn; some subjects hardly show
pain. Signals: the simulators of neurokit2, driven by the same latent pain with other noise. There is no
biosignals_raw. Codes of subjects begin with {CODE}, as no recording date does. More: docs/stand-in-data.md.

Parameters: `{params.model_dump_json()}`
"""
