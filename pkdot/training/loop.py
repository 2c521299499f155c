"""The training loop. It knows a step and a score, and nothing of methods, modalities or tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pkdot.errors import DataError
from pkdot.files import replacing
from pkdot.params import Params
from pkdot.training.devices import device_of
from pkdot.training.optimiser import AdamW


class ComputeParams(Params):
    """Where tensors live."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one")
    threads: int = Field(1, ge=1, description="CPU threads of one training; part of the result, so not left to chance")


class TrainingParams(Params):
    """How one network is trained."""

    epochs: int = Field(20, ge=1, description="passes over the training part")
    batch_size: int = Field(64, ge=2, description="samples a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay of AdamW")


Step = Callable[[np.ndarray, torch.Generator], Tensor]
Score = Callable[[], tuple[float, float]]


def prepare(params: ComputeParams) -> torch.device:
    """Fix threads and algorithms so that equal seeds give equal bits; return the device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(params.threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without loading torch's compiler
    return torch.device(device_of(params.device))


def seed_of(*parts: int) -> int:
    """One seed from several numbers (a seed, a fold, an epoch), so that every purpose draws apart."""
    # the count too: to numpy (1,) and (1, 0) are the same
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1, np.uint32)[0])


def fit(
    module: nn.Module,
    step: Step,
    score: Score,
    rows: np.ndarray,
    params: TrainingParams,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
) -> list[dict]:
    """Train a module and leave it with the weights of its best epoch on the validation part.

    Parameters
    ----------
    module : nn.Module
        Its parameters that require a gradient are trained.
    step : callable (rows, generator) -> Tensor
        Loss of a batch of manifest rows.
    score : callable () -> (float, float)
        The validation score to choose the epoch by and, for ties, a second one; higher is better.
    rows : ndarray of int
        The training rows.
    seed : int
        Seed of order, augmentation and dropout; each epoch draws its own from it, so that a resumed run is the same.
    checkpoint : Path, optional
        Where the state after each epoch is kept; a training that was interrupted continues from there.

    Returns
    -------
    list of dict
        One entry an epoch: epoch, loss, score, tie (the second score), learning_rate.

    Raises
    ------
    DataError
        No epoch had a finite loss and score.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    steps = max(1, len(rows) // params.batch_size)
    optimiser = AdamW(trained, params.learning_rate, params.weight_decay, steps * params.epochs)
    keeper = _Keeper(module, optimiser, checkpoint)
    history = keeper.resume()
    for epoch in range(len(history), params.epochs):
        torch.manual_seed(seed_of(seed, epoch))
        generator = torch.Generator().manual_seed(seed_of(seed, epoch, 1))
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        module.train()
        total = 0.0
        for batch in np.array_split(order, steps):
            optimiser.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = step(batch, generator)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 5.0)
            rate = optimiser.rate
            optimiser.step()
            total += float(loss.detach())
        module.eval()
        with torch.no_grad():
            first, second = score()
        history.append({"epoch": epoch, "loss": total / steps, "score": first, "tie": second, "learning_rate": rate})
        keeper.keep(history)
    return keeper.finish(history)


def best_of(history: list[dict]) -> dict | None:
    """The epoch with the best finite score, the later of equals since it has seen more; None where there is none."""
    finite = [entry for entry in history if np.isfinite([entry["loss"], entry["score"], entry["tie"]]).all()]
    return max(reversed(finite), key=lambda entry: (entry["score"], entry["tie"]), default=None)


class _Keeper:
    """Keeps the best weights, and all that an interrupted training needs to go on, as safetensors."""

    def __init__(self, module: nn.Module, optimiser: AdamW, checkpoint: Path | None):
        self.module, self.optimiser, self.checkpoint = module, optimiser, checkpoint
        self.best: dict[str, Tensor] = {}

    def keep(self, history: list[dict]) -> None:
        if history[-1] is best_of(history):
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        if self.checkpoint is not None:
            self._save(history)

    def finish(self, history: list[dict]) -> list[dict]:
        if not self.best:
            raise DataError("the training diverged in its first epoch; lower its learning_rate, or look at its data.")
        self.module.load_state_dict(self.best)
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)
        return history

    def _save(self, history: list[dict]) -> None:
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.state().items()}
        tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        with replacing(self.checkpoint) as beside:
            save_file(tensors, beside, metadata={"history": json.dumps(history)})

    def resume(self) -> list[dict]:
        """Load the last checkpoint, if there is one, and return its history."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return []
        try:
            with safe_open(self.checkpoint, framework="pt") as file:
                history = json.loads(file.metadata()["history"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except SafetensorError:
            return []  # torn by a full disk or the like: training starts again
        self.module.load_state_dict(_under("module.", tensors))
        self.best = _under("best.", tensors)
        self.optimiser.load(_under("optimiser.", tensors))
        return history


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
