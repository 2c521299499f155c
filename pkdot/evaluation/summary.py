"""The stage of all folds: the baseline, means with intervals, and the contrasts that were declared beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pkdot import layout
from pkdot.data import Samples
from pkdot.errors import ConfigError
from pkdot.files import read_json, write_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.tasks import TaskParams

if TYPE_CHECKING:
    import pandas as pd

    from pkdot.evaluation.contest import Contest
    from pkdot.evaluation.metrics import Metrics

# The question of the project: each of its own methods against the rivals that it must beat.
RIVALS = {"pkdot": ("tnet_only", "kd", "feature_mse"), "pkdot_joint": ("kd", "pkdot")}
DECLARED, TEACHERS, GATE = "declared", "teachers", "gate"  # families of contrasts


class ResamplingParams(Params):
    """Parameters of intervals and tests."""

    bootstrap: int = Field(2000, ge=100, description="resamples of the subjects for the intervals")
    seed: int = Field(0, ge=0, description="seed of the resamples and of the permutation tests")


class EvaluationParams(ResamplingParams):
    """How the results are tested."""

    contrasts: list[tuple[str, str]] | None = Field(
        None,
        description="pairs [method, reference] that are tested beside each distilled method against the baseline; null "
        "declares pkdot against tnet_only, kd and feature_mse, and pkdot_joint against kd and pkdot",
    )
    foreign: dict[str, str] = Field(
        {},
        description="models from elsewhere: a name for the report -> the file of their predictions, see "
        "docs/foreign-models.md; each is one more row, tested against the baseline among the declared contrasts",
    )
    ablation_reference: str = Field("released", description="the variant that every other one is tested against")

    def declared(self, methods: list[str]) -> list[tuple[str, str]]:
        """Return the pairs of methods to be tested beside the comparisons with the baseline."""
        if self.contrasts is not None:
            return self.contrasts
        pairs = [(own, rival) for own, rivals in RIVALS.items() for rival in rivals]
        return [pair for pair in pairs if set(pair) <= set(methods)]

    def check(self, methods: list[str], variants: list[str]) -> None:
        """Refuse names that do not take part.

        Parameters
        ----------
        methods : list of str
            The methods of the contest.
        variants : list of str
            The variants of the ablation.

        Raises
        ------
        ConfigError
            A contrast names a method that does not take part or one method twice, or the reference is no variant.
        """
        for pair in self.contrasts or ():
            for name in pair:
                if name not in methods:
                    raise ConfigError(
                        f"evaluation.contrasts names '{name}', but students.methods has no such method; add it there, "
                        "or remove the contrast"
                    )
            if pair[0] == pair[1]:
                raise ConfigError(f"evaluation.contrasts compares '{pair[0]}' with itself; remove that pair")
        if variants and self.ablation_reference not in variants:
            raise ConfigError(
                f"evaluation.ablation_reference is '{self.ablation_reference}', but the ablation has "
                f"{', '.join(variants)}; name one of these"
            )


class SeedParams(Params):
    """The seeds that the results are conditional on."""

    encoders: int = Field(description="seed of the encoders")
    splits: int = Field(description="seed of the folds")
    networks: list[int] = Field(min_length=1, description="seeds of teachers and students, averaged over")


class SummaryParams(Params):
    """Parameters of the comparison over all folds."""

    experiment: str = Field(description="name of the experiment")
    task: TaskParams = Field(description="what is predicted")
    methods: list[str] = Field(
        description="methods that train students, then models from elsewhere, in the order of the report"
    )
    foreign: list[str] = Field([], description="those of them that are models from elsewhere")
    teachers: list[str] = Field(description="teachers, the one of all modalities first")
    prevalent_teacher: str | None = Field(
        None, description="the teacher that sees the prevalent modalities alone, which the gate compares"
    )
    controls: dict[str, tuple[str, str]] = Field(
        {}, description="label of each control arm -> its method and which control it is"
    )
    prevalent_only: list[str] = Field(
        min_length=1, description="methods that never use privileged data; the strongest is the baseline"
    )
    compared: list[str] = Field(description="methods that are each tested against the baseline")
    contrasts: list[tuple[str, str]] = Field(description="further pairs of method and reference to be tested")
    seeds: SeedParams = Field(description="what the intervals are conditional on")
    evaluation: ResamplingParams = Field(description="how intervals and tests are made")


def summarise(manifest: Path, folds: list[Path], choices: list[Path], out: Path, params: SummaryParams) -> None:
    """Write ``predictions.parquet``, ``metrics.csv`` (fold, seed, method, metric, value) and ``summary.json``.

    ``means.json`` repeats a few means of the summary for `dvc metrics show`.

    Parameters
    ----------
    manifest : Path
        The manifest.
    folds : list of Path
        ``fold_<k>.json`` of every fold; the predictions lie beside them.
    choices : list of Path
        ``students/fold_<k>/<method>.json`` of every fold and of every method that never uses privileged data.
    out : Path
        The folder of the results.
    params : SummaryParams
        The methods and the contrasts.
    """
    from pkdot.tables import TableWriter, copy_parts

    samples = Samples.load(manifest)
    tables = [path.with_name(f"{path.stem}.{layout.PREDICTIONS}") for path in folds]
    with job(__name__, out, params, inputs=[manifest, *folds, *tables, *choices], record="summary") as scratch:
        with TableWriter(scratch / layout.PREDICTIONS) as writer:
            for path in tables:
                copy_parts(path, writer)
        metrics = _tidy([read_json(path) for path in folds])
        metrics.to_csv(scratch / layout.METRICS_TABLE, index=False, lineterminator="\n")
        summary = _summary(tables, metrics, validation_scores(choices), samples, params)
        write_json(scratch / layout.SUMMARY, summary)
        write_json(scratch / layout.MEANS, _means(summary))


def validation_scores(choices: list[Path]) -> dict[str, float]:
    """Return the mean validation score over folds and seeds of the students that each method kept."""
    scores: dict[str, list[float]] = {}
    for path in choices:
        scores.setdefault(path.stem, []).append(kept_score(read_json(path)))
    return {method: sum(found) / len(found) for method, found in scores.items()}


def kept_score(choice: dict) -> float:
    """Return the validation score of the option set that a method chose."""
    kept = next(tried for tried in choice["candidates"] if tried["options"] == choice["chosen"])
    return float(kept["score"])


def _tidy(folds: list[dict]) -> pd.DataFrame:
    """Return the metrics of all folds, a row for each number."""
    import pandas as pd

    rows = [
        (fold["fold"], int(seed), method, metric, value)
        for fold in folds
        for method, seeds in fold["methods"].items()
        for seed, values in seeds.items()
        for metric, value in values.items()
    ]
    table = pd.DataFrame(rows, columns=["fold", "seed", "method", "metric", "value"])
    table = table.sort_values(["fold", "seed", "method", "metric"], ignore_index=True)
    return table.astype({"value": float})


def _summary(
    tables: list[Path], metrics: pd.DataFrame, validation: dict[str, float], samples: Samples, params: SummaryParams
) -> dict:
    """Return the content of ``summary.json``."""
    from pkdot.evaluation.metrics import metric_names
    from pkdot.evaluation.statistics import finite

    names = metric_names(params.task.kind, list(samples.about["targets"]))
    baseline = max(params.prevalent_only, key=validation.__getitem__)  # the first of equal ones
    contest, grouped = _contest(tables, samples, params)
    by_fold = metrics.groupby(["method", "metric", "fold"])["value"].mean()
    errors = by_fold.groupby(["method", "metric"]).sem()
    rows = [
        {**contest.row(method, name, baseline), "se": finite(errors[method, name])}
        for name in names
        for method in (*params.methods, *params.teachers)
    ]
    students = [method for method in params.methods if method != baseline]
    return {
        "experiment": params.experiment,
        "title": samples.about["title"],
        "foreign": params.foreign,
        "simulated": samples.about["simulated"],
        "primary_metric": names[0],
        "grouped": grouped,
        "seeds_note": _seeds_note(params.seeds),
        "baseline": {"method": baseline, "validation": validation},
        "upper_bound": layout.UPPER_BOUND,
        "rows": rows,
        "controls": [
            {"label": label, "method": method, "control": control}
            for label, (method, control) in params.controls.items()
        ],
        "contrasts": _contrasts(contest, baseline, names[0], params),
        "gap_closed": contest.gap_closed(names[0], students, baseline, layout.UPPER_BOUND),
    }


def _contest(tables: list[Path], samples: Samples, params: SummaryParams) -> tuple[Contest, bool]:
    """Return the contest over all folds, and whether some people can only be drawn together."""
    from pkdot.evaluation.contest import Contest

    groups, grouped = units(tables, params)
    runs = {method: runs_of(method, tables, groups, samples, params) for method in (*params.methods, *params.teachers)}
    return Contest(runs, len(groups), params.evaluation.bootstrap, params.evaluation.seed), grouped


def units(tables: list[Path], params: SummaryParams) -> tuple[list[str], bool]:
    """Return the units of all statistics, and whether some of them are several people.

    People of one video are not independent: those who stay together in the splits are one unit.

    Parameters
    ----------
    tables : list of Path
        The predictions of all folds.
    params : SummaryParams
        The seeds.
    """
    from pkdot.tables import read_parts

    people: dict[str, set[str]] = {"group_id": set(), "subject_id": set()}
    for path in tables:
        for part in read_parts(path, list(people), layout.UPPER_BOUND, params.seeds.networks[0]):
            for column, found in people.items():
                found.update(part[column].unique())
    return sorted(people["group_id"]), len(people["group_id"]) < len(people["subject_id"])


def runs_of(
    method: str, tables: list[Path], groups: list[str], samples: Samples, params: SummaryParams, primary: bool = False
) -> list[Metrics]:
    """Return the metrics of a method over these units, or the primary one alone, one entry a seed."""
    from pkdot.evaluation.metrics import Metrics
    from pkdot.tables import read_parts

    return [
        Metrics(
            (part for path in tables for part in read_parts(path, method=method, seed=seed)),
            groups,
            params.task.kind,
            samples.classes,
            unit="group_id",
            primary=primary,
        )
        for seed in params.seeds.networks
    ]


def _contrasts(contest: Contest, baseline: str, primary: str, params: SummaryParams) -> list[dict]:
    """Return all contrasts; Holm's correction is over the declared ones of the primary metric."""
    from pkdot.evaluation.statistics import holm

    pairs = [(method, baseline) for method in params.compared] + params.contrasts
    found = []
    for method, reference in dict.fromkeys(pairs):
        found += contest.contrast(method, reference, DECLARED)
    family = [entry for entry in found if entry["metric"] == primary]
    for entry, corrected in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p_holm"] = corrected
    for teacher in params.teachers:
        found += contest.contrast(teacher, baseline, TEACHERS)
    if params.prevalent_teacher is not None:
        found += contest.contrast(layout.UPPER_BOUND, params.prevalent_teacher, GATE)
    return found


def _seeds_note(seeds: SeedParams) -> str:
    """Return a sentence that says what the intervals and tests are conditional on."""
    networks = ", ".join(map(str, seeds.networks))
    return (
        f"Intervals and tests resample the test subjects. They are conditional on one training of each encoder in each "
        f"fold (seed {seeds.encoders}), on one way to deal subjects to folds (seed {seeds.splits}), and on the seeds "
        f"of teachers and students over which results are averaged ({networks})."
    )


def _means(summary: dict) -> dict[str, float | None]:
    """Return the primary metric of the baseline, the methods of the contest and the upper bound: a narrow table."""
    rows = [row for row in summary["rows"] if row["metric"] == summary["primary_metric"]]
    return {row["method"]: row["mean"] for row in rows}
