"""The stage of one fold of the grid of missing modalities: completions are trained, and scored on the same masks.

Completions share embeddings, teachers, budget, seeds, training masks and the heads at which they begin. The step is
chosen on validation subjects, on masks from a seed of its own; test masks are drawn once a fold, and saved.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pkdot.files import write_json
from pkdot.hallucination.base import TNetParams
from pkdot.layout import (
    HISTORY,
    MASKS,
    NETWORK,
    OUTPUTS,
    SUMS,
    TNET,
    UPPER_BOUND,
    WEIGHTS,
    fold_name,
    teacher_of,
    trained,
)
from pkdot.missing.base import CompletionChoice, described
from pkdot.missing.masks import Condition, Pattern, draw, members, training_masks
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.splits import number_of
from pkdot.training.arms import ArmParams
from pkdot.training.calibration import best_temperature
from pkdot.training.loop import ComputeParams, TrainingParams

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pkdot.missing.base import Completion
    from pkdot.networks import Outputs
    from pkdot.training.fold import Fold

Trained = Literal["independent", "bursts", "whole"]
VALIDATION = 4  # masks of each validation sample by which the step is chosen, beside the one without gaps
CHUNK = 4096  # samples that are predicted at once


class Contender(Params):
    """One line of the grid: a completion and the masks that it is trained on."""

    label: str = Field(description="name of its folder: the completion, or an arm of it")
    completion: CompletionChoice = Field(description="the completion and its options")
    patterns: list[Trained] = Field(min_length=1, description="patterns of its training and validation masks")


class CompletionParams(ArmParams):
    """The grid of missing modalities on one fold."""

    contenders: list[Contender] = Field(min_length=1, description="what is trained and scored")
    conditions: list[tuple[Pattern, str]] = Field(min_length=1, description="pattern and target of each condition")
    rates: list[float] = Field(min_length=2, description="rates of every condition, in rising order")
    burst: int = Field(ge=1, description="tokens of a burst")
    mask_seed: int = Field(ge=0, description="seed of the masks")
    dim: int = Field(ge=2, description="width of the features")
    tnet: TNetParams = Field(description="the T-Net of the fold")
    training: TrainingParams = Field(description="how completions are trained")
    unlabelled_ratio: float = Field(1.0, gt=0, description="unlabelled samples of a step for each labelled one")
    seeds: list[int] = Field(min_length=1, description="seeds; one network each")
    compute: ComputeParams = Field(description="where tensors live")


def train_completions(
    manifest: Path,
    splits: Path,
    embeddings: list[Path],
    teachers: Path,
    out: Path,
    params: CompletionParams,
) -> None:
    """Write ``fold_<k>.json``, the masks and the sums of a fold, and ``seed_<s>/<label>/`` with each network.

    ``masks.safetensors`` has an entry a condition, shape (rates, samples, modalities, tokens), 1 where a token is
    present. ``sums.safetensors`` has an entry ``<label>.<seed>.<condition>``, shape (rates, units, ...): what the
    primary metric is computed from, for each unit of the statistics alone. Samples and units are named, in order, in
    the JSON file.

    What the feature stage found absent in time is absent under every mask. The test part is that of samples with every
    modality, as the teacher needs them all.

    Parameters
    ----------
    manifest, splits : Path
        The samples and the folds.
    embeddings : list of Path
        embeddings.npy of every modality; the weights of the encoders lie beside them.
    teachers : Path
        The folder of the teachers of the fold.
    out : Path
        The folder of the fold.
    params : CompletionParams
        What is trained, and on which masks it is tested.
    """
    from safetensors.torch import save_file

    from pkdot.training.fold import Fold, embedding_paths
    from pkdot.training.loop import prepare

    device = prepare(params.compute)
    encoders = {path.parent.name: path.with_name(WEIGHTS) for path in embeddings}
    inputs = [manifest, splits, *embeddings, *encoders.values()]
    inputs += [trained(teachers, seed, name) / OUTPUTS for seed in params.seeds for name in _names(params)]
    inputs += [trained(teachers, seed, TNET) / WEIGHTS for seed in params.seeds]
    name = fold_name(params.fold)
    with job(__name__, out, params, inputs=inputs, record=name) as scratch:
        fold = Fold(manifest, splits, embedding_paths(embeddings), params, device)
        grid = _Grid(fold, params)
        heads = {modality: _head(path) for modality, path in encoders.items()}
        taught = _teachers(grid.fold, teachers, params)
        sums: dict[str, Tensor] = {}
        networks: dict[str, dict] = {}
        temperatures: dict[str, float | None] = {}
        for contender in params.contenders:
            runs = [
                _Run(grid, contender, seed, taught, heads, trained(teachers, seed, TNET) / WEIGHTS)
                for seed in params.seeds
            ]
            networks[contender.label] = {run.seed: run.train() for run in runs}
            temperatures[contender.label] = _temperature(grid.fold, runs)
            for run in runs:
                for condition, found in grid.score(run.model).items():
                    sums[f"{contender.label}.{run.seed}.{condition}"] = found
                run.write(trained(scratch, run.seed, contender.label))
        masks = {key: value.to(device="cpu").byte() for key, value in grid.masks.items()}
        save_file(masks, scratch / f"{name}.{MASKS}")
        save_file(sums, scratch / f"{name}.{SUMS}")
        write_json(scratch / f"{name}.json", {**grid.describe(), "networks": networks, "temperatures": temperatures})


class _Grid:
    """The tokens of a fold, and the masks that all completions share."""

    def __init__(self, fold: Fold, params: CompletionParams) -> None:
        import torch

        from pkdot.presence import present

        self.fold, self.params = fold, params
        self.names = sorted(fold.modalities)
        self.tokens = torch.stack([fold.modalities[name] for name in self.names], dim=1)
        self.given = present(self.tokens)
        self.test = fold.whole(fold.test)
        people = fold.samples.table["group_id"].to_numpy()[self.test]
        self.units, self.unit_of = np.unique(people, return_inverse=True)
        subjects = fold.samples.table["subject_id"].to_numpy()[self.test]
        number, count = number_of(params.fold), self.tokens.shape[2]
        self.masks: dict[str, Tensor] = {}
        for place, (pattern, target) in enumerate(params.conditions):
            rng = np.random.default_rng((params.mask_seed, number, place))
            targeted = members(target, params.prevalent, params.privileged)
            drawn = draw(pattern, targeted, params.rates, subjects, count, params.burst, rng)
            self.masks[Condition(pattern, target).name] = torch.from_numpy(drawn).to(fold.device)

    def validation_masks(self, patterns: list[Trained]) -> Tensor:
        """Return masks of the validation part, shape (looks, samples, M, T); the first one hides nothing."""
        import torch

        rng = np.random.default_rng((self.params.mask_seed, number_of(self.params.fold), len(self.params.conditions)))
        _, modalities, tokens, _ = self.tokens.shape
        count = len(self.fold.validation)
        drawn = training_masks(VALIDATION * count, modalities, tokens, patterns, rng)
        masks = torch.from_numpy(drawn.reshape(VALIDATION, count, modalities, tokens))
        return torch.cat([torch.ones_like(masks[:1]), masks]).to(self.fold.device)

    def predict(self, model: Completion, rows: np.ndarray, masks: Tensor) -> Tensor:
        """Return the logits of samples under several masks each, shape (masks, R, outputs)."""
        import torch

        index = self.fold.index(rows).repeat(len(masks))
        parts = zip(index.split(CHUNK), masks.flatten(0, 1).split(CHUNK), strict=True)
        with torch.no_grad():
            logits = torch.cat([model(self.tokens[few], mask & self.given[few]).logits.float() for few, mask in parts])
        return logits.unflatten(0, (len(masks), -1))

    def score(self, model: Completion) -> dict[str, Tensor]:
        """Return what the primary metric is computed from, for each condition, rate and unit, if any is tested."""
        if not len(self.test):
            return {}
        return {name: self._sums(self.predict(model, self.test, masks)) for name, masks in self.masks.items()}

    def _sums(self, logits: Tensor) -> Tensor:
        """Return sums of predictions, shape (rates, units, ...), from logits (rates, R, outputs)."""
        import torch

        from pkdot.evaluation.sums import confusion_of, moments_of

        task, count = self.fold.task, len(self.units)
        if not task.regression:
            truth, predicted = task.targets[self.test], logits.argmax(dim=2).cpu().numpy()
            tables = [confusion_of(self.unit_of, truth, each, count, task.outputs) for each in predicted]
            return torch.from_numpy(np.stack(tables))
        truth = task.values[self.test]
        tables = []
        for each in logits.cpu():
            values = task.answer.in_units(each.reshape(truth.shape)).numpy()
            there = ~np.isnan(truth)
            unit = np.broadcast_to(self.unit_of[:, None, None], truth.shape[:3])
            columns = [
                moments_of(unit[there[..., i]], values[..., i][there[..., i]], truth[..., i][there[..., i]], count)
                for i in range(truth.shape[-1])
            ]
            tables.append(np.stack(columns, axis=1))
        return torch.from_numpy(np.stack(tables))

    def describe(self) -> dict:
        """Return what the sums and the masks are of."""
        table = self.fold.samples.table
        return {
            "fold": self.params.fold,
            "modalities": self.names,
            "tokens": self.tokens.shape[2],
            "units": [str(name) for name in self.units],
            "samples": [str(name) for name in table["sample_id"].to_numpy()[self.test]],
            "absent_tokens": float(1 - self.given[self.fold.index(self.test)].float().mean())
            if len(self.test)
            else 0.0,
            "left_out": self.fold.untested,
            "answer": self.fold.task.answer.plain(),
        }


@dataclass(frozen=True)
class _Taught:
    """Outputs of the frozen teachers on every sample: predictions are the mean of all seeds, features those of each.

    ``logits`` and ``features`` are those of the joint teacher; ``pooled`` is what it and the teachers of single
    modalities predict together.
    """

    logits: Tensor
    pooled: Tensor
    features: dict[int, Tensor]


def _names(params: CompletionParams) -> list[str]:
    """Return the names of the teachers that completions learn from, the joint one first."""
    return [UPPER_BOUND, *(teacher_of(modality) for modality in (*params.prevalent, *params.privileged))]


def _teachers(fold: Fold, folder: Path, params: CompletionParams) -> _Taught:
    from safetensors.torch import load_file

    from pkdot.training.student import pooled

    found = {
        seed: [load_file(trained(folder, seed, name) / OUTPUTS, device=str(fold.device)) for name in _names(params)]
        for seed in params.seeds
    }
    return _Taught(
        fold.task.average([joint["logits"] for joint, *_ in found.values()]),
        fold.task.average([pooled([one["logits"] for one in teachers], fold) for teachers in found.values()]),
        {seed: joint["features"] for seed, (joint, *_) in found.items()},
    )


def _head(weights: Path) -> nn.Linear:
    from pkdot.networks import linear
    from pkdot.training.encoder import head_of

    return linear(*head_of(weights))


def _temperature(fold: Fold, runs: list[_Run]) -> float | None:
    """Return the temperature of the mean predictions of all seeds under the validation masks; None for a regression."""
    from torch.nn.functional import cross_entropy

    if fold.task.regression:
        return None
    looks = [run.looked_at() for run in runs]
    logits, target = fold.task.average([each for each, _ in looks]), looks[0][1]
    return best_temperature(logits, lambda scaled: cross_entropy(scaled, target))


class _Run:
    """One training: a contender and a seed."""

    def __init__(
        self, grid: _Grid, contender: Contender, seed: int, taught: _Taught, heads: dict[str, nn.Linear], tnet: Path
    ) -> None:
        import torch
        from safetensors.torch import load_file

        from pkdot.missing.base import Beginning, build_completion
        from pkdot.training.loop import seed_of

        self.grid, self.contender, self.seed, self.taught = grid, contender, seed, taught
        fold, params = grid.fold, grid.params
        self.start = seed_of(seed, number_of(params.fold), 20)  # the same for all: equal batches and masks
        tokens, width = grid.tokens.shape[2:]
        shape = described(contender.completion, grid.names, params.prevalent, width, tokens, params.dim, params.tnet)
        torch.manual_seed(self.start)
        model = build_completion(shape, fold.task.answer)
        index = fold.index(fold.whole(fold.train))
        model.begin(
            Beginning(
                fold.task,
                grid.tokens[index].cpu(),
                fold.target(index).cpu(),
                heads,
                load_file(tnet),
            )
        )
        model.learn(fold.task)
        self.model = model.to(fold.device)
        self.rows = fold.train if self.model.masked else fold.whole(fold.train)
        self.looks = grid.validation_masks(contender.patterns)

    def train(self) -> dict:
        """Train; return which step was kept and how good it is on the validation part."""
        from pkdot.networks import parameter_count
        from pkdot.training.loop import Beside, best_of, fit

        fold, params = self.grid.fold, self.grid.params
        print(f"{self.contender.label}, seed {self.seed}", file=sys.stderr, flush=True)
        unlabelled = not self.model.labelled_only and len(fold.unlabelled)
        beside = [Beside(fold.unlabelled, params.unlabelled_ratio)] if unlabelled else []
        self.history = fit(
            self.model,
            self._step,
            self._score,
            self.rows,
            params.training,
            self.start,
            fold.device,
            start=True,
            beside=beside,
        )
        self.model.eval()
        best = best_of(self.history) or {}
        return {
            "step": best["step"],
            "score": best["score"],
            "loss": best["val_loss"],
            "parameters": parameter_count(self.model),
            "imputes": self.model.imputes,
        }

    def _step(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        import torch

        fold, tokens = self.grid.fold, self.grid.tokens
        index = fold.index(rows)
        present = torch.ones(len(rows), *tokens.shape[1:3], dtype=torch.bool)
        if self.model.masked:
            rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
            drawn = training_masks(len(rows), tokens.shape[1], tokens.shape[2], self.contender.patterns, rng)
            present = torch.from_numpy(drawn)
        present = present.to(fold.device) & self.grid.given[index]
        outputs = self.model(tokens[index], present).with_target(fold.target(index), fold.numbers(index))
        return self.model.loss(outputs, self._teacher(index), present)

    def _teacher(self, index: Tensor) -> Outputs:
        from pkdot.networks import Outputs

        taught = self.taught
        logits, features, pooled = (
            each[index].flatten(0, 1) for each in (taught.logits, taught.features[self.seed], taught.pooled)
        )
        return Outputs(logits, features, pooled=pooled)

    def looked_at(self) -> tuple[Tensor, Tensor]:
        """Return the logits of the validation part under all of its masks, and its targets."""
        fold = self.grid.fold
        logits = self.grid.predict(self.model, fold.validation, self.looks).flatten(0, 1)
        target = fold.target(fold.index(fold.validation))
        return logits, target.repeat(len(self.looks), *(1 for _ in target.shape[1:]))

    def _score(self) -> tuple[float, float]:
        fold, (logits, target) = self.grid.fold, self.looked_at()
        return fold.task.score(logits, target), float(fold.task.loss(logits, target))

    def write(self, folder: Path) -> None:
        """Write the network, in the form of a student of the contest, and its history."""
        import pandas as pd
        from safetensors.torch import save_file

        from pkdot.missing.base import CompletionStudent
        from pkdot.networks import StudentNetwork

        folder.mkdir(parents=True)
        network = StudentNetwork({}, CompletionStudent(self.model), self.grid.names)
        save_file({key: value.cpu().contiguous() for key, value in network.state_dict().items()}, folder / WEIGHTS)
        write_json(folder / NETWORK, network.describe().plain())
        pd.DataFrame(self.history).to_csv(folder / HISTORY, index=False)
