"""The student stage: one method on one fold, all seeds; its options are chosen on the validation subjects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from pydantic import Field

from pkdot.distillation.base import MethodChoice, Start
from pkdot.files import write_json
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import TNetParams
from pkdot.layout import (
    FEATURES,
    HISTORY,
    METRICS,
    NETWORK,
    OUTPUTS,
    PREDICTIONS,
    TNET,
    UPPER_BOUND,
    WEIGHTS,
    choice_name,
    prevalent_teacher,
    seed_name,
    teacher_of,
    teachers_of,
    trained,
)
from pkdot.provenance import job
from pkdot.splits import number_of
from pkdot.training.arms import ArmParams
from pkdot.training.calibration import best_temperature
from pkdot.training.loop import ComputeParams, TrainingParams

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pkdot.distillation.base import Distiller
    from pkdot.hallucination.base import TNet
    from pkdot.networks import Outputs
    from pkdot.training.fold import Fold
    from pkdot.training.loop import Beside
    from pkdot.training.own_encoders import OwnEncoders

TAUGHT = (OUTPUTS, WEIGHTS)  # what a student reads of each teacher
CHUNK = 256  # samples whose arrays are encoded at once
DIGITS = 9  # of a score: equal means of seeds may differ behind them, and the loss should tell those apart


class StudentParams(ArmParams):
    """One method on one fold."""

    label: str = Field(description="name of the students' folders: the method, or a variant of it")
    method: MethodChoice = Field(description="what trains the student, and its options")
    candidates: int = Field(ge=1, description="how many option sets every method may choose from")
    fusion: FusionChoice = Field(description="how the student fuses, as the teacher does")
    dim: int = Field(ge=2, description="width of the fused features")
    tnet: TNetParams = Field(description="the T-Net")
    tnet_label: str = Field(TNET, description="name of the folder of the T-Net among the teachers")
    start: Start = Field("encoder_head", description="where students begin: at the encoders' own heads, or at random")
    encoder: Literal["frozen", "finetuned"] = Field("frozen", description="whether students train their encoders too")
    ensemble: bool = Field(True, description="students imitate the mean prediction of the teachers of all seeds")
    training: TrainingParams = Field(description="how the students are trained")
    unlabelled_ratio: float = Field(1.0, gt=0, description="unlabelled samples of a step for each labelled one")
    seeds: list[int] = Field(min_length=1, description="seeds; one student each")
    compute: ComputeParams = Field(description="where tensors live")


def train_students(
    manifest: Path, splits: Path, embeddings: list[Path], teachers: Path, out: Path, params: StudentParams
) -> None:
    """Write ``seed_<s>/<label>/``: weights, predictions, features of the test part, history and metrics.

    ``network.json`` describes the student, so that it can be built again without teachers, method or data. The weights
    are those of a ``StudentNetwork``: ``student.*``, and ``encoders.<modality>.*`` where it has encoders of its own.

    ``<label>.json`` says what was chosen, and from what.

    Every candidate is trained with every seed; the one with the best mean validation score is kept. The test part
    is looked at once, by the students that were chosen.
    """
    from pkdot.training.fold import Fold, embedding_paths
    from pkdot.training.loop import prepare
    from pkdot.training.own_encoders import OwnEncoders, files_read

    device = prepare(params.compute)
    encoders = {path.parent.name: path.with_name(WEIGHTS) for path in embeddings}
    inputs = [manifest, splits, *embeddings, *(encoders[name] for name in params.prevalent)]
    inputs += _teacher_files(teachers, params)
    finetuned = params.encoder == "finetuned"
    if finetuned:
        inputs += [file for name in params.prevalent for file in files_read(encoders[name], manifest.parent / name)]
    with job(__name__, out, params, inputs=inputs, record=params.label) as scratch:
        paths = embedding_paths(embeddings)
        fold = Fold(manifest, splits, paths, params, device)
        teacher = _teachers(fold, teachers, params)
        head = _encoder_head([encoders[name] for name in params.prevalent])
        own = OwnEncoders(fold, {name: encoders[name] for name in params.prevalent}) if finetuned else None
        cls, options = params.method.load()
        tried = []
        for candidate in cls.candidates(options, params.candidates):
            runs = [_Run(fold, teacher[seed], head, own, params, cls, candidate, seed) for seed in params.seeds]
            scores = np.mean([run.train() for run in runs], axis=0)
            tried.append(((round(scores[0], DIGITS), scores[1]), candidate, runs))
        best = max(range(len(tried)), key=lambda i: (tried[i][0][0], -tried[i][0][1]))
        choice = {
            "chosen": tried[best][1].plain(),
            "candidates": [
                {"options": c.plain(), "score": float(s), "loss": float(t), "kept_steps": [run.kept for run in runs]}
                for (s, t), c, runs in tried
            ],
            "budget": params.training.steps if tried[best][2][0].takes_steps else 0,
            "evaluate_every": params.training.evaluate_every,
            "samples": tried[best][2][0].samples,
        }
        for run in tried[best][2]:
            run.write(trained(scratch, run.seed, params.label), choice)
        write_json(scratch / choice_name(params.label), choice)


def _teacher_files(teachers: Path, params: StudentParams) -> list[Path]:
    """Return the files of the teachers that a student reads."""
    names = teachers_of((*params.prevalent, *params.privileged), params.prevalent)
    files = [trained(teachers, seed, name) / file for seed in params.seeds for name in names for file in TAUGHT]
    return files + [trained(teachers, seed, params.tnet_label) / WEIGHTS for seed in params.seeds]


class _Run:
    """One training: a candidate and a seed."""

    def __init__(
        self,
        fold: Fold,
        teacher: _TeacherOutputs,
        head: nn.Linear,
        encoders: OwnEncoders | None,
        params: StudentParams,
        cls: type[Distiller],
        candidate: Any,
        seed: int,
    ) -> None:
        import torch

        from pkdot.distillation.base import Context
        from pkdot.networks import StudentNetwork
        from pkdot.training.loop import seed_of

        self.fold, self.teacher, self.params, self.seed = fold, teacher, params, seed
        self.candidate = candidate
        widths = {name: values.shape[-1] for name, (values, _) in self.teacher.modalities.items()}
        context = Context(
            task=fold.task,
            prevalent=fold.prevalent.shape[-1],
            privileged=fold.privileged.shape[-1],
            dim=params.dim,
            fusion=params.fusion,
            hidden=None if params.tnet.state == "off" else params.tnet.hidden,
            rows=len(fold.samples) * fold.task.rows_per_sample(fold.tokens),
            modalities=widths,
            encoder_head=head,
            heads=teacher.heads,
            start=params.start,
            kind=params.tnet.kind,
            matched=params.tnet.state == "matched",
        )
        self.rows, self.unlabelled = fold.train, fold.unlabelled
        solitary = fold.solitary["train"]
        if cls.prevalent_only:
            self.rows, self.unlabelled, solitary = fold.seen("train"), fold.seen("unlabelled"), solitary[:0]
        elif "modalities" in cls.needs:  # the teacher of a modality has nothing to say of a sample without it
            self.rows, self.unlabelled = fold.whole(fold.train), fold.whole(fold.unlabelled)
            solitary = np.union1d(solitary, np.setdiff1d(fold.train, self.rows))
        self.solitary = solitary  # what no teacher tells of trains by its label alone
        self.start = seed_of(seed, number_of(params.fold), 8)  # the same for all methods: equal initial weights
        torch.manual_seed(self.start)
        self.distiller = cls(context, candidate)
        torch.manual_seed(self.start)
        self.network = self.distiller.student()
        self.tnet: TNet | None = getattr(self.network, "tnet", None)
        self.recovered: dict[str, dict] = {}  # by T-Net, before and after the student's training
        if self.tnet is not None:
            self._begin_tnet(self.tnet)
        self.steps = 0
        trains = any(parameter.requires_grad for parameter in self.network.parameters())
        self.encoders = encoders if trains else None  # a student that takes no steps keeps the frozen ones
        own = self.encoders.copy() if self.encoders else {}
        self.whole = StudentNetwork(own, self.network, params.prevalent)
        self.both = torch.nn.ModuleList([self.whole, self.distiller]).to(fold.device)
        index = fold.index(self.rows)
        pooled = fold.task.pool(fold.prevalent[index])
        there = ~pooled.isnan().any(dim=1)
        self.distiller.solve(self.network, pooled[there], fold.target(index)[there])

    def _begin_tnet(self, tnet: TNet) -> None:
        from safetensors.torch import load_file

        if self.params.tnet.state == "trained":
            tnet.load_state_dict(load_file(self.teacher.tnet))
            self.recovered["trained"] = self._recovered_by(tnet)
        tnet.requires_grad_(self.params.tnet.finetune)

    def _recovered_by(self, tnet: TNet) -> dict[str, float | None]:
        """Return how much of the privileged embeddings of the test part a T-Net recovers."""
        import torch

        from pkdot.hallucination.base import pairs
        from pkdot.hallucination.recovery import recovery

        index = self.fold.index(self.fold.whole(self.fold.test))
        device = next(tnet.parameters()).device
        prevalent, privileged = (side[index].to(device) for side in (self.fold.prevalent, self.fold.privileged))
        with torch.no_grad():
            guess = tnet(prevalent).float()
        return recovery(guess, pairs(prevalent, privileged))

    def train(self) -> tuple[float, float]:
        """Train; return the validation score and loss of the weights that are kept."""
        from pkdot.training.loop import best_of, fit

        chosen = ", ".join(f"{key} {value}" for key, value in self.candidate.plain().items() if value is not None)
        print(f"{self.params.label}, {chosen or 'no options'}, seed {self.seed}", file=sys.stderr, flush=True)
        self.history = fit(
            self.both,
            self._step,
            self._score,
            self.rows,
            self.params.training,
            self.start,
            self.fold.device,
            start=True,
            beside=self._beside(),
        )
        best = cast(dict, best_of(self.history))  # a training without a finite look is an error of `fit`
        self.kept = best["step"]
        return best["score"], best["val_loss"]

    def _beside(self) -> list[Beside]:
        """Return what each batch gets beside its rows: unlabelled rows, if the method takes them, and solitary ones."""
        from pkdot.training.loop import Beside

        unlabelled = [] if self.distiller.labelled_only else [Beside(self.unlabelled, self.params.unlabelled_ratio)]
        solitary = Beside(self.solitary, len(self.solitary) / len(self.rows))
        return [one for one in (*unlabelled, solitary) if len(one.rows)]

    @property
    def samples(self) -> dict[str, int]:
        """Number of labelled and of unlabelled samples that the student is trained on."""
        unlabelled = 0 if self.distiller.labelled_only else len(self.unlabelled)
        return {"labelled": len(self.rows) + len(self.solitary), "unlabelled": unlabelled}

    @property
    def takes_steps(self) -> bool:
        """Whether anything of the student is trained."""
        return any(parameter.requires_grad for parameter in self.both.parameters())

    def _step(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        self.distiller.progress = self.steps / self.params.training.steps
        self.steps += 1
        if not len(self.solitary):
            return self._taught(rows, generator)
        solitary = np.isin(rows, self.solitary)
        loss = self._taught(rows[~solitary], generator)
        # each labelled sample weighs the same, whether a teacher tells of it or not
        return loss + len(self.solitary) / len(self.rows) * self._untaught(rows[solitary], generator)

    def _untaught(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """Return the task's loss of rows."""
        logits = self.network(self._embed(rows, generator)).logits
        return self.fold.task.loss(logits, self.fold.target(self.fold.index(rows)))

    def _taught(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """Return the method's loss of rows, mixed in pairs where it wants that."""
        from pkdot.training.encoder import mixture

        prevalent = self._embed(rows, generator)
        if not self.distiller.mixing:
            return self._loss(self.network(prevalent), rows)
        share, partner = mixture(len(rows), self.distiller.mixing, generator)
        outputs = self.network(prevalent.lerp(prevalent[partner], share))
        return self._loss(outputs, rows).lerp(self._loss(outputs, rows[partner.numpy()]), share)

    def _embed(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """Return the prevalent embeddings of a batch, by the student's own encoders where it has some."""
        from pkdot.training.loop import mixed_precision

        if self.encoders:
            with mixed_precision(self.fold.device):
                return self.encoders.embed(self.whole, rows, generator)
        return self.fold.prevalent[self.fold.index(rows)]

    def _loss(self, outputs: Outputs, rows: np.ndarray) -> Tensor:
        """Return the loss of outputs against the targets and the teacher of rows."""
        index = self.fold.index(rows)
        target, numbers = self.fold.target(index), self.fold.numbers(index)
        taught = self.teacher.outputs(index, self.distiller.needs).with_target(target, numbers)
        return self.distiller(outputs.with_target(target, numbers), taught)

    def _score(self) -> tuple[float, float]:
        index = self.fold.index(self.fold.validation)
        logits, target = self._predict(index).logits.float(), self.fold.target(index)
        return self.fold.task.score(logits, target), float(self.fold.task.loss(logits, target))

    def _predict(self, index: Tensor) -> Outputs:
        """Predict rows, few at a time where their arrays are read for it."""
        import torch

        if not self.encoders:
            return self.network(self.fold.prevalent[index])
        parts = [self.encoders.embed(self.whole, rows.cpu().numpy()) for rows in index.split(CHUNK)]
        return self.network(torch.cat(parts))

    def write(self, folder: Path, choice: dict) -> None:
        """Write the student, what it predicts of the test part, and how it was chosen."""
        import pandas as pd
        from safetensors.torch import save_file

        from pkdot.training.predictions import prediction_table, write_predictions

        folder.mkdir(parents=True)
        weights = {name: value.cpu().contiguous() for name, value in self.whole.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        write_json(folder / NETWORK, self.whole.describe().plain())
        if len(self.fold.test):
            write_predictions(folder / PREDICTIONS, prediction_table(self.fold, self._predict))
            save_file(self._test_features(), folder / FEATURES)
        pd.DataFrame(self.history).to_csv(folder / HISTORY, index=False)
        if self.tnet is not None:
            self.recovered["deployed"] = self._recovered_by(self.tnet)
        parameters = sum(value.numel() for value in weights.values())
        tnet = {"tnet": self.recovered} if self.recovered else {}
        write_json(folder / METRICS, {**choice, "parameters": parameters, **tnet})

    def _test_features(self) -> dict[str, Tensor]:
        """Return fused features of the test part, shape (samples, output rows, D), and their rows in the manifest."""
        import torch

        index = self.fold.index(self.fold.test)
        with torch.no_grad():
            features = self._predict(index).features.float().cpu()
        return {"rows": index.cpu(), "features": features.unflatten(0, (len(index), -1)).contiguous()}


class _TeacherOutputs:
    """The outputs of the frozen teachers of one seed for every sample, and their heads."""

    def __init__(self, fold: Fold, folder: Path, params: StudentParams) -> None:
        self.fold = fold
        self.tnet = folder / params.tnet_label / WEIGHTS
        names = (*params.prevalent, *params.privileged)
        self.joint = self._read(folder / UPPER_BOUND)
        self.modalities = {name: self._read(folder / teacher_of(name)) for name in names}
        self.heads = {UPPER_BOUND: _head(folder / UPPER_BOUND)}
        self.heads |= {name: _head(folder / teacher_of(name)) for name in names}
        self.alone = self._read(folder / prevalent_teacher(params.prevalent))
        if params.control == "prevalent_teacher":
            self.joint, self.heads[UPPER_BOUND] = self.alone, _head(folder / prevalent_teacher(params.prevalent))
            names = tuple(params.prevalent)
        self.pooled = pooled([self.joint[1], *(self.modalities[name][1] for name in names)], fold)

    def _read(self, folder: Path) -> tuple[Tensor, Tensor]:
        from safetensors.torch import load_file

        outputs = load_file(folder / OUTPUTS, device=str(self.fold.device))
        return outputs["features"], outputs["logits"]

    def outputs(self, index: Tensor, needs: set[str]) -> Outputs:
        """Return the outputs of the joint teacher on a batch, with those of other teachers that a method needs."""
        from pkdot.networks import Outputs

        def of(features: Tensor, logits: Tensor) -> Outputs:
            return Outputs(logits[index].flatten(0, 1), features[index].flatten(0, 1))

        joint = of(*self.joint)
        if "privileged" in needs:
            joint.privileged = self.fold.task.pool(self.fold.privileged[index])
        if "modalities" in needs:
            joint.modalities = {name: of(*pair) for name, pair in self.modalities.items()}
        if "alone" in needs:
            joint.alone = of(*self.alone)
        if "pooled" in needs:
            joint.pooled = self.pooled[index].flatten(0, 1)
        return joint


def _teachers(fold: Fold, folder: Path, params: StudentParams) -> dict[int, _TeacherOutputs]:
    """Return the teachers of each seed; predictions may be those of all seeds together.

    Features are never averaged: those of two seeds have no axis in common.
    """
    teachers = {seed: _TeacherOutputs(fold, folder / seed_name(seed), params) for seed in params.seeds}
    if params.ensemble:
        joint, alone = (
            fold.task.average([getattr(teacher, name)[1] for teacher in teachers.values()])
            for name in ("joint", "alone")
        )
        every = fold.task.average([teacher.pooled for teacher in teachers.values()])
        for teacher in teachers.values():
            teacher.joint, teacher.alone = (teacher.joint[0], joint), (teacher.alone[0], alone)
            teacher.pooled = every
    return teachers


def pooled(logits: list[Tensor], fold: Fold) -> Tensor:
    """Return what several calibrated teachers predict together, each where it predicts something.

    The geometric mean of their probabilities, calibrated once more. Each counts by its reliability, sample by sample:
    the calibrated probabilities of a teacher that knows little are nearly the same for all classes.

    Parameters
    ----------
    logits : list of Tensor, each of shape (samples, rows, C)
        Calibrated logits, or values of a regression, of which the mean is taken; NaN where there are none.
    fold : Fold
        Its validation subjects calibrate the mean.
    """
    import torch

    if fold.task.regression:
        return torch.stack(logits).nanmean(dim=0)
    mean = torch.stack([one.log_softmax(dim=-1) for one in logits]).nanmean(dim=0)
    index = fold.index(fold.validation)
    own, target = mean[index].flatten(0, 1), fold.target(index)
    return mean / best_temperature(own, lambda scaled: fold.task.loss(scaled, target))


def _head(folder: Path) -> nn.Linear:
    """Return the head of a frozen teacher."""
    from safetensors.torch import load_file

    from pkdot.networks import linear

    weights = load_file(folder / WEIGHTS)
    return linear(weights["head.weight"], weights["head.bias"])


def _encoder_head(weights: list[Path]) -> nn.Linear:
    """Return the mean of the heads of the prevalent encoders, as one layer over their embeddings side by side."""
    import torch

    from pkdot.networks import linear
    from pkdot.training.encoder import head_of

    heads = [head_of(path) for path in weights]
    weight = torch.cat([weight for weight, _ in heads], dim=1) / len(heads)
    return linear(weight, torch.stack([bias for _, bias in heads]).mean(dim=0))
