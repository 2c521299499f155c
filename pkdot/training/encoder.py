"""The encoder stage: train one modality's encoder on one fold, freeze it, embed every sample once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from pkdot.data import Features, Samples, feature_files
from pkdot.encoders.base import EncoderChoice, Standard
from pkdot.errors import DataError
from pkdot.files import read_json, write_json
from pkdot.layout import EMBEDDINGS, HISTORY, METRICS, WEIGHTS
from pkdot.params import Params
from pkdot.provenance import fingerprint, job
from pkdot.tasks import Task, TaskParams
from pkdot.training.loop import ComputeParams, TrainingParams


class EncoderParams(Params):
    """One modality's encoder on one fold."""

    modality: str = Field(description="name of the modality")
    encoder: EncoderChoice = Field(description="the network and its options")
    training: TrainingParams = Field(description="how it is trained")
    dim: int = Field(ge=2, description="width of an embedding")
    tokens: int = Field(ge=1, description="embeddings in time that a sample gets")
    task: TaskParams = Field(description="what is predicted")
    fold: int = Field(ge=0, description="number of the fold")
    seed: int = Field(ge=0, description="seed of weights, order and augmentation")
    compute: ComputeParams = Field(description="where tensors live")


def train_encoder(manifest: Path, splits: Path, features: Path, out: Path, params: EncoderParams) -> None:
    """Write ``weights.safetensors``, ``embeddings.npy``, ``history.csv`` and ``metrics.json`` of one encoder.

    The encoder is trained with a linear head on the fold's training subjects; validation subjects choose the epoch.
    ``embeddings.npy`` has shape (samples, tokens, dim), rows as in the manifest, standardised by the training part;
    NaN where a sample has no array, so that no later stage can use it unawares.
    """
    import pandas as pd
    from safetensors.torch import save_file

    samples = Samples.load(manifest)
    arrays = Features(features, samples)
    inputs = [manifest, splits, *feature_files(features)]
    checkpoint = _checkpoint(out, fingerprint(__name__, params, inputs))
    with job(__name__, out, params, inputs=inputs) as scratch:
        run = _EncoderRun(samples, arrays, read_json(splits), params)
        history = run.train(checkpoint)
        table = np.full((len(samples), params.tokens, params.dim), np.nan, dtype=np.float32)
        table[arrays.valid] = run.standardised(np.flatnonzero(arrays.valid))
        np.save(scratch / EMBEDDINGS, table, allow_pickle=False)
        save_file(run.model.state_dict(), scratch / WEIGHTS)
        pd.DataFrame(history).to_csv(scratch / HISTORY, index=False)
        write_json(scratch / METRICS, run.scores())


def _checkpoint(out: Path, key: str) -> Path:
    """Where an interrupted training of just this job goes on; what other jobs left there is removed."""
    own = out.with_name(f"{out.name}.{key}.checkpoint.safetensors")
    for other in out.parent.glob(f"{out.name}.*.checkpoint.safetensors"):
        if other != own:
            other.unlink(missing_ok=True)
    return own


class _EncoderRun:
    """An encoder with its linear head, and the rows of one fold."""

    def __init__(self, samples: Samples, arrays: Features, splits: dict, params: EncoderParams):
        import torch
        from torch import nn

        from pkdot.training.loop import prepare, seed_of

        self.params, self.arrays = params, arrays
        self.task = Task(params.task, samples)
        self.device = prepare(params.compute)
        fold = splits["folds"][params.fold]
        usable = {part: samples.rows(fold[part], splits["unit"]) for part in ("train", "validation")}
        self.rows = {part: rows[arrays.valid[rows]] for part, rows in usable.items()}
        for part, rows in self.rows.items():
            if not len(rows):
                raise DataError(
                    f"no sample of the {part} part of fold {params.fold} has the modality '{params.modality}'; see "
                    "ledger.csv for what was left out."
                )
        self.seed = seed_of(params.seed, params.fold)
        torch.manual_seed(self.seed)
        cls, options = params.encoder.load()
        encoder = cls(arrays.shape, params.dim, params.tokens, options)
        head = nn.Linear(params.dim, self.task.outputs)
        self.model = nn.ModuleDict({"encoder": encoder, "head": head, "standard": Standard(params.dim)})
        self.model.to(self.device)

    def train(self, checkpoint: Path) -> list[dict]:
        from pkdot.training.loop import fit

        return fit(
            self.model,
            self._step,
            self._score,
            self.rows["train"],
            self.params.training,
            self.seed,
            self.device,
            checkpoint,
        )

    def _batch(self, rows: np.ndarray):
        import torch

        return torch.from_numpy(self.arrays[rows]).to(self.device)

    def _step(self, rows: np.ndarray, generator):
        batch = self.model["encoder"].augment(self._batch(rows), generator)
        logits = self.model["head"](self.task.pool(self.model["encoder"](batch)))
        return self.task.loss(logits.float(), self.task.target(rows).to(self.device))

    def embed(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows, shape (len(rows), tokens, dim)."""
        import torch

        self.model.eval()
        batches = np.array_split(rows, max(1, -(-len(rows) // self.params.training.batch_size)))
        with torch.no_grad():
            return np.concatenate(
                [self.model["encoder"](self._batch(batch)).float().cpu().numpy() for batch in batches]
            )

    def standardised(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows in units of the training part's mean and deviation."""
        import torch

        standard = self.model["standard"]
        standard.learn(torch.from_numpy(self.embed(self.rows["train"])))
        with torch.no_grad():
            return standard.cpu()(torch.from_numpy(self.embed(rows))).numpy()

    def _score(self, part: str = "validation") -> tuple[float, float]:
        import torch

        rows = self.rows[part]
        embeddings = torch.from_numpy(self.embed(rows)).to(self.device)
        logits = self.model["head"](self.task.pool(embeddings)).cpu()
        target = self.task.target(rows)
        return self.task.score(logits, target), -float(self.task.loss(logits, target))

    def scores(self) -> dict:
        """Score on both parts: the gap says how much easier the embeddings of known subjects are."""
        import torch

        with torch.no_grad():
            return {part: {"score": score, "loss": -loss} for part in self.rows for score, loss in [self._score(part)]}
