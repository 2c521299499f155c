"""The training loop. It knows a step and a score, and nothing of methods, modalities or tasks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

    steps: int = Field(300, ge=1, description="largest number of steps")
    evaluate_every: int = Field(20, ge=1, description="steps between two looks at the validation part")
    patience: int | None = Field(
        10, ge=1, description="looks without a better validation score after which training stops; null goes on"
    )
    batch_size: int = Field(64, ge=2, description="samples of a step; the whole training part where that has fewer")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay of AdamW")


@dataclass(frozen=True)
class Beside:
    """Rows that are drawn beside the training rows; ``ratio`` is how many for each of those."""

    rows: np.ndarray
    ratio: float


Step = Callable[[np.ndarray, torch.Generator], Tensor]
Score = Callable[[], tuple[float, float]]


def prepare(params: ComputeParams) -> torch.device:
    """Fix threads and algorithms so that equal seeds give equal bits; return the device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(params.threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without loading torch's compiler
    return torch.device(device_of(params.device))


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return a context in which encoders compute in bfloat16 where it pays, on a GPU.

    Networks over embeddings are so small that they lose more by the conversions.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def seed_of(*parts: int) -> int:
    """Return one seed from several numbers (a seed, a fold, an epoch), so that every purpose draws apart."""
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
    *,
    checkpoint: Path | None = None,
    start: bool = False,
    beside: Sequence[Beside] = (),
) -> list[dict]:
    """Train a module and leave it with its best weights on the validation part.

    Parameters
    ----------
    module : nn.Module
        Its parameters that require a gradient are trained; without any, it is scored and that is all.
    step : callable (rows, generator) -> Tensor
        Loss of a batch of manifest rows.
    score : callable () -> (float, float)
        The validation score, higher is better, and the validation loss, which breaks ties, lower is better.
    rows : ndarray of int
        The training rows.
    seed : int
        Seed of order, augmentation and dropout. Each interval between two looks at the validation part draws its own
        from it, so that a resumed run is the same.
    checkpoint : Path, optional
        Where the state after each look is kept; a training that was interrupted continues from there.
    start : bool
        Look at the module before the first step too, so that training cannot end below its start.
    beside : sequence of Beside
        Further rows, such as those without a label, of which each batch gets some after its own.

    Returns
    -------
    list of dict
        An entry for each look at the validation part: step, loss (the mean of the training loss since the last look;
        None before the first step), score, val_loss, learning_rate.

    Raises
    ------
    DataError
        No look after the first step found finite values.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = AdamW(trained, params.learning_rate, params.weight_decay, params.steps)
    keeper = _Keeper(module, optimiser, checkpoint)
    history = keeper.resume()
    if not history and (start or not trained):
        keeper.keep(history, _look(module, score, 0, None, 0.0))
    order = Order(rows, params.batch_size, seed)
    orders = [order]
    for number, one in enumerate(beside):
        orders.append(Order(one.rows, max(1, round(one.ratio * order.size)), seed_of(seed, 3 + number)))
    while trained and optimiser.done < params.steps and not _stalled(history, params.patience):
        begin, end = optimiser.done, min(optimiser.done + params.evaluate_every, params.steps)
        torch.manual_seed(seed_of(seed, begin))
        generator = torch.Generator().manual_seed(seed_of(seed, begin, 1))
        module.train()
        total = torch.zeros((), device=device)
        for number in range(begin, end):
            optimiser.zero_grad()
            loss = step(np.concatenate([one.batch(number) for one in orders]), generator)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 5.0)
            rate = optimiser.rate
            optimiser.step()
            total += loss.detach()
        keeper.keep(history, _look(module, score, end, float(total) / (end - begin), rate))
        _tell(history, params.steps)
    return keeper.finish(history, bool(trained))


class Order:
    """An endless order of the training rows: every epoch is shuffled anew, and a batch may reach into the next one.

    Parameters
    ----------
    rows : ndarray of int
    batch_size : int
        Rows of a batch; all rows where there are fewer.
    seed : int
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.size = min(batch_size, len(rows))
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def batch(self, step: int) -> np.ndarray:
        """Return the rows of a step, the first of which is 0."""
        first, last = step * self.size, (step + 1) * self.size
        epochs = range(first // len(self.rows), -(-last // len(self.rows)))
        place = first - epochs[0] * len(self.rows)
        return np.concatenate([self._epoch(epoch) for epoch in epochs])[place : place + self.size]

    def _shuffled(self, epoch: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, 2))
        return self.rows[torch.randperm(len(self.rows), generator=generator).numpy()]


def best_of(history: list[dict]) -> dict | None:
    """Return the look with the best finite score, or None where there is none.

    The lower validation loss breaks ties, and then the later look, since it has seen more.
    """
    return max(reversed([entry for entry in history if _finite(entry)]), key=_merit, default=None)


def _merit(entry: dict) -> tuple[float, float]:
    return entry["score"], -entry["val_loss"]


def _finite(entry: dict) -> bool:
    values = [entry["score"], entry["val_loss"], 0.0 if entry["loss"] is None else entry["loss"]]
    return bool(np.isfinite(values).all())


def _stalled(history: list[dict], patience: int | None) -> bool:
    """Return whether the last ``patience`` looks brought no better score."""
    if patience is None or len(history) <= patience:
        return False
    best = best_of(history)
    return best is None or best not in history[-patience:]


def _look(module: nn.Module, score: Score, step: int, loss: float | None, rate: float) -> dict:
    """Return the history's entry of a look at the validation part after a step."""
    module.eval()
    with torch.no_grad():
        value, val_loss = score()
    return {"step": step, "loss": loss, "score": value, "val_loss": val_loss, "learning_rate": rate}


def _tell(history: list[dict], steps: int) -> None:
    """Write the last look to the log of the job, which can be read while it runs."""
    last, best = history[-1], best_of(history)
    kept = "none is finite" if best is None else f"best {best['score']:.4f} at step {best['step']}"
    words = f"step {last['step']} of {steps}: training loss {last['loss']:.4f}, validation score {last['score']:.4f}"
    print(f"{words} ({kept})", file=sys.stderr, flush=True)


class _Keeper:
    """Keeps the best weights, and all that an interrupted training needs to go on, as safetensors."""

    def __init__(self, module: nn.Module, optimiser: AdamW, checkpoint: Path | None) -> None:
        self.module, self.optimiser, self.checkpoint = module, optimiser, checkpoint
        self.best: dict[str, Tensor] = {}

    def keep(self, history: list[dict], entry: dict) -> None:
        """Append an entry to the history, and keep the weights where it is the best."""
        history.append(entry)
        if entry is best_of(history):
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        if self.checkpoint is not None:
            self._save(self.checkpoint, history)

    def finish(self, history: list[dict], trained: bool) -> list[dict]:
        """Load the best weights and remove the checkpoint."""
        if not any(_finite(entry) and (entry["step"] or not trained) for entry in history):
            raise DataError("the training diverged at its start; lower its learning_rate, or look at its data.")
        self.module.load_state_dict(self.best)
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)
        return history

    def _save(self, checkpoint: Path, history: list[dict]) -> None:
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.state().items()}
        tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        with replacing(checkpoint) as beside:
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
