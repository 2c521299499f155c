"""The encoder stage: train one modality's encoder on one fold, freeze it, embed every sample once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pkdot.data import Features, Samples, feature_files, present_tokens
from pkdot.encoders.base import EncoderChoice, Scale, redundancy
from pkdot.encoders.sanity import chunks, effective_dimensions, linear_model, sanity, scores_of
from pkdot.errors import DataError
from pkdot.files import write_json
from pkdot.layout import EMBEDDINGS, HISTORY, INDEX, MAPS, METRICS, NETWORK, WEIGHTS
from pkdot.params import Params
from pkdot.provenance import fingerprint, job
from pkdot.splits import FoldName, Parts, number_of
from pkdot.tasks import Task, TaskParams
from pkdot.training.cross_fit import held_out
from pkdot.training.loop import ComputeParams, TrainingParams

if TYPE_CHECKING:
    from torch import Generator, Tensor


class EncoderParams(Params):
    """One modality's encoder on one fold."""

    modality: str = Field(description="name of the modality")
    encoder: EncoderChoice = Field(description="the network and its options")
    training: TrainingParams = Field(description="how it is trained")
    dim: int = Field(ge=2, description="width of an embedding")
    tokens: int = Field(ge=1, description="embeddings in time that a sample gets")
    decorrelation: float = Field(0.0, ge=0, description="weight of the correlation between dimensions of embeddings")
    mixup: float = Field(0.0, ge=0, description="how much training samples are mixed in pairs, none by 0")
    cross_fit: int | None = Field(None, ge=2, description="parts of the training subjects that are embedded by others")
    task: TaskParams = Field(description="what is predicted")
    fold: FoldName = Field(description="number of the fold, or all")
    seed: int = Field(ge=0, description="seed of weights, order and augmentation")
    maps: bool = Field(
        False, description="whether students read what its frozen part, if it has one, makes of a sample"
    )
    sanity: bool = Field(True, description="whether simple models on plain features are fitted beside it")
    compute: ComputeParams = Field(description="where tensors live")


def train_encoder(manifest: Path, splits: Path, features: Path, out: Path, params: EncoderParams) -> None:
    """Write ``weights.safetensors``, ``embeddings.npy``, ``history.csv`` and ``metrics.json`` of one encoder.

    The encoder is trained with a linear head on the fold's training subjects; validation subjects choose the step.

    ``embeddings.npy`` has shape (samples, tokens, dim), rows as in the manifest, in units of the mean and deviation of
    the training part; NaN where a sample has no array, or a token was filled in for the most part, so that no later
    stage can use it unnoticed. The encoder learns from no such token either.

    Where they are cross-fitted, those of the training subjects with labels are of encoders that never met the subject
    (``pkdot.training.cross_fit``); weights, history and scores are those of the encoder of all training subjects.

    ``weights.safetensors`` has the keys ``encoder.*``, ``head.weight`` and ``head.bias`` (the head reads embeddings
    that are not normalised), and ``standard.mean`` and ``standard.deviation`` (what embeddings.npy was normalised by).
    `head_of` returns the head that reads embeddings.npy. ``network.json`` describes encoder and standardisation: both
    can be built again without the data.

    ``maps.npy``, which only an encoder with a frozen part has, and only where students train their encoder, is what
    that part makes of every sample, rows as in the manifest; zeros where a sample has no array.

    ``metrics.json`` has the score and loss of all parts; how many dimensions the embeddings use; the score of a linear
    model on them (``probe``); what simple models reach on plain features of the same samples (``sanity``, empty where
    they are not fitted); and a ``warning``, or null.
    """
    import pandas as pd
    from safetensors.torch import save_file

    samples = Samples.load(manifest)
    arrays = Features(features, samples)
    inputs = [manifest, splits, *feature_files(features)]
    checkpoint = _checkpoint(out, fingerprint(__name__, params, inputs))
    with job(__name__, out, params, inputs=inputs) as scratch:
        parts = Parts.read(splits, params.fold, samples)
        there = present_tokens(features / INDEX, samples, params.tokens)
        run = _EncoderRun(samples, arrays, there, parts, params)
        history = run.train(checkpoint)
        table = np.full((len(samples), params.tokens, params.dim), np.nan, dtype=np.float32)
        table[arrays.valid] = run.standardised(np.flatnonzero(arrays.valid))
        for rows, others in _held_out(samples, parts, params.cross_fit, run.seed):
            without = _EncoderRun(samples, arrays, there, others, params)
            without.train()
            usable = rows[arrays.valid[rows]]
            table[usable] = without.standardised(usable)
        table[~there] = np.nan
        np.save(scratch / EMBEDDINGS, table, allow_pickle=False)
        if params.maps and run.encoder.has_frozen_part:
            run.write_maps(scratch / MAPS, len(samples))
        save_file(run.model.state_dict(), scratch / WEIGHTS)
        pd.DataFrame(history).to_csv(scratch / HISTORY, index=False)
        write_json(scratch / NETWORK, run.embedder.describe().plain())
        write_json(scratch / METRICS, run.metrics(table))


def _held_out(samples: Samples, parts: Parts, count: int | None, seed: int) -> Iterable[tuple[np.ndarray, Parts]]:
    """Return what each encoder of a cross-fitting embeds, and the fold that it is trained on; nothing without one."""
    return held_out(parts, samples.table["group_id"].to_numpy(), count, seed) if count else ()


def head_of(weights: Path) -> tuple[Tensor, Tensor]:
    """Return the encoder's own head, for embeddings as they are in embeddings.npy.

    Parameters
    ----------
    weights : Path
        The weights.safetensors of an encoder.

    Returns
    -------
    weight : Tensor, shape (outputs, dim)
    bias : Tensor, shape (outputs,)
        ``pool(embeddings) @ weight.T + bias`` are the logits by which the encoder was trained.
    """
    from safetensors.torch import load_file

    state = load_file(weights)
    mean, deviation = (state[f"standard.{name}"].flatten() for name in ("mean", "deviation"))
    return state["head.weight"] * deviation, state["head.bias"] + state["head.weight"] @ mean


def mixture(count: int, strength: float, generator: Generator) -> tuple[float, Tensor]:
    """Draw how the samples of a batch are mixed in pairs (mixup: Zhang et al., ICLR 2018, arXiv 1710.09412).

    Parameters
    ----------
    count : int
        Samples of the batch.
    strength : float
        Both parameters of the beta distribution; small ones leave most batches nearly as they are.
    generator : torch.Generator

    Returns
    -------
    share : float
        Of the partner, in the sample and in the loss.
    partner : Tensor of int, shape (count,)
        Each sample's partner in the batch.
    """
    import torch

    seed = int(torch.randint(2**31, (), generator=generator))
    return float(np.random.default_rng(seed).beta(strength, strength)), torch.randperm(count, generator=generator)


def _checkpoint(out: Path, key: str) -> Path:
    """Return the checkpoint of this job; checkpoints that other jobs left in its place are removed."""
    own = out.with_name(f"{out.name}.{key}.checkpoint.safetensors")
    for other in out.parent.glob(f"{out.name}.*.checkpoint.safetensors"):
        if other != own:
            other.unlink(missing_ok=True)
    return own


class _EncoderRun:
    """An encoder with its linear head, and the rows of one fold."""

    def __init__(
        self, samples: Samples, arrays: Features, there: np.ndarray, parts: Parts, params: EncoderParams
    ) -> None:
        import torch
        from torch import nn

        from pkdot.networks import Embedder
        from pkdot.training.loop import prepare, seed_of

        self.params, self.arrays = params, arrays
        self.task = Task(params.task, samples)
        self.device = prepare(params.compute)
        self.there = torch.from_numpy(there)
        self.task.use_labels_of(parts)
        usable = {"train": parts.train, "validation": parts.validation, "test": parts.test}
        self.rows = {part: rows[arrays.valid[rows]] for part, rows in usable.items()}
        training = np.union1d(parts.train, parts.unlabelled)
        self.training = training[arrays.valid[training]]  # what needs no label is fitted to all of them
        for part in ("train", "validation"):
            if not len(self.rows[part]):
                raise DataError(
                    f"no sample of the {part} part of fold {params.fold} has the modality '{params.modality}' and a "
                    "label; see ledger.csv for what was left out."
                )
        self.seed = seed_of(params.seed, number_of(params.fold))
        torch.manual_seed(self.seed)
        cls, options = params.encoder.load()
        self.encoder = cls(arrays.shape, params.dim, params.tokens, options)
        self.encoder.fit_scale(torch.from_numpy(chunk) for chunk in chunks(arrays, self.training))
        self.head = nn.Linear(params.dim, self.task.outputs)
        self.standard = Scale((1, params.dim))
        self.embedder = Embedder(self.encoder, self.standard)
        self.model = nn.ModuleDict({"encoder": self.encoder, "head": self.head, "standard": self.standard})
        self.model.to(self.device)

    def train(self, checkpoint: Path | None = None) -> list[dict]:
        """Train the encoder with its head, or go on from a checkpoint; return the history."""
        from pkdot.training.loop import fit

        return fit(
            self.model,
            self._step,
            self._score,
            self.rows["train"],
            self.params.training,
            self.seed,
            self.device,
            checkpoint=checkpoint,
        )

    def _batch(self, rows: np.ndarray) -> Tensor:
        import torch

        return torch.from_numpy(self.arrays[rows]).to(self.device)

    def _step(self, rows: np.ndarray, generator: Generator) -> Tensor:
        from pkdot.training.loop import mixed_precision

        batch = self.encoder.augment(self._batch(rows), generator)
        target, there = self.task.target(rows).to(self.device), self.there[rows]
        mixes = self.params.mixup > 0 and batch.is_floating_point()
        share, partner = mixture(len(rows), self.params.mixup, generator) if mixes else (0.0, None)
        if partner is not None:
            batch, there = batch.lerp(batch[partner], share), there & there[partner]
        with mixed_precision(self.device):
            embeddings = self.encoder(batch)
        others = target if partner is None else target[partner]
        pooled, targets = self._rows(embeddings.float(), there, target, others)
        logits = self.head(pooled)
        loss = self.task.loss(logits, targets[0])
        if partner is not None:
            loss = loss.lerp(self.task.loss(logits, targets[1]), share)
        return loss + self.params.decorrelation * redundancy(pooled) if self.params.decorrelation else loss

    def _rows(self, embeddings: Tensor, there: Tensor, *targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what the head reads of the tokens that are there, and the targets of these rows."""
        from pkdot.presence import shown

        counted = shown(there).to(embeddings.device)
        pooled = self.task.pool(embeddings, counted)
        if not self.task.sequence:
            return pooled, list(targets)
        return pooled[counted.flatten()], [target[counted.flatten().to(target.device)] for target in targets]

    def embed(self, rows: np.ndarray) -> np.ndarray:
        """Return the embeddings of rows, shape (len(rows), tokens, dim)."""
        return self._run(self.encoder, rows)

    def standardised(self, rows: np.ndarray) -> np.ndarray:
        """Return embeddings of rows in units of the training part's mean and deviation."""
        import torch

        embeddings, there = torch.from_numpy(self.embed(self.training)), self.there[self.training]
        self.standard.fit([embeddings if there.all() else embeddings[there][:, None]])
        return self._run(self.embedder, rows)

    def write_maps(self, path: Path, count: int) -> None:
        """Write what the frozen part makes of all samples that have an array, few of them in memory at once."""
        table = None
        for rows in self._batches(np.flatnonzero(self.arrays.valid)):
            maps = self._run(self.encoder.frozen_part, rows)
            if table is None:
                table = np.lib.format.open_memmap(path, "w+", maps.dtype, (count, *maps.shape[1:]))
            table[rows] = maps

    def _batches(self, rows: np.ndarray) -> list[np.ndarray]:
        return np.array_split(rows, max(1, -(-len(rows) // self.params.training.batch_size)))

    def _run(self, network: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
        """Return what a network says of the arrays of rows, batch by batch."""
        import torch

        self.model.eval()
        batches = self._batches(rows)
        with torch.no_grad():
            return np.concatenate([network(self._batch(batch)).float().cpu().numpy() for batch in batches])

    def _score(self, part: str = "validation") -> tuple[float, float]:
        import torch

        rows = self.rows[part]
        embeddings = torch.from_numpy(self.embed(rows)).to(self.device)
        pooled, (target,) = self._rows(embeddings, self.there[rows], self.task.target(rows))
        logits = self.head(pooled).cpu()
        return self.task.score(logits, target), float(self.task.loss(logits, target))

    def metrics(self, embeddings: np.ndarray) -> dict:
        """Return the content of metrics.json.

        Parameters
        ----------
        embeddings : ndarray, shape (samples, tokens, dim)
            What embeddings.npy holds.
        """
        import torch

        from pkdot.presence import known

        parts = {part: rows for part, rows in self.rows.items() if len(rows)}
        metrics: dict = {}
        with torch.no_grad():
            for part in parts:
                score, loss = self._score(part)
                metrics[part] = {"score": score, "loss": loss}
        pooled = {
            part: known(self.task.pool(torch.from_numpy(embeddings[rows]))).numpy() for part, rows in parts.items()
        }
        metrics["effective_dimensions"] = {part: effective_dimensions(pooled[part]) for part in ("train", "validation")}
        metrics["probe"] = scores_of(linear_model(self.task), self.task, pooled, parts)
        plain = self.params.sanity
        metrics["sanity"] = sanity(self.arrays, self.task, self.params.tokens, parts, self.seed) if plain else {}
        metrics["warning"] = self._warning(metrics["validation"]["score"])
        return metrics

    def _warning(self, score: float) -> str | None:
        """Return a sentence where the validation score is no better than chance, else None."""
        chance, margin = self.task.chance(self.rows["train"], self.rows["validation"])
        if score > chance + margin:
            return None
        return (
            f"The encoder of '{self.params.modality}' scores {score:.3f} on validation subjects, where chance gives "
            f"{chance:.3f} and two standard errors are {margin:.3f}: it has learned nothing that this number of "
            "samples can show. Compare it with the simple models on plain features; look at its data and training."
        )
