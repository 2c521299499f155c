"""Paint a face: skin, lips, brows, lashes, eyes, hair, beard and clothes on the atlas of the head's mesh."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pkdot.simulation.heads import (
    ATLAS_SHAPE,
    CHART_BOTTOM,
    CHART_HEIGHT,
    CHART_TOP,
    CHART_WIDTH,
    PATCH,
    PATCHES,
    Topology,
)

_GLOSS = {"skin": 70, "lips": 110, "hair": 60, "cloth": 12, "eye": 200, "mouth": 60}


@dataclass(frozen=True)
class Look:
    """Colours (RGB, 0 to 255) and styles of one person.

    Attributes
    ----------
    hairline : float
        How far the hair has receded, 0 to 1.
    volume : float
        Thickness of the hair in metres.
    beard, brows, redness, makeup, lines : float
        Strength of beard, brows, flush of the skin, lip colour and lines of age, 0 to 1.
    """

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    hairline: float
    volume: float
    beard: float
    brows: float
    redness: float
    makeup: float
    lines: float


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Return the turn (radians, 0 in front) of every column and the height (metres) of every row of the chart."""
    turn = ((np.arange(CHART_WIDTH) + 0.5) / CHART_WIDTH - 0.5) * 2 * np.pi
    height = CHART_TOP - (np.arange(CHART_HEIGHT) + 0.5) / CHART_HEIGHT * (CHART_TOP - CHART_BOTTOM)
    return turn[None, :], height[:, None]


def _noise(rng: np.random.Generator, shape: tuple[int, int], blur: float) -> np.ndarray:
    """Draw smooth noise of unit deviation; ``blur`` is its width in pixels."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), blur)
    return noise / noise.std()


def _mix(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> None:
    """Blend a colour into an image in place; ``share`` in [0, 1], one value a pixel."""
    image += share[..., None] * (np.asarray(colour, np.float32) - image)


def hair_cover(look: Look) -> np.ndarray:
    """Return the share of hair in every pixel of the chart, without ears, in [0, 1]."""
    turn, height = _grid()
    line = np.interp(
        np.abs(turn),
        [0, 0.35, 0.7, 0.95, 1.1, 1.25, 1.75, 1.9, np.pi],
        [0.066, 0.064, 0.054, 0.03, 0.0, -0.02, -0.02, -0.07, -0.085],
    )
    line = line + look.hairline * np.interp(np.abs(turn), [0, 0.5, 1.0, 1.2], [0.012, 0.025, 0.02, 0])
    return np.clip((height - line) / 0.004 + 0.5, 0, 1).astype(np.float32)


def paint(topology: Topology, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Paint the atlas of one person.

    Returns
    -------
    ndarray, shape (rows, columns, 4), uint8
        RGB, and how glossy it is.
    """
    atlas = np.zeros((*ATLAS_SHAPE, 4), np.float32)
    chart = atlas[:CHART_HEIGHT]
    _paint_skin(chart, look, rng)
    _paint_eye_region(chart, topology, look)
    _paint_lips(chart, topology, look)
    _paint_beard(chart, topology, look, rng)
    _paint_brows(chart, topology, look, rng)
    _paint_hair_and_cloth(chart, look, rng)
    _paint_patches(atlas, look, rng)
    return np.clip(atlas, 0, 255).astype(np.uint8)


def _paint_skin(chart: np.ndarray, look: Look, rng: np.random.Generator) -> None:
    """Paint skin with a flush of cheeks and nose, blotches, pores and, with age, lines of the forehead."""
    colour, shape = chart[..., :3], chart.shape[:2]
    colour[:] = look.skin
    chart[..., 3] = _GLOSS["skin"]
    turn, height = _grid()
    flush = np.array([1.02, 0.78, 0.76], np.float32) * look.skin
    for where, wide, high, share in ((0.5, 0.22, 0.018, 0.55), (0.0, 0.13, 0.012, 0.5)):
        level = -0.045 if where else -0.038
        spot = np.exp(-(((np.abs(turn) - where) / wide) ** 2) - ((height - level) / high) ** 2)
        _mix(colour, flush, share * look.redness * spot)
    for level in (0.035, 0.043, 0.051):
        bend = level + 0.003 * np.cos(4 * turn)
        crease = np.exp(-(((height - bend) / 0.0009) ** 2) - (turn / 0.45) ** 2)
        colour *= 1 - 0.12 * look.lines * crease[..., None]
    colour *= 1 + 0.025 * _noise(rng, shape, 18)[..., None]
    colour *= 1 + 0.02 * _noise(rng, shape, 1.2)[..., None]


def _paint_eye_region(chart: np.ndarray, topology: Topology, look: Look) -> None:
    """Paint the shadow of the eye sockets, folds of the lids and dark lashes along the rims."""
    colour = chart[..., :3]
    for rim in topology.lids:
        centre, width = rim.mean(axis=0), np.ptp(rim[:, 0])
        rows, columns = np.indices(chart.shape[:2], np.float32)
        across, down = (columns - centre[0]) / width, (rows - centre[1]) / width
        socket = np.exp(-((across / 0.62) ** 2) - ((down + 0.02) / 0.36) ** 2)
        _mix(colour, look.skin * np.array([0.66, 0.56, 0.56]), 0.55 * socket)
        bag = np.exp(-((across / 0.4) ** 2) - ((down - 0.3 + 0.25 * across**2) / 0.05) ** 2)
        colour *= 1 - (0.06 + 0.2 * look.lines) * bag[..., None]
        lash = np.zeros(chart.shape[:2], np.float32)
        for side, weight, thick in ((-1, 1.0, 3), (1, 0.35, 2)):
            half = rim[(rim[:, 1] - centre[1]) * side > -0.02 * width]
            curve = np.round(half[np.argsort(half[:, 0])] * 8).astype(np.int32)
            line = np.zeros_like(lash)
            cv2.polylines(line, [curve], False, 1.0, thick, cv2.LINE_AA, shift=3)
            lash = np.maximum(lash, weight * line)
        _mix(colour, np.array([28, 20, 18]), 0.8 * cv2.GaussianBlur(lash, (0, 0), 0.8))


def _paint_lips(chart: np.ndarray, topology: Topology, look: Look) -> None:
    mask: np.ndarray = np.zeros(chart.shape[:2], np.float32)
    for corners in topology.chart[topology.faces[topology.lips]]:
        cv2.fillConvexPoly(mask, np.round(corners * 8).astype(np.int32), 1.0, cv2.LINE_AA, shift=3)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 2.0))
    tint = look.skin * np.array([0.88, 0.62, 0.66]) * (1 - look.makeup) + np.array([176, 44, 60]) * look.makeup
    _mix(chart[..., :3], tint, 0.85 * mask)
    chart[..., 3] += (_GLOSS["lips"] - chart[..., 3]) * mask


def _mouth(topology: Topology) -> tuple[float, float, float]:
    """Return column and row of the middle of the mouth in the chart, and its width."""
    points = topology.chart[np.unique(topology.faces[topology.lips])]
    column, row = (points.min(axis=0) + points.max(axis=0)) / 2
    return column, row, np.ptp(points[:, 0])


def _paint_beard(chart: np.ndarray, topology: Topology, look: Look, rng: np.random.Generator) -> None:
    """Paint stubble or beard on jaw and upper lip; lines from the nose to the corners of the mouth."""
    column, row, width = _mouth(topology)
    rows, columns = np.indices(chart.shape[:2], np.float32)
    across, down = np.abs(columns - column) / width, (rows - row) / width
    jaw = np.clip((down - 0.42 + 0.55 * np.clip(across - 0.25, 0, 1.6)) / 0.22, 0, 1)
    jaw *= np.clip((1.75 - down) / 0.3, 0, 1) * np.clip((2.4 - across) / 0.5, 0, 1)
    lip = np.exp(-(((down + 0.38 - 0.12 * across) / 0.13) ** 2)) * np.clip((0.72 - across) / 0.2, 0, 1)
    grain = np.clip(0.75 + 0.25 * _noise(rng, chart.shape[:2], 0.8), 0, 1)
    _mix(chart[..., :3], look.hair * 0.8, look.beard * np.maximum(jaw, 0.9 * lip) * grain)
    bend = (across - 0.5 - 0.32 * (down + 0.5)) / 0.04
    fold = np.exp(-(bend**2) - ((down + 0.3) / 0.4) ** 2)
    chart[..., :3] *= 1 - (0.06 + 0.14 * look.lines) * fold[..., None]


def _paint_brows(chart: np.ndarray, topology: Topology, look: Look, rng: np.random.Generator) -> None:
    """Paint brows of single hairs, thick towards the nose."""
    middle = CHART_WIDTH / 2
    hairs = np.zeros(chart.shape[:2], np.float32)
    for rim in topology.lids:
        centre, width = rim.mean(axis=0), np.ptp(rim[:, 0])
        side = np.sign(centre[0] - middle)
        for _ in range(int(150 + 250 * look.brows)):
            along = rng.uniform(0, 1)
            spread = (0.10 - 0.06 * along) * (0.6 + 0.8 * look.brows)
            across = (along * 1.5 - 0.68) * side
            down = -0.62 - 0.16 * np.sin(np.pi * along**1.3 * 0.75) + rng.normal(0, 0.5) * spread
            lean = np.array([side * (0.06 + 0.05 * along), -0.08 + 0.11 * along])
            start = centre + width * np.array([across, down])
            ends = np.round(np.stack([start, start + width * lean]) * 8).astype(np.int32)
            cv2.line(hairs, tuple(ends[0].tolist()), tuple(ends[1].tolist()), 1.0, 1, cv2.LINE_AA, shift=3)
    cover = np.clip(cv2.GaussianBlur(hairs, (0, 0), 1.0) * 1.3, 0, 1)
    _mix(chart[..., :3], look.hair * 0.62, (0.6 + 0.35 * look.brows) * cover)


def _strands(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> np.ndarray:
    shine = 1 + 0.16 * _noise(rng, shape, 1.0) + 0.10 * _noise(rng, shape, 4)
    return look.hair * np.clip(shine, 0.4, 1.6)[..., None]


def _paint_hair_and_cloth(chart: np.ndarray, look: Look, rng: np.random.Generator) -> None:
    colour, shape = chart[..., :3], chart.shape[:2]
    turn, height = _grid()
    edge = cv2.GaussianBlur(hair_cover(look), (0, 0), 2.5)
    edge = edge + 1.2 * edge * (1 - edge) * _noise(rng, shape, 1.2)
    hair = np.clip((edge - 0.5) * 3 + 0.5, 0, 1) * (height > -0.11)
    colour += hair[..., None] * (_strands(rng, shape, look) - colour)
    chart[..., 3] += (_GLOSS["hair"] - chart[..., 3]) * hair
    collar = np.interp(np.abs(turn), [0, 0.8, 1.5, np.pi], [-0.178, -0.158, -0.138, -0.125])
    cloth = np.clip((collar - height) / 0.002 + 0.5, 0, 1)
    weave = look.cloth * (1 + 0.05 * _noise(rng, shape, 1.5) + 0.08 * _noise(rng, shape, 25))[..., None]
    colour *= 1 - 0.35 * np.exp(-(((height - collar) / 0.004) ** 2))[..., None]
    colour += cloth[..., None] * (weave - colour)
    chart[..., 3] += (_GLOSS["cloth"] - chart[..., 3]) * cloth


def _paint_patches(atlas: np.ndarray, look: Look, rng: np.random.Generator) -> None:
    """Paint eye, ear, inside of the mouth, tongue, loose hair and teeth."""

    def patch(name: str) -> np.ndarray:
        left = PATCHES.index(name) * PATCH
        return atlas[CHART_HEIGHT:, left : left + PATCH]

    flat = {
        "ear": (look.skin * np.array([0.95, 0.87, 0.86]), _GLOSS["skin"]),
        "mouth": (np.array([70, 26, 26]), _GLOSS["mouth"]),
        "tongue": (np.array([172, 86, 86]), _GLOSS["mouth"]),
        "teeth": (np.array([228, 220, 204]), _GLOSS["lips"]),
    }
    for name, (colour, gloss) in flat.items():
        patch(name)[:] = [*colour, gloss]
    patch("hair")[..., :3] = _strands(rng, (PATCH, PATCH), look)
    patch("hair")[..., 3] = _GLOSS["hair"]
    eye = patch("eye")
    rows, columns = np.indices((PATCH, PATCH), np.float32)
    radius = np.hypot(columns - PATCH / 2, rows - PATCH / 2) / PATCH
    turn = np.arctan2(rows - PATCH / 2, columns - PATCH / 2)
    eye[..., :3] = np.array([232, 226, 222]) - 60 * np.clip(radius - 0.2, 0, 1)[..., None] * np.array([0.6, 1.2, 1.2])
    fibres = 1 + 0.12 * np.sin(23 * turn + 3 * np.sin(7 * turn)) - 1.2 * np.clip(radius - 0.13, 0, 1)
    iris = np.clip((0.195 - radius) / 0.012 + 0.5, 0, 1)
    eye[..., :3] += iris[..., None] * (look.iris * fibres[..., None] - eye[..., :3])
    _mix(eye[..., :3], look.iris * 0.35, 0.7 * np.exp(-(((radius - 0.19) / 0.014) ** 2)))
    _mix(eye[..., :3], np.array([10, 8, 8]), np.clip((0.075 - radius) / 0.012 + 0.5, 0, 1))
    glint = np.hypot(columns - PATCH * 0.44, rows - PATCH * 0.43) / PATCH
    _mix(eye[..., :3], np.array([255, 255, 255]), np.clip((0.032 - glint) / 0.012 + 0.5, 0, 1))
    eye[..., 3] = _GLOSS["eye"]
