"""The parametric head: an identity's mesh, the moves of its facial actions, and a chart to paint on.

The mesh is the bust of the human model of the package ``anny`` (Apache-2.0): ``y`` points away from the
camera, ``z`` up, metres. Its own texture coordinates give the face little room, so the skin gets a
cylindrical chart of the average head; eyes, ears and the inside of the mouth get patches of the same atlas.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

# The atlas: the chart of the skin above, a strip of square patches below (pixels).
CHART_WIDTH, CHART_HEIGHT, PATCH = 1024, 640, 128
ATLAS_SHAPE = (CHART_HEIGHT + PATCH, CHART_WIDTH)
PATCHES = ("eye", "ear", "mouth", "tongue", "hair", "teeth")
CHART_BOTTOM, CHART_TOP, _CHART_AXIS = -0.36, 0.12, 0.084  # metres from the middle of the eyes
_BUST = (-0.35, 0.26)  # lowest height and greatest reach to the side that a picture can show

# What makes one head differ from another, beside sex, age and weight; sides of a pair change together.
_MIDDLE = {
    "chin": "height prominent bones width jaw-drop",
    "forehead": "temple scale-vert",
    "head": "scale-vert scale-horiz fat",
    "mouth": "scale-horiz scale-vert upperlip-height lowerlip-height upperlip-volume lowerlip-volume",
    "nose": "scale-vert scale-horiz hump volume width1 width3 flaring",
    "neck": "scale-horiz",
}
_PAIRED = {"cheek": "volume bones", "eye": "scale bag", "ear": "scale wing"}
# Labels of the human model, each with the name that a Shape uses for it.
_LOCAL = {f"{place}-{what}-incr": f"{place}-{what}" for place in _MIDDLE for what in _MIDDLE[place].split()} | {
    f"{side}-{place}-{what}-incr": f"{place}-{what}"
    for side in "lr"
    for place in _PAIRED
    for what in _PAIRED[place].split()
}
LOCAL_NAMES = tuple(sorted(set(_LOCAL.values())))


@dataclass(frozen=True)
class Shape:
    """The build of a head; every value is a share of the model's range.

    Attributes
    ----------
    sex : float
        0 a man, 1 a woman.
    age : float
        Years.
    weight : float
        0 thin, 0.5 average, 1 heavy.
    race : tuple of float
        Shares of the model's African, Asian and Caucasian builds.
    local : dict of str to float
        Local changes in [-1, 1] by their names in the model, without side and direction.
    """

    sex: float
    age: float
    weight: float
    race: tuple[float, float, float]
    local: dict[str, float]


@dataclass(frozen=True)
class Head:
    """One identity's mesh.

    Attributes
    ----------
    vertices : ndarray, shape (V, 3), float32
        The head at rest, metres, origin between the eyes.
    actions : ndarray, shape (A, V, 3), float32
        Moves of the vertices at full strength of each facial action.
    """

    vertices: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class Topology:
    """What all identities share.

    Attributes
    ----------
    faces : ndarray, shape (F, 3), int32
        Corners of the triangles.
    atlas : ndarray, shape (F, 3, 2), float32
        Column and row in the atlas of each corner.
    chart : ndarray, shape (V, 2), float32
        Column and row in the skin's chart of each vertex.
    part : ndarray, shape (F,), int8
        0 skin, else 1 + position in PATCHES.
    lids : list of ndarray, shape (n, 2), float32
        Rims of the two eyes in the chart, closed curves in no order.
    names : tuple of str
        Facial actions, in the order of ``Head.actions``.
    lips : ndarray, shape (F,), bool
        Triangles of the lips.
    """

    faces: np.ndarray
    atlas: np.ndarray
    chart: np.ndarray
    part: np.ndarray
    lids: list[np.ndarray]
    names: tuple[str, ...]
    lips: np.ndarray


def chart_position(points: np.ndarray) -> np.ndarray:
    """Return column and row in the chart of points near the average head.

    Parameters
    ----------
    points : ndarray, shape (..., 3)
        Metres, origin between the eyes.

    Returns
    -------
    ndarray, shape (..., 2), float32
    """
    turn = np.arctan2(points[..., 0], _CHART_AXIS - points[..., 1]) / (2 * np.pi) + 0.5
    height = (CHART_TOP - points[..., 2]) / (CHART_TOP - CHART_BOTTOM)
    place = np.stack([turn * CHART_WIDTH, height * CHART_HEIGHT], axis=-1)
    return np.clip(place, 0, [CHART_WIDTH - 1, CHART_HEIGHT - 1]).astype(np.float32)


@cache
def head_model(cache_dir: Path) -> HeadModel:
    """Load the human model that ``build_head_model`` put into ``cache_dir``; once a process."""
    return HeadModel(_model_folder(cache_dir))


def build_head_model(cache_dir: Path) -> None:
    """Build the human model into ``cache_dir`` (about 40 s and 90 MB), unless it is there.

    Call it once before processes share the folder. It is built beside its place: a kill leaves no half of it.
    """
    folder = _model_folder(cache_dir)
    if not folder.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            HeadModel(Path(scratch) / "built")
            # Another simulation may have been faster; its model is the same.
            with contextlib.suppress(OSError):
                os.replace(Path(scratch) / "built", folder)
    head_model(cache_dir)


def _model_folder(cache_dir: Path) -> Path:
    return cache_dir / f"anny-{version('anny')}"


class HeadModel:
    """The human model, cut down to a bust.

    Parameters
    ----------
    cache_dir : Path
        Folder of the built model.

    Attributes
    ----------
    topology : Topology
    """

    def __init__(self, cache_dir: Path) -> None:
        import anny
        from anny.paths import set_anny_cache_path

        set_anny_cache_path(cache_dir)
        self._model = anny.Anny(local_changes=list(_LOCAL), facial_actions="all", skinning_method="lbs").float()
        for intermediate in [*cache_dir.glob("v*/load_data_*"), *cache_dir.glob("v*/build_model_data_*")]:
            intermediate.unlink(missing_ok=True)  # a gigabyte that later loads do not read
        self._prepare()

    def _prepare(self) -> None:
        faces = self._model.faces.numpy()
        eyes = self._part("eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R")
        self._eye_vertices = np.unique(faces[eyes])
        average = self._mesh(Shape(0.5, 40, 0.5, (1 / 3, 1 / 3, 1 / 3), {}))[0]
        inside = (average[:, 2] > _BUST[0]) & (np.abs(average[:, 0]) < _BUST[1])
        kept = np.flatnonzero(inside[faces].all(axis=1))
        self._kept, corners = np.unique(faces[kept], return_inverse=True)
        self.topology = self._topology(average[self._kept], corners.reshape(-1, 3).astype(np.int32), kept)

    def _part(self, *labels: str) -> np.ndarray:
        from anny.face_segmentation import get_face_segmentation_mask

        return get_face_segmentation_mask(self._model, list(labels)).numpy()

    def _mask(self, name: str) -> np.ndarray:
        """Tell whether the middle of each triangle lies inside one of the model's painted masks."""
        import cv2
        from anny.paths import get_anny_root_dir

        path = get_anny_root_dir() / "data" / "mpfb2" / "textures" / f"mpfb_{name}.jpg"
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        uv = self._model.texture_coordinates[self._model.face_texture_coordinate_indices].mean(dim=1).numpy()
        return image[((1 - uv[:, 1]) * len(image)).astype(int), (uv[:, 0] * len(image)).astype(int)] > 100

    def _topology(self, average: np.ndarray, faces: np.ndarray, kept: np.ndarray) -> Topology:
        chart = chart_position(average)
        part = np.zeros(len(faces), np.int8)
        atlas = chart[faces].copy()
        left, right = self._part("eye_front.L", "eye_back.L"), self._part("eye_front.R", "eye_back.R")
        sockets = self._part("eye_cavity.L", "eye_cavity.R")[kept]
        for name, mask in (
            ("eye", left),
            ("eye", right),
            ("ear", self._mask("ears") & self._part("head")),
            ("mouth", self._part("mouth_cavity", "eye_cavity.L", "eye_cavity.R")),
            ("tongue", self._part("tongue")),
        ):
            chosen = mask[kept]
            part[chosen] = 1 + PATCHES.index(name)
            flat = average[faces[chosen]][..., [0, 2]]
            low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
            spot = (flat - low) / (high - low) * [1, -1] + [0, 1]
            corner = [PATCHES.index(name) * PATCH, CHART_HEIGHT]
            atlas[chosen] = spot * (PATCH - 3) + corner + 1
        rim = np.intersect1d(faces[sockets], faces[part == 0])
        lids = [chart[rim[average[rim, 0] * side > 0]] for side in (1, -1)]
        names = tuple(self._model.facial_action_labels)
        return Topology(
            faces, atlas.astype(np.float32), chart, part, lids, names, self._mask("lips")[kept] & (part == 0)
        )

    def _mesh(self, shape: Shape, actions: bool = False) -> np.ndarray:
        """Return the vertices of one body, origin between the eyes; with ``actions``, one more mesh for each."""
        import torch

        phenotype = {
            "gender": shape.sex,
            "age": float(np.interp(shape.age, [18, 25, 80], [0.6, 0.67, 1.0])),
            "weight": shape.weight,
        }
        local = {label: shape.local.get(name, 0.0) for label, name in _LOCAL.items()}
        count = len(self._model.facial_action_labels)
        strengths = torch.cat([torch.zeros(1, count), torch.eye(count)]) if actions else torch.zeros(1, count)
        with torch.inference_mode():
            meshes = self._model(phenotype_kwargs=phenotype, local_changes_kwargs=local, facial_actions=strengths)[
                "vertices"
            ].numpy()
        return meshes - meshes[0, self._eye_vertices].mean(axis=0)

    def head(self, shape: Shape) -> Head:
        """Return the mesh of one identity and the moves of its actions."""
        meshes = self._mesh(shape, actions=True)[:, self._kept].astype(np.float32)
        return Head(meshes[0], meshes[1:] - meshes[0])
