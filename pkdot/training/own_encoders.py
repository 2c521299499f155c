"""Encoders that students train: the fold's, as students begin with them, and the arrays that they read."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from pkdot.assembly import build_embedder
from pkdot.data import Features, feature_files
from pkdot.descriptions import EmbedderDescription
from pkdot.files import open_array, read_json
from pkdot.layout import MAPS, NETWORK
from pkdot.networks import Embedder, StudentNetwork
from pkdot.presence import filled
from pkdot.training.fold import Fold


class OwnEncoders:
    """The encoders of a fold as students begin with them, and the arrays that they read.

    Of an encoder whose first layers are never trained, students read what these made of every sample: it was computed
    once, by the encoder stage.

    Parameters
    ----------
    fold : Fold
    weights : dict of str to Path
        Modality -> the weights of its encoder, with the description beside them.
    """

    def __init__(self, fold: Fold, weights: dict[str, Path]) -> None:
        self.fold, self.device = fold, fold.device
        self.embedders = {name: _embedder(path) for name, path in weights.items()}
        frozen = [name for name, embedder in self.embedders.items() if embedder.encoder.has_frozen_part]
        whole = [name for name in weights if name not in frozen]
        self.maps = {name: self._at_hand(open_array(weights[name].with_name(MAPS))) for name in frozen}
        self.features = {name: Features(fold.folder / name, fold.samples) for name in whole}

    def _at_hand(self, maps: np.ndarray) -> np.ndarray | Tensor:
        """Return maps on a GPU that has ample room for them; read step by step they would take half of the time."""
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0
        return torch.tensor(maps).to(self.device) if 4 * maps.nbytes < free else maps

    def copy(self) -> dict[str, Embedder]:
        """Return copies of them, to be trained; what embeddings are normalised by stays as it is."""
        return deepcopy(self.embedders)

    def embed(self, network: StudentNetwork, rows: np.ndarray, generator: torch.Generator | None = None) -> Tensor:
        """Return the embeddings of rows by a student's encoders; a generator augments arrays as for the encoder.

        What is absent of the embeddings of the fold is absent of these too.
        """
        arrays, maps = self._read(rows)
        own: Any = network.encoders
        if generator is not None:
            arrays = {name: own[name].encoder.augment(batch, generator) for name, batch in arrays.items()}
        found = network.embed(arrays, {name: own[name].of_maps(values) for name, values in maps.items()})
        return filled(found, self.fold.prevalent[self.fold.index(rows)].isnan(), torch.nan)

    def _read(self, rows: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the arrays of rows, and what frozen parts made of them, by modality."""
        arrays = {name: torch.from_numpy(features[rows]).to(self.device) for name, features in self.features.items()}
        maps = {name: torch.as_tensor(maps[rows], device=self.device) for name, maps in self.maps.items()}
        return arrays, maps


def files_read(weights: Path, features: Path) -> list[Path]:
    """Return the files that a student which trains its encoder reads, beside the encoder's weights.

    Parameters
    ----------
    weights : Path
        The weights of the encoder.
    features : Path
        The folder of the modality's arrays.
    """
    described = EmbedderDescription(**read_json(weights.with_name(NETWORK)))
    frozen = build_embedder(described).encoder.has_frozen_part
    return [weights.with_name(NETWORK), *([weights.with_name(MAPS)] if frozen else feature_files(features))]


def _embedder(weights: Path) -> Embedder:
    """Return the encoder of a fold with its normalisation."""
    embedder = build_embedder(EmbedderDescription(**read_json(weights.with_name(NETWORK))))
    state = load_file(weights)
    embedder.load_state_dict({name: value for name, value in state.items() if not name.startswith("head.")})
    return embedder
