"""The grid of missing modalities: what it holds, and what its sums of all folds say.

A curve is the primary metric over the rates of a condition; its area is the mean height, by the trapezoid rule. All
intervals are over subjects, and all differences are paired by them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from pkdot.data import Samples
from pkdot.errors import ConfigError, DataError
from pkdot.evaluation.completion import Contender, Trained
from pkdot.evaluation.metrics import metric_names, metrics_of
from pkdot.evaluation.summary import ResamplingParams
from pkdot.files import read_json
from pkdot.layout import PREDICTIONS, SUMS, UPPER_BOUND, fold_name
from pkdot.missing.base import CompletionChoice, register
from pkdot.missing.masks import ALL, PATTERNS, PREVALENT, PRIVILEGED, Condition, Pattern
from pkdot.params import Params
from pkdot.seeds import Seeds
from pkdot.tasks import TaskParams
from pkdot.training.loop import TrainingParams

if TYPE_CHECKING:
    from pkdot.evaluation.contest import Contest

MAIN = "any_subset"  # the completion that a page is about, where the configuration names no other
UNLIKE = "unlike"  # the arm of it that is tested on patterns that it was not trained on
TRAINED: list[Trained] = ["independent", "bursts", "whole"]
Rate = Annotated[float, Field(ge=0, le=1)]
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


class MissingSection(Params):
    """Modalities that come and go: results/<experiment>/missing.html."""

    models: list[CompletionChoice] = Field(
        [], description="completions with their options, any_subset among them; empty, or the word all: all of them"
    )
    patterns: list[Pattern] = Field(
        list(PATTERNS),
        min_length=1,
        description="independent (single tokens), bursts (runs of tokens), whole (modalities of a sample), mostly (one "
        "modality at the rate, the others at a fifth of it)",
    )
    rates: list[Rate] = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        min_length=2,
        description="rates of what is missing, from 0 to 1; docs/missing.md defines them exactly",
    )
    burst: int | None = Field(
        None, ge=1, le=65536, description="tokens of a burst; null takes half of those of a sample, and 2 at least"
    )
    unlike: Trained | None = Field(
        "independent",
        description="the one pattern that an arm of any_subset is trained on, and tested on all; null: no such arm",
    )
    seed: int = Field(0, ge=0, description="seed of the masks")
    seeds: Seeds | None = Field(
        None, min_length=1, description="seeds of the networks, of those of the teachers; null takes all of `seeds`"
    )
    training: TrainingParams | None = Field(
        None, description="how completions are trained; null takes the training of the teachers"
    )
    student: str | None = Field(
        None,
        description="the method of the contest that sees what is left without the privileged; null takes pkdot_joint, "
        "pkdot, else the last distilled one",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return [] if value == "all" else value

    @field_validator("models")
    @classmethod
    def _once(cls, value: list[CompletionChoice]) -> list[CompletionChoice]:
        names = [choice.name for choice in value]
        if len(set(names)) < len(names):
            raise ConfigError("a completion is named twice")
        if names and (MAIN not in names or not any(register.load(name).imputes for name in names)):
            raise ConfigError(f"models takes {MAIN} and a completion that imputes, such as zero_imputation")
        return value

    @field_validator("patterns")
    @classmethod
    def _each_once(cls, value: list[Pattern]) -> list[Pattern]:
        if len(set(value)) < len(value):
            raise ConfigError("a pattern is named twice")
        return value

    @field_validator("rates")
    @classmethod
    def _whole_range(cls, value: list[float]) -> list[float]:
        if value != sorted(set(value)) or (value[0], value[-1]) != (0.0, 1.0):
            raise ConfigError("rates rise from 0 to 1, and name no rate twice")
        return value

    @model_validator(mode="after")
    def _whole_pattern(self) -> MissingSection:
        if "whole" not in self.patterns:
            raise ConfigError("patterns takes whole, which says what is left without a modality")
        return self

    def check(self, methods: list[str], seeds: list[int]) -> None:
        """Refuse a student and seeds that the contest does not have.

        Raises
        ------
        ConfigError
            There is no such method, or no teacher of a seed.
        """
        if self.student not in (None, *methods):
            raise ConfigError(f"missing.student is '{self.student}', which is no method of the contest; add it")
        unknown = [seed for seed in self.seeds or [] if seed not in seeds]
        if unknown:
            raise ConfigError(f"missing.seeds has {unknown[0]}, of which there is no teacher; add it to seeds")

    def student_of(self, methods: list[str], prevalent_only: list[str]) -> str:
        """Return the method of the contest that sees what is left without the privileged modalities."""
        distilled = [name for name in methods if name not in prevalent_only]
        own = next((name for name in ("pkdot_joint", "pkdot") if name in distilled), None)
        return self.student or own or [*methods, *distilled][-1]

    def contenders(self, regression: bool) -> list[Contender]:
        """Return the lines of the grid; a regression has none of a completion that needs classes."""
        known = {choice.name: choice for choice in self.models}
        names = list(known) or sorted(register.names(), key=lambda name: (name != MAIN, name))
        names = [name for name in names if not (regression and "classes" in register.load(name).needs)]
        lines = [(name, known.get(name, CompletionChoice(name=name)), TRAINED) for name in names]
        if self.unlike:
            lines.insert(1, (f"{MAIN}_{UNLIKE}", known.get(MAIN, CompletionChoice(name=MAIN)), [self.unlike]))
        return [Contender(label=label, completion=choice, patterns=patterns) for label, choice, patterns in lines]


class GridParams(Params):
    """What is asked of the grid."""

    experiment: str = Field(description="name of the experiment")
    task: TaskParams = Field(description="what is predicted")
    contenders: list[str] = Field(min_length=2, description="labels of the completions and arms")
    prevalent: list[str] = Field(min_length=1, description="prevalent modalities")
    privileged: list[str] = Field(min_length=1, description="privileged modalities")
    conditions: list[tuple[Pattern, str]] = Field(min_length=1, description="pattern and target of each condition")
    rates: list[float] = Field(min_length=2, description="rates of every condition")
    burst: int = Field(ge=1, description="tokens of a burst")
    unlike: Trained | None = Field(description="the pattern that the arm is trained on")
    student: str = Field(description="the student that sees the prevalent modalities alone")
    contest_seeds: list[int] = Field(min_length=1, description="seeds of teachers and students in the contest")
    seeds: list[int] = Field(min_length=1, description="seeds of the completions")
    evaluation: ResamplingParams = Field(description="how intervals are made")


def numbers_of(manifest: Path, grid: list[Path], folds: list[Path], params: GridParams) -> dict:
    """Return the content of ``missing.json``.

    Parameters
    ----------
    manifest : Path
        The manifest.
    grid : list of Path
        ``missing/fold_<k>/fold_<k>.json`` of every fold; the sums lie beside them.
    folds : list of Path
        ``folds/fold_<k>.json`` of the contest; the predictions lie beside them.
    params : GridParams
        What is asked.

    Raises
    ------
    DataError
        The contest was scored on other samples than the grid.
    """
    from pkdot.evaluation.contest import Contest

    samples = Samples.load(manifest)
    metric = metric_names(params.task.kind, list(samples.about["targets"]))[0]
    described = [read_json(path) for path in grid]
    sums, counts = _Sums(grid, described, params, metric), [len(each["samples"]) for each in described]
    runs: dict[str, list[Any]] = {
        _key(label, *condition): sums.areas(label, Condition(*condition).name)
        for label in params.contenders
        for condition in params.conditions
    }
    runs |= {
        _left(label, kind): sums.at(label, *place) for label in params.contenders for kind, place in _places(params)
    }
    contestants = {UPPER_BOUND: UPPER_BOUND, params.student: params.student}
    runs |= {name: _of_contest(name, folds, described, sums, samples, params) for name in contestants}
    contest = Contest(runs, len(sums.units), params.evaluation.bootstrap, params.evaluation.seed)
    networks = _networks(described, params)
    best, rival = _best(networks, metric, imputing=True), _best(networks, metric, imputing=False)
    return {
        "experiment": params.experiment,
        "title": samples.about["title"],
        "simulated": samples.about["simulated"],
        "primary_metric": metric,
        "subjects": len(sums.units),
        "grouped": samples.table["group_id"].nunique() < samples.table["subject_id"].nunique(),
        "samples": sum(counts),
        "absent_tokens": float(np.average([each["absent_tokens"] for each in described], weights=counts)),
        "left_out": sum(each["left_out"] for each in described),
        "modalities": described[0]["modalities"],
        "tokens": described[0]["tokens"],
        "prevalent": params.prevalent,
        "privileged": params.privileged,
        "rates": params.rates,
        "burst": params.burst,
        "unlike": params.unlike,
        "seeds": params.seeds,
        "contenders": params.contenders,
        "main": MAIN,
        "best_imputation": best,
        "best_rival": rival,
        "networks": networks,
        "left": {kind: _left_over(contest, kind, metric, params) for kind, _ in _places(params)},
        "conditions": [
            _condition(contest, sums, condition, (best, rival), metric, params) for condition in params.conditions
        ],
    }


def _key(label: str, pattern: str, target: str) -> str:
    return f"area of {label} under {pattern} of {target}"


def _left(label: str, kind: str) -> str:
    return f"{label} with {kind}"


def _places(params: GridParams) -> list[tuple[str, tuple[str, float]]]:
    """Return the cases that have a name -> the condition and the rate at which the grid has them."""
    privileged = PRIVILEGED if len(params.privileged) > 1 else params.privileged[0]
    prevalent = PREVALENT if len(params.prevalent) > 1 else params.prevalent[0]
    return [
        ("everything", (Condition("whole", ALL).name, 0.0)),
        ("no privileged", (Condition("whole", privileged).name, 1.0)),
        ("no prevalent", (Condition("whole", prevalent).name, 1.0)),
        ("nothing", (Condition("whole", ALL).name, 1.0)),
    ]


class _Sums:
    """The sums of all folds, and the metric of any weighting of the units."""

    def __init__(self, grid: list[Path], described: list[dict], params: GridParams, metric: str) -> None:
        from safetensors.numpy import load_file

        self.params, self.metric = params, metric
        files = [load_file(path.with_name(f"{path.stem}.{SUMS}")) for path in grid]
        self.units = [unit for each in described for unit in each["units"]]
        self.sums = {name: np.concatenate([each[name] for each in files], axis=1) for name in files[0]}

    def value(self, sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the metric from sums (units, ...) for weightings (R, units), shape (R,)."""
        from pkdot.evaluation.sums import ClassTotals

        primary = metrics_of(self.params.task.kind)[0]
        totals = np.tensordot(weights, sums, axes=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.params.task.kind != "regression":
                return primary.value(ClassTotals(totals, [], []))
            return np.mean([primary.value(totals[:, i]) for i in range(totals.shape[1])], axis=0)

    def areas(self, label: str, condition: str) -> list[Run]:
        """Return, for each seed, what gives the area under a curve."""

        def area(sums: np.ndarray) -> Run:
            def run(weights: np.ndarray) -> dict[str, np.ndarray]:
                heights = np.stack([self.value(each, weights) for each in sums])
                return {self.metric: np.trapezoid(heights, self.params.rates, axis=0)}

            return run

        return [area(self.sums[f"{label}.{seed}.{condition}"]) for seed in self.params.seeds]

    def at(self, label: str, condition: str, rate: float) -> list[Run]:
        """Return, for each seed, what gives the metric at a rate of a condition."""
        place = self.params.rates.index(rate)
        return [self.run(self.sums[f"{label}.{seed}.{condition}"][place]) for seed in self.params.seeds]

    def run(self, sums: np.ndarray) -> Run:
        """Return what gives the metric of some sums."""
        return lambda weights: {self.metric: self.value(sums, weights)}

    def curve(self, label: str, condition: str) -> list[float]:
        """Return the mean metric over seeds at each rate."""
        everyone = np.ones((1, len(self.units)))
        seeds = [self.sums[f"{label}.{seed}.{condition}"] for seed in self.params.seeds]
        return [
            float(np.mean([self.value(sums[place], everyone)[0] for sums in seeds]))
            for place in range(len(self.params.rates))
        ]


def _of_contest(
    name: str, folds: list[Path], described: list[dict], sums: _Sums, samples: Samples, params: GridParams
) -> list[Run]:
    """Return the metric of a teacher or a student of the contest, for each of its seeds."""
    found: dict[int, list[np.ndarray]] = {seed: [] for seed in params.contest_seeds}
    contest = {path.stem: path for path in folds}
    for grid in described:
        path = contest[fold_name(grid["fold"])]
        for seed in params.contest_seeds:
            table = _predictions(path, name, seed)
            if set(table["sample_id"]) != set(grid["samples"]):
                raise DataError(
                    f"{path}: the contest has {table['sample_id'].nunique()} samples of this fold, and the grid of "
                    f"missing modalities {len(grid['samples'])}; run both again on the same data."
                )
            found[seed].append(_table_sums(table, grid["units"], samples))
    return [sums.run(np.concatenate(parts)) for parts in found.values()]


def _predictions(path: Path, name: str, seed: int) -> Any:
    import pandas as pd

    from pkdot.tables import read_parts

    return pd.concat(read_parts(path.with_name(f"{path.stem}.{PREDICTIONS}"), method=name, seed=seed))


def _table_sums(table: Any, units: list[str], samples: Samples) -> np.ndarray:
    """Return the sums of a table of predictions for some units, as the grid has them."""
    from pkdot.evaluation.sums import ClassSums, MomentSums

    if samples.classes:
        return ClassSums([table], units, samples.classes, "group_id").confusion
    moments = MomentSums([table], units, "group_id").moments
    return np.stack([moments[name] for name in samples.about["targets"]], axis=1)


def _networks(described: list[dict], params: GridParams) -> list[dict]:
    """Return what is known of each completion beside its curves: means over folds and seeds."""
    lines = []
    for label in params.contenders:
        runs = [each["networks"][label][str(seed)] for each in described for seed in params.seeds]
        means = {key: float(np.mean([run[key] for run in runs])) for key in ("step", "score", "loss")}
        lines.append({"label": label, **means, "parameters": runs[0]["parameters"], "imputes": runs[0]["imputes"]})
    return lines


def _best(networks: list[dict], metric: str, imputing: bool) -> str:
    """Return the rival with the best mean validation score; of those that impute, or of all."""
    rivals = [each for each in networks if not each["label"].startswith(MAIN) and (each["imputes"] or not imputing)]
    best: str = max(rivals, key=lambda each: (each["score"], -each["loss"]))["label"]
    return best


def _left_over(contest: Contest, kind: str, metric: str, params: GridParams) -> dict:
    """Return what each completion reaches in a case that has a name, and what it is compared with."""
    reference = {"everything": UPPER_BOUND, "no privileged": params.student}.get(kind, _left(MAIN, "nothing"))
    found: dict[str, Any] = {
        "reference": None if reference.startswith(MAIN) else reference,
        "rows": [_named(contest.row(_left(label, kind), metric, reference), label) for label in params.contenders],
    }
    if found["reference"]:
        found["rows"].append(_named(contest.row(reference, metric, reference), reference))
    if kind != "nothing":
        found["against"] = compared(contest, _left(MAIN, kind), reference, metric)
    return found


def _named(row: dict, label: str) -> dict:
    return {**row, "method": label}


def _condition(
    contest: Contest,
    sums: _Sums,
    condition: tuple[Pattern, str],
    rivals: tuple[str, str],
    metric: str,
    params: GridParams,
) -> dict:
    """Return the curves of a condition, the area under each, and how the main one differs from its rivals."""
    pattern, target = condition
    main = _key(MAIN, pattern, target)
    name = Condition(*condition).name
    areas = [_named(contest.row(_key(label, pattern, target), metric, main), label) for label in params.contenders]
    return {
        "pattern": pattern,
        "target": target,
        "curves": {label: sums.curve(label, name) for label in params.contenders},
        "areas": areas,
        "against_imputation": compared(contest, main, _key(rivals[0], pattern, target), metric),
        "against_rival": compared(contest, main, _key(rivals[1], pattern, target), metric),
    }


def compared(contest: Contest, method: str, reference: str, metric: str) -> dict:
    """Return the difference of two lines with its interval, its standard error, and whether it is shown."""
    found = contest.shown(method, reference, metric)
    spread = found["deviation"]
    return {**found, "se": None if spread is None else spread / float(np.sqrt(contest.subjects))}
