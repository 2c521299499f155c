"""The model card of a bundle, card.md: what it was trained on, how good it is, and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.evaluation.calibration import calibration_error, softened, temperature_of_subjects
from pkdot.evaluation.metrics import Metrics, label_of
from pkdot.files import read_json
from pkdot.inference.bundle import BundleDescription
from pkdot.layout import PREDICTIONS
from pkdot.splits import SplitParams
from pkdot.tables import read_parts

USE = """\
It is a research model. It may be used to study the method, and to compare with other models, on recordings like those
that it was trained on: the same kind of people, task, camera or sensor. Its numbers say which label such a
recording would most likely have got in those data; they do not say what a person feels.

It must not be used

- to diagnose or treat anyone, to give or withhold medication, or in any other decision about a person's health;
- to judge people at work, at school, at borders, in court, for insurance or for credit, or to watch them without their
  consent;
- on children, on people who cannot speak, or on anyone unlike the subjects of the data, without a study of its own;
- as the only source of any decision."""


@dataclass(frozen=True)
class Evidence:
    """What the cross-validation says of the method of a bundle.

    Attributes
    ----------
    rows : list of dict
        Of summary.json: the means of single networks with intervals, a row a metric.
    baseline : dict
        The name of the strongest method without privileged data, and its row of the primary metric.
    seeds : list of int
        Seeds of the networks of each fold.
    together : dict of str to float
        The metrics of the mean predictions of all seeds.
    by_subject : ndarray, shape (subjects,)
        The primary metric of the mean predictions for each test subject.
    temperature : float
        What the logits of the mean predictions are to be divided by for test subjects; 1 for values.
    errors : tuple of float, or None
        Calibration error of the mean predictions: before, and after each subject got the temperature that all others
        give; None for values.
    tnet : dict or None
        What T-Net recovers of the privileged embeddings of test subjects, mean over folds and seeds.
    """

    rows: list[dict]
    baseline: dict
    seeds: list[int]
    together: dict[str, float]
    by_subject: np.ndarray
    temperature: float
    errors: tuple[float, float] | None
    tnet: dict[str, float] | None

    @classmethod
    def read(
        cls,
        summary: Path,
        metrics: list[Path],
        samples: Samples,
        seeds: list[int],
        method: str,
        kind: str,
    ) -> Evidence:
        """Read it from the results of the folds.

        Parameters
        ----------
        summary : Path
            summary.json; the predictions of all folds lie beside it.
        metrics : list of Path
            metrics.json of the students of all folds and seeds.
        samples : Samples
            The manifest.
        seeds : list of int
            Seeds of the students.
        method : str
            The method.
        kind : str
            The kind of task.
        """
        said, classes = read_json(summary), samples.classes
        predictions = summary.with_name(PREDICTIONS)
        subjects = sorted({name for part in read_parts(predictions, ["subject_id"], method) for name in part.squeeze()})
        scored = Metrics(_together(predictions, method, seeds, classes), subjects, kind, classes)
        temperature, errors = 1.0, None
        if classes:
            temperature, errors = _calibrated(_together(predictions, method, seeds, classes), classes)
        best = said["baseline"]["method"]
        primary = {row["method"]: row for row in said["rows"] if row["metric"] == said["primary_metric"]}
        return cls(
            rows=[row for row in said["rows"] if row["method"] == method],
            baseline={"method": best, "row": primary[best]},
            seeds=seeds,
            together=scored.all(),
            by_subject=scored.by_subject(),
            temperature=temperature,
            errors=errors,
            tnet=_recovered([read_json(path) for path in metrics]),
        )


def _together(predictions: Path, method: str, seeds: list[int], classes: list[str] | None) -> Iterator[pd.DataFrame]:
    """Yield the mean predictions of the students of all seeds, part by part: the seeds have the same rows in order."""
    for parts in zip(*(read_parts(predictions, None, method, seed) for seed in seeds), strict=True):
        table = parts[0].copy()
        if any(list(part["sample_id"]) != list(table["sample_id"]) for part in parts[1:]):
            raise DataError(
                f"{predictions}: the seeds of '{method}' predict different samples. Delete it and run again."
            )
        scores = [name for name in table if name.startswith("score_")]
        columns = scores or ["prediction"]
        table[columns] = np.mean([part[columns].to_numpy() for part in parts], axis=0)
        if scores:
            table["prediction"] = pd.Categorical.from_codes(table[scores].to_numpy().argmax(axis=1), classes)
        yield table


def _calibrated(tables: Iterable[pd.DataFrame], classes: list[str]) -> tuple[float, tuple[float, float]]:
    """Return the temperature that test subjects give, and the calibration error without it and with that of others."""
    table = pd.concat(list(tables), ignore_index=True)
    probabilities = table.filter(like="score_").to_numpy()
    truth = pd.Categorical(table["target"], categories=classes).codes
    fitted = temperature_of_subjects(probabilities, truth, table["subject_id"].astype(str).to_numpy())
    scaled = softened(probabilities, fitted.of_others)
    return fitted.value, (calibration_error(probabilities, truth), calibration_error(scaled, truth))


def _recovered(metrics: list[dict]) -> dict[str, float] | None:
    """Return the means of what the T-Nets of students recover; None where they have none."""
    found = [one["tnet"]["deployed"] for one in metrics if "tnet" in one]
    known = {name: [one[name] for one in found if one[name] is not None] for name in (found[0] if found else ())}
    return {name: float(np.mean(values)) for name, values in known.items() if values} or None


def card(described: BundleDescription, about: dict[str, Any], splits: SplitParams, evidence: Evidence) -> str:
    """Return the text of card.md."""
    figures = {
        "How good it is": _figures(described, splits, evidence),
        "How it varies between people": _spread(evidence),
        "How sure it may be": _calibration(described, evidence),
        "T-Net": _tnet(described, evidence),
    }
    return card_of(described, about, figures)


def card_of(described: BundleDescription, about: dict[str, Any], figures: dict[str, str]) -> str:
    """Return the text of a card: what every bundle says of itself, around sections on how good it is."""
    sections = {
        "What it does": _task(described),
        "Data": _data(described, about),
        **figures,
        "Use": USE,
        "How it was made": _making(described),
    }
    head = f"# {_text(described.experiment)}: a student trained by {_text(described.method)}\n"
    if described.simulated:
        head += (
            "\n> **SIMULATED.** It was trained on stand-in data that the project draws itself. Its predictions of real "
            "recordings mean nothing; it shows that the path from raw files to predictions works.\n"
        )
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items() if text)


def _text(value: str) -> str:
    """Return a name from the data with nothing in it that Markdown or HTML would take for its own."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|&~])", r"\\\1", " ".join(str(value).split()))


def _task(described: BundleDescription) -> str:
    answer = described.answer
    streams = " and ".join(f"{_text(name)} ({_text(one.source)})" for name, one in described.modalities.items())
    said = f"From {streams} it predicts "
    if answer.classes:
        order = "ordered classes" if answer.kind == "ordinal" else "classes"
        return f"{said}{_text(answer.targets[0])}: a probability of each of the {order} {_list(answer.classes)}."
    values = []
    for name in answer.targets:
        low, high = described.ranges[name]
        unit = f" {_text(described.units[name])}" if described.units.get(name) else ""
        values.append(f"{_text(name)} (from {low:.3g} to {high:.3g}{unit} in training)")
    return f"{said}{' and '.join(values)}, {'for every frame' if answer.sequence else 'one value a sample'}."


def _list(names: list[str]) -> str:
    return ", ".join(map(_text, names))


def _data(described: BundleDescription, about: dict[str, Any]) -> str:
    subjects = described.subjects
    licence = _text(about.get("licence") or "not stated; ask the owners of the data")
    if described.simulated:
        licence = f"that of this project, which drew them; the real data are {licence}"
    unlabelled = (
        f"{described.unlabelled:,} samples without a label took part in the training."
        if described.unlabelled
        else "No sample without a label took part in the training."
    )
    return (
        f"{_text(described.title)}: {about['samples']:,} samples of {about['subjects']:,} subjects. "
        f"{subjects['train']:,} of them were trained on; {subjects['validation']:,} chose when to "
        f"stop. {unlabelled}\n\nLicence of the data: {licence}. What it says of models that were trained on "
        "the data holds for this one."
    )


def _figures(described: BundleDescription, splits: SplitParams, evidence: Evidence) -> str:
    """Return the table of metrics, and what it is an estimate of."""
    count = len(evidence.seeds)
    single = f"mean of {count} single networks" if count > 1 else "one network"
    lines = [
        "Nobody has tested this very network: it was trained on all subjects. The figures are those of the same "
        f"method, cross-validated: {_protocol(splits)}. They are the estimate for this network, which saw more "
        f"subjects than those of the folds{' and averages its seeds' if len(described.seeds) > 1 else ''}.",
        "",
        f"| metric | {single} | 95 % interval over subjects | average of the networks |",
        "|---|---|---|---|",
    ]
    for row in evidence.rows:
        between = "–" if row["ci_low"] is None else f"{_number(row['ci_low'])} to {_number(row['ci_high'])}"
        together = _number(evidence.together.get(row["metric"]))
        lines.append(f"| {_text(label_of(row['metric']))} | {_number(row['mean'])} | {between} | {together} |")
    baseline = evidence.baseline
    if baseline["method"] != described.method:
        mean = _number(baseline["row"]["mean"])
        lines += [
            "",
            f"The strongest method without privileged data, {_text(baseline['method'])}, has {mean} by the first.",
        ]
    return "\n".join(lines)


def _protocol(splits: SplitParams) -> str:
    scheme = splits.scheme.replace("_", " ")
    folds = "one fold" if splits.scheme == "official" else f"{splits.fold_count} folds"
    if splits.scheme == "leave_clips_out":
        return (
            f"{scheme}, {folds}, in which test subjects take part in the training, so that every figure looks too good"
        )
    return (
        f"{scheme}, {folds}; no test subject took part in the training, and {splits.validation_fraction:.0%} of the "
        "training subjects made every choice"
    )


def _spread(evidence: Evidence) -> str:
    values = evidence.by_subject[~np.isnan(evidence.by_subject)]
    if not len(values):
        return ""
    name = _text(label_of(evidence.rows[0]["metric"]))
    low, quarter, middle, three, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return (
        f"The {name} of single test subjects ({len(values):,} of them) lies between {_number(low)} and "
        f"{_number(high)}; half of them between {_number(quarter)} and {_number(three)}, the middle one at "
        f"{_number(middle)}. For a person of whom nothing is known, expect this spread and not the mean."
    )


def _calibration(described: BundleDescription, evidence: Evidence) -> str:
    if evidence.errors is None:
        return ""
    before, after = evidence.errors
    right = "With an error of 0, 80 % of the predictions with a confidence of 0.8 are right."
    error = "the expected calibration error of the average of the networks"
    if described.temperature == 1:
        return (
            "Its probabilities are those of the networks: temperature scaling, fitted on the test predictions of all "
            "subjects but one, did not lower the log loss of the one that was left out. Over the test subjects of all "
            f"folds, {error} is {before:.3f}. {right}"
        )
    return (
        f"Its probabilities are calibrated by temperature scaling (temperature {described.temperature:.3g}), fitted on "
        f"the test predictions of all folds. Over these, {error} was {before:.3f} before it, and {after:.3f} with the "
        f"temperature that all other subjects give. {right}"
    )


def _tnet(described: BundleDescription, evidence: Evidence) -> str:
    if evidence.tnet is None:
        return ""
    share, cosine = (evidence.tnet.get(name) for name in ("explained_variance", "cosine"))
    return (
        "It has a T-Net, which stands in for the privileged modalities. Of the privileged embeddings of test subjects "
        f"it recovered a share of {_number(share)} of the variance (1: all; 0: no more than their mean; below: less), "
        f"with a mean cosine of {_number(cosine)}."
    )


def _making(described: BundleDescription) -> str:
    known = {name: value for name, value in sorted(described.options.items()) if value is not None}
    options = ", ".join(f"{name} {value}" for name, value in known.items()) or "no options"
    packages = ", ".join(f"{name} {version}" for name, version in sorted(described.versions.items()))
    return (
        f"Method {_text(described.method)} ({_text(options)}), {_networks(described)}, code {described.code}. "
        f"Versions: {_text(packages)}."
    )


def _networks(described: BundleDescription) -> str:
    seeds = ", ".join(map(str, described.seeds))
    return f"one network (seed {seeds})" if len(described.seeds) == 1 else f"networks of the seeds {seeds}, averaged"


def _number(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"
