"""One fold's samples, targets and frozen embeddings, as the teacher and the students see them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.presence import complete, present
from pkdot.splits import Parts, number_of, parts_of
from pkdot.tasks import Task
from pkdot.training.arms import ArmParams
from pkdot.training.controls import SHUFFLES, levels, swapped, within_subject_and_class


class Fold:
    """The parts of a fold, and the embeddings of their samples.

    All samples have the prevalent modalities. Those of the training part also have some of the privileged ones, which
    is what the joint teacher sees of them, or are ``solitary``; those of the validation part have all, so that all
    choices are made on the same samples. The test part asks for no other, since a student needs none. A sample has a
    modality of which one token is present.

    Attributes
    ----------
    number : int or str
        Number of the fold, or ``all``.
    prevalent, privileged : Tensor, shape (samples, T, P) and (samples, T, Q)
        Embeddings of either side, modalities side by side; NaN where a token is absent.
    train, validation, test : ndarray of int
        Rows of the manifest, all with a label.
    unlabelled : ndarray of int
        The rows of the training part without a label.
    solitary : dict of str to ndarray of int
        ``train`` and ``unlabelled`` -> the rows of the training part, with and without a label, of which no
        privileged modality is there: what needs none can learn from them.
    untested : int
        How many labelled test samples lack a modality: neither teachers nor the grid of what is missing see them.
    taught : ndarray of bool, shape (samples,)
        Which samples have the prevalent modalities and some of the privileged ones.
    """

    def __init__(
        self,
        manifest: Path,
        splits: Path,
        embeddings: dict[str, Path],
        arm: ArmParams,
        device: torch.device,
    ) -> None:
        self.folder, self.number = manifest.parent, arm.fold
        self.samples = Samples.load(manifest)
        self.task = Task(arm.task, self.samples)
        parts = Parts.read(splits, arm.fold, self.samples)
        self.task.use_labels_of(parts)
        self.device = device
        self.modalities = {
            name: torch.from_numpy(np.load(path, allow_pickle=False)).to(device) for name, path in embeddings.items()
        }
        self.prevalent, self.privileged = (
            torch.cat([self.modalities[name] for name in names], dim=-1) for names in (arm.prevalent, arm.privileged)
        )
        seen, both = (complete(side).cpu().numpy() for side in (self.prevalent, self.privileged))
        self.complete = seen & both
        self.taught = seen & present(self.privileged).any(dim=1).cpu().numpy()
        self.train, self.unlabelled = (rows[self.taught[rows]] for rows in (parts.train, parts.unlabelled))
        own = {"train": parts.train, "unlabelled": parts.unlabelled}
        self.solitary = {name: rows[seen[rows] & ~self.taught[rows]] for name, rows in own.items()}
        self.validation = self.whole(parts.validation)
        self.test = parts.test[seen[parts.test]]
        self.untested = int((~self.complete[parts.test]).sum())
        if arm.control in SHUFFLES:
            self._swap_privileged(arm)
        for part in parts_of(arm.fold):
            rows = getattr(self, part)
            if not len(rows if part == "test" else self.whole(rows)):
                raise DataError(
                    f"{splits}: no sample of the {part} part of fold {arm.fold} has a label and the modalities that it "
                    "needs; see ledger.csv for what was left out."
                )

    def _swap_privileged(self, arm: ArmParams) -> None:
        """Let training and validation samples change places with one another in their privileged embeddings."""
        rng = np.random.default_rng((arm.control_seed, number_of(arm.fold)))
        source = np.arange(len(self.samples))
        subjects = self.samples.table["subject_id"].to_numpy()
        for rows in (np.union1d(self.train, self.unlabelled), self.validation):
            groups = np.zeros(len(rows), dtype=int)
            if arm.control == "shuffled":
                groups = within_subject_and_class(subjects[rows], levels(self.task.targets[rows], self.task.regression))
            source[rows] = swapped(groups, rows, rng)
        chosen = self.index(source)
        self.privileged, self.complete = self.privileged[chosen], self.complete[source]
        self.modalities |= {name: self.modalities[name][chosen] for name in arm.privileged}

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows that have every modality."""
        return rows[self.complete[rows]]

    def seen(self, part: Literal["train", "unlabelled"]) -> np.ndarray:
        """Return the rows of a part, solitary ones too: what needs the prevalent modalities alone learns from them."""
        return np.union1d(getattr(self, part), self.solitary[part])

    @property
    def tokens(self) -> int:
        """Tokens of a sample."""
        return self.prevalent.shape[1]

    @cached_property
    def targets(self) -> Tensor:
        """Targets of all samples, on the device: one entry a sample."""
        return torch.from_numpy(self.task.targets).to(self.device)

    def index(self, rows: np.ndarray) -> Tensor:
        """Return rows as a tensor on the device."""
        return torch.from_numpy(rows).to(self.device)

    def target(self, index: Tensor) -> Tensor:
        """Return the targets of a batch, one a row of the networks' outputs."""
        chosen = self.targets[index]
        return chosen.flatten(0, 1).flatten(1) if self.task.regression else chosen

    def numbers(self, index: Tensor) -> Tensor:
        """Return the numbers of the networks' output rows in the whole data set."""
        per = self.task.rows_per_sample(self.tokens)
        return (index[:, None] * per + torch.arange(per, device=self.device)).flatten()


def embedding_paths(paths: list[Path]) -> dict[str, Path]:
    """Return each modality -> its embeddings.npy; the folder is named after the modality."""
    return {path.parent.name: path for path in paths}
