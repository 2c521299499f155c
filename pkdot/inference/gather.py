"""One network out of the folders that trainings wrote: the encoders of a fold, and the students of its seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pkdot.answer import Answer
from pkdot.descriptions import EmbedderDescription, NetworkDescription
from pkdot.files import read_json
from pkdot.layout import NETWORK, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

    from pkdot.assembly import Ensemble

HEAD = "head."  # what an encoder was trained with, and a student has no use for


def ensemble_of(encoders: dict[str, Path], students: list[Path], answer: Answer, temperature: float = 1.0) -> Ensemble:
    """Return the students of one method and fold as one network, from arrays to predictions.

    Students that are equal, as those that take no steps are, count once.

    Parameters
    ----------
    encoders : dict of str to Path
        Prevalent modality -> the folder of its encoder. Where students hold an encoder of their own, theirs is used.
    students : list of Path
        The folder of the student of each seed.
    answer : Answer
        What is predicted.
    temperature : float
        What logits are divided by before they become probabilities.
    """
    from pkdot.assembly import build_ensemble

    network = NetworkDescription(**read_json(students[0] / NETWORK))
    shared = {name: encoders[name] for name in network.modalities if name not in network.encoders}
    described = {name: EmbedderDescription(**read_json(folder / NETWORK)) for name, folder in shared.items()}
    weights: dict[str, Tensor] = {}
    for name, folder in shared.items():
        own = {key: value for key, value in _weights(folder).items() if not key.startswith(HEAD)}
        weights |= {f"encoders.{name}.{key}": value for key, value in own.items()}
    different = _different([_weights(folder) for folder in students])
    for number, own in enumerate(different):
        weights |= {f"students.{number}.{key}": value for key, value in own.items()}
    ensemble = build_ensemble(described, network, len(different), answer, temperature)
    ensemble.load_state_dict(weights)
    return ensemble


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)


def _different(states: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Return the states without those that repeat the first."""
    first, *others = states
    return [first, *(state for state in others if not all(state[key].equal(first[key]) for key in first))]
