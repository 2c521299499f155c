"""The training of T-Nets: the one of the contest beside its teachers, and the stage of those of other kinds."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pkdot.files import write_json
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import TNetParams
from pkdot.layout import TNET, UPPER_BOUND, WEIGHTS, choice_name, trained
from pkdot.provenance import job
from pkdot.splits import number_of
from pkdot.training.arms import ArmParams
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.trained import Trained, choosing, write_trained

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pkdot.hallucination.base import TNet
    from pkdot.networks import Teacher
    from pkdot.training.fold import Fold


class TNetsParams(ArmParams):
    """The T-Nets of one kind of one fold."""

    label: str = Field(description="name of their folders")
    tnet: TNetParams = Field(description="the T-Net")
    training: TrainingParams = Field(description="how T-Net is trained")
    fusion: FusionChoice = Field(description="how the teacher fuses")
    dim: int = Field(ge=2, description="width of the fused features")
    seeds: list[int] = Field(min_length=1, description="seeds; one T-Net each")
    compute: ComputeParams = Field(description="where tensors live")


def train_tnets(
    manifest: Path, splits: Path, embeddings: list[Path], teachers: Path, out: Path, params: TNetsParams
) -> None:
    """Write ``seed_<s>/<label>/``, as the stage of the teachers does for the T-Net of the contest.

    ``<label>.json`` holds their metrics by seed.
    """
    from safetensors.torch import load_file

    from pkdot.networks import Teacher
    from pkdot.training.fold import Fold, embedding_paths
    from pkdot.training.loop import prepare

    device = prepare(params.compute)
    judges = {seed: trained(teachers, seed, UPPER_BOUND) / WEIGHTS for seed in params.seeds}
    inputs = [manifest, splits, *embeddings, *judges.values()]
    with job(__name__, out, params, inputs=inputs, record=params.label) as scratch:
        fold = Fold(manifest, splits, embedding_paths(embeddings), params, device)
        widths = fold.prevalent.shape[-1], fold.privileged.shape[-1]
        metrics = {}
        for seed in params.seeds:
            judge = Teacher(*widths, params.dim, params.fusion, fold.task)
            judge.load_state_dict(load_file(judges[seed]))
            made = train_tnet(fold, judge.to(device), params.tnet, params.training, seed)
            write_trained(trained(scratch, seed, params.label), made)
            metrics[seed] = made.metrics
        write_json(scratch / choice_name(params.label), metrics)


def train_tnet(fold: Fold, teacher: Teacher, params: TNetParams, training: TrainingParams, seed: int) -> Trained:
    """Train T-Net to reproduce the privileged embeddings of the training subjects, which takes no labels.

    Parameters
    ----------
    fold : Fold
        Samples without a label take part too.
    teacher : Teacher
        The trained one, by whose predictions some kinds learn.
    params : TNetParams
        The T-Net.
    training : TrainingParams
        How it is trained. The step is chosen by the explained variance on the validation part.
    seed : int
    """
    import torch

    from pkdot.hallucination.base import Lesson, build_tnet, pairs, squared_error
    from pkdot.hallucination.recovery import recovery
    from pkdot.presence import complete
    from pkdot.training.loop import fit, seed_of

    print(f"{TNET} {params.kind.name}, seed {seed}", file=sys.stderr, flush=True)
    start = seed_of(seed, number_of(fold.number), 9)
    torch.manual_seed(start)
    tnet = build_tnet(params.kind, fold.prevalent.shape[-1], fold.privileged.shape[-1], params.hidden).to(fold.device)
    companion = tnet.companion().to(fold.device)
    rows = np.union1d(fold.train, fold.unlabelled)
    truth = pairs(fold.prevalent, fold.privileged)
    _solve(tnet, fold, truth, rows)
    judge = _Judge(fold, teacher)

    def step(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        index = fold.index(rows)
        return tnet.loss(Lesson(fold.prevalent[index], truth[index], judge.disagreement, companion, generator))

    def quality(rows: np.ndarray) -> dict[str, float | None]:
        index = fold.index(fold.whole(rows))
        return recovery(tnet(fold.prevalent[index]).float(), truth[index])

    def score() -> tuple[float, float]:
        index = fold.index(fold.validation)
        loss = squared_error(tnet(fold.prevalent[index]).float(), truth[index])
        explained = quality(fold.validation)["explained_variance"]
        return np.nan if explained is None else explained, float(loss)

    both = torch.nn.ModuleList([tnet, companion])
    history = fit(both, step, score, rows, training, start, fold.device)
    tnet.eval()
    parts = {**choosing(fold), "test": fold.test}
    with torch.no_grad():
        lacking = ~complete(fold.prevalent)[:, None, None]
        outputs = {"privileged": tnet.hallucinate(fold.prevalent).float().masked_fill(lacking, torch.nan)}
        metrics = {part: quality(rows) for part, rows in parts.items()}
    return Trained(tnet, history, outputs, metrics)


def _solve(tnet: TNet, fold: Fold, truth: Tensor, rows: np.ndarray) -> None:
    """Let a T-Net set in closed form what it does."""
    import torch

    index = fold.index(rows)
    subjects = np.unique(fold.samples.table["subject_id"].to_numpy()[rows], return_inverse=True)[1]
    tnet.fit(fold.prevalent[index], truth[index], torch.from_numpy(subjects))


class _Judge:
    """The frozen teacher, which compares what it reads in hallucinated tokens with what it reads in true ones."""

    def __init__(self, fold: Fold, teacher: Teacher) -> None:
        self.regression = fold.task.regression
        self.teacher = deepcopy(teacher).eval().requires_grad_(False)

    def disagreement(self, prevalent: Tensor, hallucinated: Tensor, privileged: Tensor) -> Tensor:
        """Return the divergence of class probabilities (Kullback and Leibler), or the squared difference of values."""
        import torch
        from torch.nn.functional import kl_div

        hallucinated = hallucinated.masked_fill(privileged.isnan(), torch.nan)  # so that both see equally much
        said, truth = (self.teacher(prevalent, tokens).logits for tokens in (hallucinated, privileged))
        if self.regression:
            return (said - truth).square().mean()
        return kl_div(said.log_softmax(dim=1), truth.log_softmax(dim=1), reduction="batchmean", log_target=True)
