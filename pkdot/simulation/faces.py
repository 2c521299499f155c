"""Faces in motion: one seed is one person; trajectories of facial actions and of the head become frames.

``Face`` knows nothing of pain or of emotion: it draws what the trajectories of the human model's facial
actions say, over any background, so that two people can share a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pkdot.simulation.gestures import Motion
from pkdot.simulation.heads import (
    CHART_HEIGHT,
    LOCAL_NAMES,
    PATCH,
    PATCHES,
    Head,
    Shape,
    Topology,
    head_model,
)
from pkdot.simulation.raster import draw, lay_over, shade
from pkdot.simulation.skins import Look, hair_cover, paint

_DISTANCE = 0.9  # of the camera, metres
_HEAD_HEIGHT = 0.215  # metres, of an average head
_NECK = np.array([0.0, 0.07, -0.1], np.float32)  # the head turns about it

# Light to dark skin; natural hair; irises; clothes (RGB).
_SKINS = ((232, 194, 172), (222, 180, 152), (206, 160, 128), (184, 134, 100), (148, 102, 72), (108, 72, 52))
_HAIRS = ((38, 30, 28), (62, 44, 34), (96, 66, 44), (140, 100, 62), (186, 148, 98), (150, 76, 44))
_GREY = (168, 166, 164)
_IRISES = ((92, 62, 40), (70, 46, 32), (104, 116, 74), (96, 126, 152), (118, 132, 140))
_CLOTHES = ((52, 62, 84), (120, 44, 48), (70, 96, 78), (176, 176, 180), (60, 58, 60), (146, 122, 92))


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes
    ----------
    azimuth, elevation : float
        Where it comes from, degrees: to the picture's right, upwards.
    ambient : float
        Share of the light without direction, 0 to 1.
    tint : tuple of float
        Gain of red, green and blue.
    """

    azimuth: float = -25.0
    elevation: float = 35.0
    ambient: float = 0.45
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def direction(self) -> np.ndarray:
        """Return the unit vector towards the light in camera coordinates (x right, y down, z away)."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), -np.cos(azimuth) * np.cos(elevation)])


@dataclass(frozen=True)
class Person:
    """Build and look of one person, drawn from a seed."""

    shape: Shape
    look: Look
    long_hair: bool


def draw_person(rng: np.random.Generator, female: bool, age: float) -> Person:
    """Draw a build and a look.

    Parameters
    ----------
    rng : Generator
    female : bool
    age : float
        Years, 18 to 80.
    """
    tone = int(rng.choice(6, p=[0.26, 0.26, 0.18, 0.12, 0.1, 0.08]))
    fair = tone < 2
    race = rng.dirichlet([0.4 + 2 * (tone > 3), 0.4 + (tone == 2), 0.4 + 2 * fair])
    local = {name: float(rng.uniform(-0.55, 0.55)) for name in LOCAL_NAMES}
    sex = float(np.clip(rng.normal(0.88 if female else 0.12, 0.06), 0, 1))
    african, asian, caucasian = map(float, race)
    shape = Shape(sex, age, float(np.clip(rng.normal(0.5, 0.13), 0.2, 0.85)), (african, asian, caucasian), local)
    hair = np.array(_HAIRS[int(rng.integers(0, 6 if fair else 2))], np.float32)
    hair += float(np.clip((age - 38) / 35 + rng.normal(0, 0.15), 0, 0.95)) * (np.array(_GREY) - hair)
    iris = _IRISES[int(rng.integers(0, 5 if fair else 2))]
    look = Look(
        skin=np.array(_SKINS[tone], np.float32) * rng.uniform(0.94, 1.04),
        hair=hair,
        iris=np.array(iris, np.float32),
        cloth=np.array(_CLOTHES[int(rng.integers(6))], np.float32) * rng.uniform(0.7, 1.2),
        hairline=0.0 if female else float(rng.beta(1 + age / 40, 2)),
        volume=float(rng.uniform(0.012, 0.022) if female else rng.uniform(0.003, 0.014)),
        beard=0.0 if female else float(rng.choice([0.05, 0.18, 0.4, 0.75], p=[0.35, 0.3, 0.2, 0.15])),
        brows=float(rng.uniform(0.1, 0.5) if female else rng.uniform(0.4, 1.0)),
        redness=float(rng.uniform(0.2, 0.9)),
        makeup=float(rng.choice([0, 0.35, 0.7], p=[0.5, 0.35, 0.15])) if female else 0.0,
        lines=float(np.clip((age - 25) / 45, 0, 1)),
    )
    return Person(shape, look, female and bool(rng.random() < 0.7))


class Face:
    """One person who can be drawn.

    Parameters
    ----------
    seed : int
        Same seed, sex and age: same person.
    cache_dir : Path
        Folder of the built human model; see ``build_head_model``.
    female : bool
    age : float
        Years, 18 to 80.

    Attributes
    ----------
    actions : tuple of str
        Names of the facial actions that ``render`` understands.
    """

    def __init__(self, seed: int, cache_dir: Path, female: bool, age: float) -> None:
        rng = np.random.default_rng([seed, 101])
        model = head_model(cache_dir)
        self._topology = model.topology
        self.actions = self._topology.names
        person = draw_person(rng, female, age)
        self.texture = paint(self._topology, person.look, rng)
        self._build(model.head(person.shape), person)

    def _build(self, head: Head, person: Person) -> None:
        """Give the head hair and teeth; keep only the moves that matter."""
        topology = self._topology
        vertices = _with_hair(head.vertices, topology, hair_cover(person.look), person.look.volume)
        parts = [(vertices, topology.faces, topology.atlas), _teeth(head.vertices, topology)]
        if person.long_hair:
            parts.append(_long_hair(person.look.volume))
        offsets = np.cumsum([0] + [len(part[0]) for part in parts])
        self._vertices = np.concatenate([part[0] for part in parts]).astype(np.float32)
        self._faces = np.concatenate([part[1] + offset for part, offset in zip(parts, offsets, strict=False)])
        self._faces = self._faces.astype(np.int32)
        self._atlas = np.concatenate([part[2] for part in parts]).astype(np.float32)
        self._moves = np.zeros((len(head.actions), *self._vertices.shape), np.float32)
        self._moves[:, : len(vertices)] = head.actions
        self._follows = np.clip((self._vertices[:, 2] + 0.17) / 0.07, 0, 1)[:, None]

    def render(
        self, actions: Mapping[str, np.ndarray], motion: Motion, light: Light, background: np.ndarray
    ) -> np.ndarray:
        """Draw the person over a background.

        Parameters
        ----------
        actions : mapping of str to ndarray, shape (T,)
            Strength of facial actions, 0 to 1; those left out are at rest.
        motion : Motion
            T frames.
        light : Light
        background : ndarray, shape (height, width, 3) or (T, height, width, 3), uint8
            RGB; the output of another person's ``render`` puts two people into one picture.

        Returns
        -------
        ndarray, shape (T, height, width, 3), uint8
        """
        count = len(motion.yaw)
        height, width = background.shape[-3:-1]
        behind = np.broadcast_to(background, (count, height, width, 3))
        chosen = [self.actions.index(name) for name in actions]
        strengths = [curve.astype(np.float32) for curve in actions.values()]
        tint = np.asarray(light.tint, np.float32)
        frames = np.empty((count, height, width, 3), np.uint8)
        for t in range(count):
            vertices = self._vertices.copy()
            for index, strength in zip(chosen, strengths, strict=True):
                if strength[t] > 0.004:
                    vertices += strength[t] * self._moves[index]
            layer = self._draw(self._place(vertices, motion, t), motion, t, light, (height, width))
            frames[t] = lay_over(layer, behind[t], tint)
        return frames

    def _place(self, vertices: np.ndarray, motion: Motion, t: int) -> np.ndarray:
        """Turn the head on its neck; return camera coordinates (x right, y down, z away)."""
        turned = (vertices - _NECK) @ _rotation(motion.yaw[t], motion.pitch[t], motion.roll[t]).T + _NECK
        vertices = vertices + self._follows * (turned - vertices)
        return np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1).astype(np.float32)

    def _draw(self, points: np.ndarray, motion: Motion, t: int, light: Light, size: tuple[int, int]) -> np.ndarray:
        height, width = (2 * side for side in size)
        diffuse, specular = shade(points, self._faces, light.direction(), light.ambient, 0.35)
        zoom = motion.size[t] * height / _HEAD_HEIGHT / (1 + points[:, 2] / _DISTANCE)
        screen = np.stack(
            [
                points[:, 0] * zoom + motion.x[t] * width,
                points[:, 1] * zoom + motion.y[t] * height,
                points[:, 2],
            ],
            axis=1,
        ).astype(np.float32)
        layer = np.zeros((height, width, 4), np.uint8)
        depth = np.full((height, width), np.inf, np.float32)
        draw(screen, self._faces, self._atlas, self.texture, diffuse, specular, layer, depth)
        return layer


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the rotation matrix of turns in degrees, in the head's coordinates (x right, y away, z up)."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    return (about_y @ about_x @ about_z).astype(np.float32)


def _with_hair(vertices: np.ndarray, topology: Topology, cover: np.ndarray, volume: float) -> np.ndarray:
    """Raise the scalp by the volume of the hair; ears stay."""
    soft = cv2.GaussianBlur(cover, (0, 0), 6)
    columns, rows = topology.chart.astype(int).T
    raised = soft[rows, columns] * (topology.chart[:, 1] < 0.45 * CHART_HEIGHT)
    raised[np.unique(topology.faces[topology.part > 0])] = 0
    middle = np.array([0, 0.084, 0.0], np.float32)
    outwards = vertices - middle
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    return vertices + (volume * raised)[:, None] * outwards


def _strip(grid: np.ndarray, patch: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build a two-sided sheet over a grid of points (rows, columns, 3), textured with a patch."""
    rows, columns = grid.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (b, d, c), (a, c, b), (b, c, d))])
    v, u = np.meshgrid(np.linspace(2, PATCH - 3, rows), np.linspace(2, PATCH - 3, columns), indexing="ij")
    corner = [PATCHES.index(patch) * PATCH, CHART_HEIGHT]
    place = np.stack([u, v], axis=-1).reshape(-1, 2) + corner
    return grid.reshape(-1, 3), faces, place[faces]


def _teeth(vertices: np.ndarray, topology: Topology) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build an arc of upper teeth behind the lips; they do not move with the jaw."""
    lips = vertices[np.unique(topology.faces[topology.lips])]
    front, line = lips[:, 1].min(), (lips[:, 2].min() + lips[:, 2].max()) / 2
    turn = np.linspace(-1.1, 1.1, 13)
    across, away = 0.022 * np.sin(turn), front + 0.036 - 0.024 * np.cos(turn)
    edges = [np.stack([across, away, np.full_like(turn, line + high)], axis=-1) for high in (0.009, -0.003)]
    return _strip(np.stack(edges), "teeth")


def _long_hair(volume: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build hair to the shoulders: a shell around the sides and the back of the head."""
    turn = np.linspace(np.radians(72), np.radians(288), 40)
    heights = np.linspace(0.06, -0.17, 9)
    reach = np.interp(heights, [-0.17, -0.1, 0.0, 0.06], [0.1, 0.098, 0.09, 0.074]) + 0.6 * volume
    shell = np.empty((len(heights), len(turn), 3))
    shell[..., 0] = reach[:, None] * np.sin(turn)
    shell[..., 1] = 0.084 - 1.05 * reach[:, None] * np.cos(turn)
    shell[..., 2] = heights[:, None]
    return _strip(shell, "hair")
