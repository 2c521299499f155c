"""A stand-in for the valence and arousal track of Aff-Wild2, in its owners' layout and with its troubles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pkdot.files import write_text
from pkdot.params import Params
from pkdot.simulation.base import Preparation, register
from pkdot.simulation.emotion import Manner, annotate, draw_manner, face_curves, head_motion, mood
from pkdot.simulation.gestures import Motion, smooth_noise
from pkdot.simulation.root import finish, in_processes, start_over
from pkdot.simulation.video import write_h264
from pkdot.simulation.voice import CONTROL, RATE, Voice, draw_voice, hum, music, speak, turns

if TYPE_CHECKING:
    from pkdot.simulation.faces import Face

CODE = "simulated"  # begins the name of every simulated video
CROP = 112  # side of the owners' crops, pixels
SOUND_RATE = 44100
FRAME_RATES = (24.0, 25.0, 30.0, 30000 / 1001)
EYES, EYES_APART = (56.0, 51.6), 35.2  # of a crop: the middle of the eyes, and from one to the other, pixels
APART = 0.27  # from eye to eye, in heights of a head
_ANNOTATIONS = "VA_Estimation_Challenge"
_FOLDERS = ("videos", "cropped_aligned", f"{_ANNOTATIONS}/Train_Set", f"{_ANNOTATIONS}/Validation_Set")


class AffWild2Simulation(Params):
    """How much of Aff-Wild2 to simulate, and how clearly emotion shows."""

    videos: int = Field(96, ge=4, le=999, description="number of videos; every sixth shows two people")
    seconds: float = Field(9.0, ge=2, le=600, description="mean length of a video")
    seed: int = Field(0, ge=0, description="seed of everything that is drawn")
    width: int = Field(256, ge=128, le=1920, multiple_of=2, description="width of the video in pixels")
    height: int = Field(192, ge=96, le=1080, multiple_of=2, description="height of the video in pixels")
    face_strength: float = Field(1.0, ge=0, description="factor on emotion in the face; 0: the face tells nothing")
    voice_strength: float = Field(1.0, ge=0, description="factor on emotion in the voice; 0: the voice tells nothing")


@dataclass(frozen=True)
class Scene:
    """One video: who is in it, and which of the troubles of real ones it has.

    Attributes
    ----------
    number : int
    people : tuple of int
        One, or two: the first on the left.
    part : str
        The owners' folder.
    """

    number: int
    people: tuple[int, ...]
    part: str

    @property
    def name(self) -> str:
        return f"{CODE}{self.number:03d}"

    @property
    def rate(self) -> float:
        """Frames a second."""
        return 24.0 if self.drifts else FRAME_RATES[self.number % len(FRAME_RATES)]

    @property
    def drifts(self) -> bool:
        """Whether it was annotated and cropped at 25 frames a second, but is stored at 24."""
        return self.number % 9 == 6

    @property
    def mute(self) -> bool:
        """Whether it has no sound track."""
        return self.number % 12 == 5

    @property
    def pauses(self) -> bool:
        """Whether its sound fails for a third of its time."""
        return self.number % 12 == 3

    @property
    def clips(self) -> bool:
        """Whether it was recorded too loud."""
        return self.number % 12 == 9

    @property
    def plays_music(self) -> bool:
        return self.number % 3 == 1

    @property
    def lacks_crops(self) -> bool:
        """Whether the owners have cropped no face."""
        return self.number % 10 == 4

    def tracks(self) -> list[str]:
        """Return the names of the annotations, one a person."""
        return [self.name] if len(self.people) == 1 else [f"{self.name}_left", f"{self.name}_right"]


def scenes(videos: int) -> list[Scene]:
    """List all videos; every eighth shows somebody of the one before, a third of the others are for validation."""
    made: list[Scene] = []
    person, group = 0, 0
    for number in range(videos):
        if number % 8 == 7:
            made.append(Scene(number, made[-1].people[-1:], made[-1].part))
            continue
        people = (person, person + 1) if number % 6 == 2 else (person,)
        made.append(Scene(number, people, "Validation_Set" if group % 3 == 1 else "Train_Set"))
        person, group = person + len(people), group + 1
    return made


@register("affwild2")
class AffWild2(Preparation):
    """Draws a stand-in for Aff-Wild2."""

    Options = AffWild2Simulation
    packages = ("anny", "numba")

    @staticmethod
    def make(root: Path, options: Any, workers: int) -> None:
        simulate_affwild2(root, options, workers)


def simulate_affwild2(out: Path, params: AffWild2Simulation, workers: int = 1) -> None:
    """Write a simulated Aff-Wild2: annotations, crops, videos, subjects.csv, and last the marker SIMULATED.md.

    The result does not depend on ``workers``. The human model is built once into ``<parent of out>/.cache``.

    Parameters
    ----------
    out : Path
        Root of the data set; emptied first if it holds a simulation.
    params : AffWild2Simulation
    workers : int
        Processes.

    Raises
    ------
    DataError
        ``out`` holds something that is no simulation of this module.
    """
    cache_dir = out.parent / ".cache"
    start_over(out, _FOLDERS, CODE)
    for folder in _FOLDERS:
        (out / folder).mkdir(parents=True)
    chosen = scenes(params.videos)
    in_processes(_simulate_video, [(out, params, scene, cache_dir) for scene in chosen], workers, cache_dir)
    pairs = [pair for scene in chosen for pair in zip(scene.tracks(), scene.people, strict=True)]
    lines = ["track,subject", *(f"{track},person{person:03d}" for track, person in pairs)]
    write_text(out / "subjects.csv", "\n".join(lines) + "\n")
    finish(out, _card(params))


@dataclass(frozen=True)
class _Actor:
    """A person in a scene: face, manner and voice, and latent trajectories of this video, of shape (frames,)."""

    face: Face
    manner: Manner
    voice: Voice
    valence: np.ndarray
    arousal: np.ndarray


def _actor(params: AffWild2Simulation, scene: Scene, person: int, count: int, cache_dir: Path) -> _Actor:
    from pkdot.simulation.faces import Face

    rng = np.random.default_rng([params.seed, 1, person])  # the same person in every video
    female, age = person % 2 == 0, int(rng.integers(20, 66))
    face = Face(int(rng.integers(2**31)), cache_dir, female, age)
    manner, voice = draw_manner(rng), draw_voice(rng, female)
    rng = np.random.default_rng([params.seed, 2, scene.number, person])
    return _Actor(face, manner, voice, *mood(rng, count, scene.rate))


def _simulate_video(out: Path, params: AffWild2Simulation, scene: Scene, cache_dir: Path) -> None:
    """Write one video with the annotations and crops of everybody in it."""
    from pkdot.simulation.scenes import backdrop, draw_light, film

    rng = np.random.default_rng([params.seed, 3, scene.number])
    seconds = params.seconds * rng.uniform(0.8, 1.2)
    count = int(seconds * scene.rate)
    actors = [_actor(params, scene, person, count, cache_dir) for person in scene.people]
    sound, mouths = _sound(rng, params, scene, actors, count)
    frames, light = backdrop(rng, params.width, params.height), draw_light(rng)
    motions = []
    for place, (actor, mouth) in enumerate(zip(actors, mouths, strict=True)):
        x, size = (0.5, 0.6) if len(actors) == 1 else ((0.26, 0.5), (0.74, 0.5))[place]
        motion = head_motion(rng, actor.manner, count, scene.rate, x, size)
        curves = face_curves(rng, actor.manner, actor.valence, actor.arousal, mouth, scene.rate, params.face_strength)
        frames = actor.face.render(curves, motion, light, frames)
        motions.append(motion)
    film(rng, frames)
    noise = None if scene.mute else (sound, SOUND_RATE)
    write_h264(out / "videos" / f"{scene.name}.mp4", frames, scene.rate, sound=noise)
    for track, actor, motion in zip(scene.tracks(), actors, motions, strict=True):
        shown = np.minimum(np.arange(_counted(scene, count)) * count // _counted(scene, count), count - 1)
        _write_annotation(rng, out / _ANNOTATIONS / scene.part / f"{track}.txt", actor, scene, shown)
        if not scene.lacks_crops:
            _write_crops(rng, out / "cropped_aligned" / track, frames, motion, shown)


def _counted(scene: Scene, count: int) -> int:
    """Return how many frames the owners have counted."""
    return round(count * 25 / 24) if scene.drifts else count


def _sound(
    rng: np.random.Generator, params: AffWild2Simulation, scene: Scene, actors: list[_Actor], count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the sound of a video, and how far each mouth is open in each frame."""
    from scipy.signal import resample_poly

    seconds = count / scene.rate
    frame, tick = np.arange(count) / scene.rate, np.arange(int(seconds * CONTROL)) / CONTROL
    total = 10 ** (-rng.uniform(12, 22) / 20) * hum(rng, seconds)
    if scene.plays_music:
        total = total + 10 ** (-rng.uniform(6, 14) / 20) * music(rng, seconds)
    free, mouths = np.ones(len(tick)), []
    for actor in actors:
        speaking = turns(rng, seconds, talk=0.75)[: len(tick)] * free
        free = free * (1 - speaking)
        valence, arousal = (
            params.voice_strength * np.interp(tick, frame, values) + 0.12 * smooth_noise(rng, len(tick), 80)
            for values in (actor.valence, actor.arousal)
        )
        speech, mouth = speak(rng, actor.voice, valence, arousal, speaking)
        speech = speech[: len(total)]
        total[: len(speech)] += speech
        mouths.append(np.interp(frame, tick, mouth))
    total *= 10 ** (rng.normal(0, 3) / 20) * (25 if scene.clips else 1)
    if scene.pauses:
        total[len(total) // 3 : 2 * len(total) // 3] = 0
    return np.clip(resample_poly(total, SOUND_RATE, RATE), -1, 1), mouths


def _write_annotation(rng: np.random.Generator, path: Path, actor: _Actor, scene: Scene, shown: np.ndarray) -> None:
    """Write a row for each frame; some are not valid, and there are not quite as many rows as frames."""
    columns = [annotate(rng, latent, scene.rate)[shown] for latent in (actor.valence, actor.arousal)]
    table = np.stack(columns, axis=1).round(3)
    for start in rng.integers(0, len(table), 3):
        table[start : start + int(rng.integers(3, 20)), : int(rng.integers(1, 3))] = -5
    extra = int(rng.choice([-12, -1, 0, 0, 1, 3]))
    table = np.concatenate([table, np.repeat(table[-1:], max(extra, 0), axis=0)])[: len(table) + extra]
    np.savetxt(path, table, "%g", delimiter=",", header="valence,arousal", comments="")


def _write_crops(rng: np.random.Generator, folder: Path, frames: np.ndarray, motion: Motion, shown: np.ndarray) -> None:
    """Write crops of the face, numbered by the owners' frames; where no face was found there is none."""
    import cv2

    missing = np.zeros(len(shown), bool)
    for start in rng.integers(0, len(shown), 1 + len(shown) // 150):
        missing[start : start + int(rng.integers(2, 15))] = True
    folder.mkdir()
    height, width = frames.shape[1:3]
    for number in np.flatnonzero(~missing):
        t = shown[number]
        scale = EYES_APART / (APART * motion.size[t] * height)
        eyes = motion.x[t] * width, motion.y[t] * height
        matrix = cv2.getRotationMatrix2D(eyes, float(motion.roll[t]), scale)
        matrix[:, 2] += np.subtract(EYES, eyes)
        crop = cv2.warpAffine(frames[t], matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{number + 1:05d}.jpg"), crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def _card(params: AffWild2Simulation) -> str:
    return f"""# Simulated data: not Aff-Wild2

Nothing here was recorded from a person. `pkdot simulate affwild2` drew faces, voices and emotions by computer, in
the layout of the valence and arousal track of Aff-Wild2. Results on these data say nothing about people and must
not be compared with results on Aff-Wild2.

Faces: the human model of the package anny (Apache-2.0), painted and drawn; a third of the people show little.
Voices: harmonics and formants. Both follow the same latent valence and arousal, with other noise; the voice tells
more of arousal. `subjects.csv` says who is in several videos, which the owners do not publish.
Names of videos begin with `{CODE}`. More: docs/stand-in-data.md.

Parameters: `{params.model_dump_json()}`
"""
