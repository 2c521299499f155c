"""The teacher stage: the joint teacher, a teacher for each modality, and T-Net, for all seeds of one fold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import Field

from pkdot.files import write_json
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import TNetParams
from pkdot.layout import (
    TEACHERS,
    TNET,
    UPPER_BOUND,
    prevalent_teacher,
    teacher_of,
    trained,
)
from pkdot.provenance import job
from pkdot.splits import number_of
from pkdot.training.arms import ArmParams
from pkdot.training.calibration import best_temperature
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.trained import Trained, choosing, write_trained

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pkdot.networks import Headed, Teacher
    from pkdot.training.fold import Fold


class TeacherParams(ArmParams):
    """The teachers and the T-Nets of one fold."""

    fusion: FusionChoice = Field(description="how the teacher fuses")
    dim: int = Field(ge=2, description="width of the fused features")
    training: TrainingParams = Field(description="how the teachers are trained")
    tnet: TNetParams = Field(description="the T-Net")
    tnet_training: TrainingParams = Field(description="how T-Net is trained")
    seeds: list[int] = Field(min_length=1, description="seeds; one teacher each")
    compute: ComputeParams = Field(description="where tensors live")


def train_teachers(manifest: Path, splits: Path, embeddings: list[Path], out: Path, params: TeacherParams) -> None:
    """Write ``seed_<s>/<teacher | tnet | modality_m>/`` with weights, outputs, history and metrics.

    The joint teacher is trained on samples with some of the privileged modalities, that of a single modality on those
    that have it.

    ``prevalent_teacher`` is among them where several modalities are prevalent.

    ``teachers.json`` holds all their metrics.

    Each teacher also has the ``predictions.parquet`` of the test samples that have every modality, unless nobody is
    tested.
    ``outputs.safetensors`` of a teacher holds ``features``, shape (samples, rows, D), and ``logits``, shape (samples,
    rows, C), of each output row; NaN where a sample lacks what the teacher is trained on. That of T-Net holds
    ``privileged``, shape (samples, T, Q): the hallucinated embeddings.
    """
    from pkdot.training.fold import Fold, embedding_paths
    from pkdot.training.loop import prepare

    device = prepare(params.compute)
    paths = embedding_paths(embeddings)
    with job(__name__, out, params, inputs=[manifest, splits, *embeddings], record="teachers") as scratch:
        fold = Fold(manifest, splits, paths, params, device)
        metrics: dict[str, dict] = {}
        for seed in params.seeds:
            for name, network in _train(fold, params, seed):
                write_trained(trained(scratch, seed, name), network)
                metrics.setdefault(name, {})[seed] = network.metrics
        write_json(scratch / TEACHERS, metrics)


def _train(fold: Fold, params: TeacherParams, seed: int) -> Iterator[tuple[str, Trained]]:
    from pkdot.networks import PrevalentStudent, Teacher
    from pkdot.presence import complete
    from pkdot.training.tnet import train_tnet

    widths = fold.prevalent.shape[-1], fold.privileged.shape[-1]
    sees: dict[str, tuple[Tensor, ...]] = {UPPER_BOUND: (fold.prevalent, fold.privileged)}
    sees |= {teacher_of(name): (values,) for name, values in fold.modalities.items()}
    if len(params.prevalent) > 1:
        sees[prevalent_teacher(params.prevalent)] = (fold.prevalent,)
    joint: nn.Module | None = None
    for purpose, (name, tensors) in enumerate(sees.items()):
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        if name == UPPER_BOUND:
            there = fold.taught
            build: Callable[[], Headed] = partial(Teacher, *widths, params.dim, params.fusion, fold.task)
        else:
            there = complete(tensors[0]).cpu().numpy()
            build = partial(PrevalentStudent, tensors[0].shape[-1], params.dim, fold.task)
        made = _train_classifier(fold, params, seed, purpose, tensors, there, build)
        joint = made.network if name == UPPER_BOUND else joint
        yield name, made
    yield TNET, train_tnet(fold, cast("Teacher", joint), params.tnet, params.tnet_training, seed)


def _train_classifier(
    fold: Fold,
    params: TeacherParams,
    seed: int,
    purpose: int,
    tensors: tuple[Tensor, ...],
    there: np.ndarray,
    build: Callable[[], Headed],
) -> Trained:
    """Train a network on tensors of embeddings, calibrate it, and compute its outputs for the samples that it sees.

    ``there``, shape (samples,), says which these are.
    """
    import torch

    from pkdot.training.loop import fit, seed_of
    from pkdot.training.predictions import prediction_table

    start = seed_of(seed, number_of(params.fold), 10 + purpose)
    torch.manual_seed(start)
    network = build().to(fold.device)

    def step(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        index = fold.index(rows)
        return fold.task.loss(network(*(x[index] for x in tensors)).logits.float(), fold.target(index))

    def score() -> tuple[float, float]:
        return _score(fold, network, tensors, fold.validation)

    labelled = fold.seen("train")
    history = fit(network, step, score, labelled[there[labelled]], params.training, start, fold.device)
    network.eval()
    with torch.no_grad():
        _calibrate(fold, network, tensors)
        whole, lacking = network(*tensors), torch.from_numpy(~there).to(fold.device)
        outputs = {
            name: values.float().unflatten(0, (len(lacking), -1)).masked_fill(lacking[:, None, None], torch.nan)
            for name, values in (("features", whole.features), ("logits", whole.logits))
        }
        metrics = {
            part: _named(_score(fold, network, tensors, rows[there[rows]])) for part, rows in choosing(fold).items()
        }
    tested = fold.whole(fold.test)
    table = (
        prediction_table(fold, lambda index: network(*(x[index] for x in tensors)), tested) if len(fold.test) else None
    )
    return Trained(network, history, outputs, metrics, table)


def _calibrate(fold: Fold, network: Headed, tensors: tuple[Tensor, ...]) -> None:
    """Divide the head by the temperature with the lowest validation loss; a regression has none."""
    if fold.task.regression:
        return
    index = fold.index(fold.validation)
    logits, target = network(*(x[index] for x in tensors)).logits.float(), fold.target(index)
    best = best_temperature(logits, lambda scaled: fold.task.loss(scaled, target))
    for parameter in network.head.parameters():
        parameter.div_(best)


def _score(fold: Fold, network: Headed, tensors: tuple[Tensor, ...], rows: np.ndarray) -> tuple[float, float]:
    index = fold.index(rows)
    logits = network(*(x[index] for x in tensors)).logits.float()
    target = fold.target(index)
    return fold.task.score(logits, target), float(fold.task.loss(logits, target))


def _named(score: tuple[float, float]) -> dict[str, float]:
    return {"score": score[0], "loss": score[1]}
