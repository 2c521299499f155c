"""Encoders that students train: the fold's, as students begin with them, and the arrays that they read."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from pkdot.assembly import build_embedder
from pkdot.data import Features
from pkdot.descriptions import EmbedderDescription
from pkdot.files import read_json
from pkdot.layout import NETWORK
from pkdot.networks import Embedder
from pkdot.training.fold import Fold


class OwnEncoders:
    """The encoders of a fold as students begin with them, and the arrays that they read.

    Parameters
    ----------
    fold : Fold
    weights : dict of str to Path
        Modality -> the weights of its encoder, with the description beside them.
    """

    def __init__(self, fold: Fold, weights: dict[str, Path]) -> None:
        self.device = fold.device
        self.features = {name: Features(fold.folder / name, fold.samples) for name in weights}
        self.embedders = {name: _embedder(path) for name, path in weights.items()}

    def copy(self) -> dict[str, Embedder]:
        """Return copies of them, to be trained; what embeddings are normalised by stays as it is."""
        copies = deepcopy(self.embedders)
        for embedder in copies.values():
            embedder.encoder.requires_grad_(True)
        return copies

    def arrays(self, rows: np.ndarray, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the arrays of rows by modality, on the device; a generator also augments them as for the encoder."""
        batches = {name: torch.from_numpy(features[rows]).to(self.device) for name, features in self.features.items()}
        if generator is None:
            return batches
        return {name: self.embedders[name].encoder.augment(batch, generator) for name, batch in batches.items()}


def _embedder(weights: Path) -> Embedder:
    """Return the encoder of a fold with its normalisation."""
    embedder = build_embedder(EmbedderDescription(**read_json(weights.with_name(NETWORK))))
    state = load_file(weights)
    embedder.load_state_dict({name: value for name, value in state.items() if not name.startswith("head.")})
    return embedder
