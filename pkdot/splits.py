"""Splits: who is trained on, who makes the choices, who is tested on. No subject is on two sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from pkdot.data import Samples
from pkdot.errors import ConfigError, DataError
from pkdot.files import read_json, write_json
from pkdot.labels import LabelParams, study_of_labels
from pkdot.layout import ALL, SPLITS
from pkdot.provenance import job

FOLDS = 5  # where the configuration says nothing
LEAVE_ONE_OUT = "leave_one_subject_out"
Part = list[str]  # ids of subjects, or of samples
FoldName = Annotated[int, Field(ge=0)] | Literal["all"]  # a number, or all subjects
NUMBER_OF_ALL = 1_000_000  # what seeds are made of in the place of a fold's number
Scheme = Literal["leave_subjects_out", "leave_one_subject_out", "given", "official", "leave_clips_out"]


class SplitParams(LabelParams):
    """Who is trained on, who makes the choices, who is tested on."""

    scheme: Scheme = Field(
        "leave_subjects_out",
        description="leave_subjects_out (k folds), leave_one_subject_out (as many folds as subjects), given "
        "(test_subjects, or the column fold of recordings.csv and how many folds it has), official (the owners' "
        "split), or leave_clips_out (folds over clips, which leak subjects: for comparison only)",
    )
    folds: int | None = Field(
        None, ge=2, description=f"number of folds, {FOLDS} by default; leave_one_subject_out counts the subjects itself"
    )
    test_subjects: list[str] | list[list[str]] = Field(
        [], description="test subjects of the scheme given: a list for one fold, or a list of lists, one a fold"
    )
    validation_fraction: float = Field(
        0.25, gt=0, lt=0.5, description="share of each training part's subjects that make the choices"
    )
    seed: int = Field(0, ge=0, description="seed of the order in which subjects are dealt to folds")

    @model_validator(mode="after")
    def _test_subjects_go_with_given(self) -> SplitParams:
        if self.test_subjects and self.scheme != "given":
            raise ConfigError("splits.test_subjects goes with scheme: given")
        if self.scheme == "given" and bool(self.test_subjects) == (self.folds is not None):
            raise ConfigError(
                "splits.test_subjects goes with scheme: given, which needs them, or else splits.folds, the number of "
                "folds in the column fold of recordings.csv"
            )
        tested = [subject for part in self.test_parts for subject in part]
        if not all(self.test_parts) or len(set(tested)) < len(tested):
            raise ConfigError("splits.test_subjects has a fold without subjects, or a subject twice")
        return self

    @property
    def test_parts(self) -> list[Part]:
        """The test subjects of each fold of the scheme ``given``."""
        lists = [part for part in self.test_subjects if isinstance(part, list)]
        single = [subject for subject in self.test_subjects if isinstance(subject, str)]
        return [*lists, single] if single else lists

    @property
    def fold_count(self) -> int:
        """Number of folds.

        Raises
        ------
        ConfigError
            The subjects of leave_one_subject_out have not been counted, as the data are not there.
        """
        if self.scheme in ("given", "official"):
            return len(self.test_parts) or self.folds or 1
        if self.scheme == LEAVE_ONE_OUT and self.folds is None:
            raise ConfigError(
                "splits.scheme is leave_one_subject_out, but the data are not there yet to count their subjects; "
                "make the data first (the target SIMULATED.md or SOURCE.md in dataset.root), or set splits.folds"
            )
        return self.folds or FOLDS


def make_splits(manifest: Path, out: Path, params: SplitParams) -> None:
    """Write ``splits.json``: the train, validation and test parts of every fold.

    ``unit`` says what the lists hold: ids of subjects, or of samples for ``leave_clips_out``. ``labels`` has an entry a
    fold: ``hidden``, the training samples whose labels are not to be used, and ``wrong``, sample -> another class.
    ``all`` and ``labels_of_all`` are the same of the student that ships: it is tested on nobody.

    Raises
    ------
    DataError
        Too few subjects for the folds, unknown test subjects, or a class that no training part holds.
    """
    samples = Samples.load(manifest)
    by_clip = params.scheme == "leave_clips_out"
    units = _units(samples, by_clip)
    rng = np.random.default_rng(params.seed)
    folds = []
    for test, validation in _test_parts(units, params, rng):
        rest = units[~units.index.isin(test)]
        if by_clip:
            validation = test  # as released: the test fold makes the choices
        elif not validation:
            validation = _validation(rest, params.validation_fraction, rng)
        train = [unit for unit in rest.index if unit not in set(validation)]
        folds.append({"train": sorted(train), "validation": sorted(validation), "test": sorted(test)})
    validation = _validation(units, params.validation_fraction, rng)
    everyone = {"train": sorted(set(units.index) - set(validation)), "validation": sorted(validation), "test": []}
    unit = "sample" if by_clip else "subject"
    _check(folds, everyone, samples, unit, manifest)
    with job(__name__, out, params, inputs=[manifest], record="splits") as scratch:
        write_json(
            scratch / SPLITS,
            {
                "scheme": params.scheme,
                "seed": params.seed,
                "unit": unit,
                "folds": folds,
                "labels": [
                    study_of_labels(samples, fold["train"], unit, params, number) for number, fold in enumerate(folds)
                ],
                "all": everyone,
                "labels_of_all": study_of_labels(samples, everyone["train"], unit, params, NUMBER_OF_ALL),
            },
        )


def _units(samples: Samples, by_clip: bool) -> pd.DataFrame:
    """Return a row for each subject (or sample): its group, its owners' part, and its count of each class."""
    table, unit = samples.table, "sample_id" if by_clip else "subject_id"
    groups = table.groupby("subject_id")["group_id"].nunique()
    if (groups > 1).any():
        raise DataError(f"the manifest has subject '{groups.idxmax()}' in {groups.max()} groups; give it one group_id.")
    units = table.groupby(unit).agg(group=("sample_id" if by_clip else "group_id", "first"))
    if "official" in table:
        units["official"] = table.groupby(unit)["official"].unique()
    if "fold" in table:
        units["fold"] = table.groupby(unit)["fold"].unique()
    if samples.classes:
        classes = table[next(iter(samples.about["targets"]))].where(samples.labelled, "")  # "": without a label
        counts = pd.crosstab(table[unit], classes)
    else:
        counts = table.groupby(unit).size().to_frame("samples")
    return units.join(counts.add_prefix("n_")).sort_index()


def _test_parts(units: pd.DataFrame, params: SplitParams, rng: np.random.Generator) -> list[tuple[Part, Part]]:
    """Return the test part and the validation part of each fold; an empty validation part is still to be drawn."""
    if params.scheme == LEAVE_ONE_OUT:
        return [(part, []) for part in _one_out(units, params.folds)]
    if params.scheme == "given":
        return [(part, []) for part in _given(units, params.test_parts or _own_folds(units, params.fold_count))]
    if params.scheme == "official":
        return [_official(units)]
    if units["group"].nunique() < params.fold_count:
        raise DataError(
            f"splits.folds is {params.fold_count}, but there are {units['group'].nunique()} subjects (or groups that "
            "must stay together). Set splits.folds to fewer, or add subjects."
        )
    return [(part, []) for part in _deal(units, np.ones(params.fold_count), rng)]


def _one_out(units: pd.DataFrame, folds: int | None) -> list[Part]:
    """Return one test part a group; ``folds`` is how many the run was planned with."""
    parts = [list(members.index) for _, members in units.groupby("group")]
    if folds is not None and len(parts) != folds:
        raise DataError(
            f"splits.scheme is leave_one_subject_out with {folds} folds, but the manifest has {len(parts)} subjects "
            "(or groups that must stay together). Remove splits.folds if it is set, and run again."
        )
    return parts


def _own_folds(units: pd.DataFrame, count: int) -> list[Part]:
    """Return the subjects of each fold that the list of recordings names; those without one are never tested."""
    if "fold" not in units:
        raise DataError(
            "splits.scheme is given and splits.test_subjects is empty, but recordings.csv has no column fold; add one."
        )
    torn = units["fold"].map(len) > 1
    if torn.any():
        raise DataError(
            f"recordings.csv has the subject '{torn.idxmax()}' in the folds "
            f"{' and '.join(map(repr, sorted(units.loc[torn.idxmax(), 'fold'])))}; give it one."
        )
    fold = units["fold"].str[0]
    names = sorted(set(fold) - {""}, key=lambda name: (len(name), name))
    if len(names) != count:
        raise DataError(
            f"splits.folds is {count}, but the column fold of recordings.csv has {len(names)}; set it to {len(names)}."
        )
    return [list(units.index[fold == name]) for name in names]


def _given(units: pd.DataFrame, wanted: list[Part]) -> list[Part]:
    """Return the test parts that the configuration names, each with all members of its groups."""
    unknown = {subject for part in wanted for subject in part} - set(units.index)
    if unknown:
        raise DataError(
            f"splits.test_subjects names {sorted(unknown)[0]!r}, which the manifest does not have; remove it."
        )
    parts = [list(units.index[units["group"].isin(set(units.loc[part, "group"]))]) for part in wanted]
    tested = [subject for part in parts for subject in part]
    twice = [subject for subject in tested if tested.count(subject) > 1]
    if twice:
        raise DataError(
            f"splits.scheme is given, and there are two folds with the group of {twice[0]!r}, which must stay "
            "together; test all its members in one fold."
        )
    return parts


def _official(units: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the owners' test and validation parts; their validation part is tested where the test part is secret."""
    if "official" not in units:
        raise DataError("splits.scheme is official, but this data set has no owners' split; choose leave_subjects_out.")
    torn = units.groupby("group")["official"].agg(lambda parts: parts.explode().nunique() > 1)
    if torn.any():
        raise DataError(
            f"splits.scheme is official, but the owners have '{torn.index[torn][0]}' in two of their parts, and it "
            "must stay together; choose leave_subjects_out."
        )
    test, validation = (list(units.index[units["official"].str[0] == part]) for part in ("test", "validation"))
    if not test and not validation:
        raise DataError("splits.scheme is official, but every sample lies in the owners' training part.")
    return (test, validation) if test else (validation, [])


def _validation(rest: pd.DataFrame, fraction: float, rng: np.random.Generator) -> list[str]:
    """Draw the share of a fold's training part that makes the choices, balanced in classes."""
    if (count := rest["group"].nunique()) < 2:
        raise DataError(
            f"the training part of a fold has {'one' if count else 'no'} subject (or group that must stay together), "
            "but it takes one to train on and one to make the choices. Add subjects, or test on fewer."
        )
    return _deal(rest, np.array([fraction, 1 - fraction]), rng)[0]


def _deal(units: pd.DataFrame, shares: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """Deal groups to parts of the given shares, the largest first, each to where it meets the fewest of its classes.

    No part is left empty while there are as many groups: an empty one is always among the cheapest, and first.
    """
    counts = [column for column in units if column.startswith("n_")]
    groups = units.groupby("group")[counts].sum()
    sizes = groups.to_numpy(dtype=float)
    order = rng.permutation(len(groups))
    order = order[np.argsort(-sizes.sum(axis=1)[order], kind="stable")]
    load = np.zeros((len(shares), len(counts)))
    members: list[list[str]] = [[] for _ in shares]
    for group in order:
        cost = load @ sizes[group] / shares
        best = min(range(len(shares)), key=lambda part: (cost[part], len(members[part]) / shares[part]))
        load[best] += sizes[group]
        members[best].append(groups.index[group])
    return [list(units.index[units["group"].isin(part)]) for part in members]


def _check(
    folds: list[dict[str, Part]], everyone: dict[str, Part], samples: Samples, unit: str, manifest: Path
) -> None:
    """Refuse an empty part, and a training part without samples of a class."""
    target = next(iter(samples.about["targets"]))
    named: list[tuple[FoldName, dict[str, Part]]] = [*enumerate(folds), (ALL, everyone)]
    for number, fold in named:
        for part in parts_of(number):
            rows = samples.rows(fold[part], unit)
            if not len(rows):
                raise DataError(
                    f"{manifest}: the {part} part of fold {number} is empty; use fewer folds or more subjects."
                )
            rows = rows[samples.labelled[rows]]
            if not len(rows):
                raise DataError(
                    f"{manifest}: the {part} part of fold {number} has no sample with a label; use fewer folds, or "
                    "label more subjects."
                )
            wanted = set(samples.classes or ()) if part == "train" else ()
            missing = wanted and wanted - set(samples.table[target].iloc[rows])
            if missing:
                raise DataError(
                    f"{manifest}: the training part of fold {number} has no sample of class {sorted(missing)[0]}; "
                    "add subjects or remove the class from dataset.classes."
                )


def parts_of(fold: FoldName) -> tuple[str, ...]:
    """Return the names of the parts that a fold must have."""
    return ("train", "validation") if fold == ALL else ("train", "validation", "test")


def number_of(fold: FoldName) -> int:
    """Return the number that stands for a fold in seeds."""
    return NUMBER_OF_ALL if isinstance(fold, str) else fold


@dataclass(frozen=True)
class Parts:
    """The rows of the manifest in one fold.

    Attributes
    ----------
    train, validation, test : ndarray of int
        Samples with a label that may be used.
    unlabelled : ndarray of int
        The training samples without one.
    wrong : dict of int to str
        Training rows that a study of wrong labels gives another class.
    """

    train: np.ndarray
    unlabelled: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    wrong: dict[int, str]

    @classmethod
    def read(cls, splits: Path, name: FoldName, samples: Samples) -> Parts:
        """Read a fold of ``splits.json``."""
        described = read_json(splits)
        if isinstance(name, str):
            fold, labels = described["all"], described["labels_of_all"]
        else:
            fold, labels = described["folds"][name], described["labels"][name]
        hidden = samples.table["sample_id"].isin(set(labels["hidden"])).to_numpy()
        rows = {part: samples.rows(fold[part], described["unit"]) for part in ("train", "validation", "test")}
        usable = {part: own[samples.labelled[own]] for part, own in rows.items()}
        kept = usable["train"][~hidden[usable["train"]]]
        row_of = {sample: row for row, sample in enumerate(samples.table["sample_id"])} if labels["wrong"] else {}
        return cls(
            kept,
            np.setdiff1d(rows["train"], kept),
            usable["validation"],
            usable["test"],
            {row_of[sample]: name for sample, name in labels["wrong"].items()},
        )
