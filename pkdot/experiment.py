"""From a configuration file to a checked experiment: the options of all plug-ins, and what they need of one another."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from pkdot.config import IDENTIFIER, Experiment
from pkdot.config_files import read
from pkdot.datasets.base import Dataset, DatasetChoice
from pkdot.datasets.ingest import IngestParams, read_dataset
from pkdot.distillation.base import check_needs
from pkdot.distillation.base import register as methods
from pkdot.errors import ConfigError, DataError
from pkdot.evaluation.missing import MAIN
from pkdot.layout import TNET
from pkdot.params import sentences
from pkdot.registry import choices_of
from pkdot.splits import LEAVE_ONE_OUT


def load(path: Path, manifest: Path | None = None) -> Experiment:
    """Read, validate and return an experiment, the options of all its plug-ins included.

    Parameters
    ----------
    path : Path
        The configuration.
    manifest : Path, optional
        Where leave_one_subject_out counts its subjects if the file is there; by default the data set is read.

    Raises
    ------
    ConfigError
        One sentence for each problem: where it is, what it is, and the closest known key.
    """
    values = read(path)
    try:
        experiment = Experiment(**values)
    except ValidationError as error:
        raise ConfigError(sentences(path, error, Experiment)) from error
    _check(str(path), experiment)
    if experiment.splits.scheme == LEAVE_ONE_OUT and experiment.splits.folds is None:
        experiment = _with_counted_folds(path, experiment, manifest)
    for name in experiment.overrides:
        _check_override(f"{path}: overrides.{name}", experiment, int(name.removeprefix("fold_")))
    return experiment


def require_foreign(path: Path, experiment: Experiment) -> None:
    """Refuse an experiment whose models from elsewhere have no file.

    Snakemake would not: where a rule lacks a file, it takes the rule's earlier outputs for good.

    Parameters
    ----------
    path : Path
        The configuration, which begins the sentence.
    experiment : Experiment
        Its content.

    Raises
    ------
    DataError
        A file is not there.
    """
    for name, file in experiment.evaluation.foreign.items():
        if not Path(file).is_file():
            raise DataError(f"{path}: evaluation.foreign.{name}: {file}: no such file.")


def _with_counted_folds(path: Path, experiment: Experiment, manifest: Path | None) -> Experiment:
    """Set the number of folds to that of the subjects, or of the groups that must stay together."""
    if manifest is not None and manifest.is_file():
        groups = pd.read_parquet(manifest, columns=["group_id"])["group_id"]
    elif experiment.dataset.is_prepared and not Path(experiment.dataset.root).is_dir():
        return experiment
    else:
        choice = DatasetChoice(name=experiment.dataset.name, options=experiment.dataset.options)
        try:
            data = read_dataset(IngestParams(dataset=choice, root=experiment.dataset.root, sources={}))
        except DataError as error:
            raise ConfigError(f"{path}: the subjects of leave_one_subject_out cannot be counted: {error}") from error
        groups = data.manifest["group_id"]
    counted = experiment.splits.model_copy(update={"folds": int(groups.nunique())})
    return experiment.model_copy(update={"splits": counted})


def _check(where: str, experiment: Experiment) -> None:
    """Check everything that no single section can check by itself; ``where`` begins each sentence."""
    try:
        for choice in choices_of(experiment):
            choice.load()
        if experiment.dataset.is_prepared:
            experiment.dataset.preparation()
        _check_data(experiment)
        _check_names(experiment)
        _check_networks(experiment)
        if experiment.missing is not None:
            experiment.missing.check(experiment.method_names, experiment.seeds)
        experiment.evaluation.check(experiment.scored, list(experiment.ablation))
    except ConfigError as error:
        lines = [line if line.endswith((".", "?")) else f"{line}." for line in str(error).splitlines()]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


def _check_data(experiment: Experiment) -> None:
    """Refuse sources, tokens and a kind of task that the data set does not offer."""
    dataset = _dataset(experiment)
    offered = dataset.sources()
    for name, modality in experiment.modalities.items():
        if modality.source not in offered:
            raise ConfigError(
                f"modalities.{name}.source is '{modality.source}', but {dataset.title} offers {', '.join(offered)}"
            )
    if sequence := dataset.sequence():
        _check_sequence(experiment, dataset.title, *sequence)
    if (_classes(experiment) is None) != (experiment.task.kind == "regression"):
        targets = "classes" if _classes(experiment) else "real numbers"
        raise ConfigError(f"task.kind is {experiment.task.kind}, but the targets of {dataset.title} are {targets}")


def _check_sequence(experiment: Experiment, title: str, tokens: int, frames: int) -> None:
    """Refuse embeddings with another number of tokens, and pictures that would not be those of the tokens."""
    if tokens != experiment.embedding.tokens:
        raise ConfigError(
            f"embedding.tokens is {experiment.embedding.tokens}, but {title} has {tokens} sub-clips a sequence; "
            "make them the same"
        )
    for name, modality in experiment.modalities.items():
        _, options = modality.feature.load()
        pictures = getattr(options, "frames", None)
        if pictures is not None and pictures != tokens * frames:
            raise ConfigError(
                f"modalities.{name}.feature.frames is {pictures}, but a sequence of {title} has {tokens} sub-clips of "
                f"{frames} frames; set it to {tokens * frames}"
            )


def _dataset(experiment: Experiment) -> Dataset:
    cls, options = experiment.dataset.load()
    dataset: Dataset = cls(Path(experiment.dataset.root), options)
    return dataset


def _classes(experiment: Experiment) -> list[str] | None:
    """Return the names of the classes, or None where the targets are real numbers."""
    return next(iter(_dataset(experiment).targets().values()))


def _check_names(experiment: Experiment) -> None:
    """Refuse a name that two trainings would share: their results would lie in the same folder."""
    taken = {name: "a teacher" for name in experiment.teachers} | {TNET: "T-Net"}
    for method in experiment.students.methods:
        if method.name in taken:
            raise ConfigError(f"'{method.name}' is a method and {taken[method.name]}; rename the modality")
    taken |= {method.name: "a method of the contest" for method in experiment.students.methods}
    taken |= dict.fromkeys(experiment.controls, "a control arm")
    for name in experiment.evaluation.foreign:
        if not re.fullmatch(IDENTIFIER, name):
            raise ConfigError(f"evaluation.foreign: '{name}' is no name; use small letters, digits and _")
        if name in taken:
            raise ConfigError(f"evaluation.foreign: '{name}' is {taken[name]} too; give the model another name")
        taken[name] = "a model from elsewhere"
    for name in experiment.ablation:
        if not re.fullmatch(IDENTIFIER, name):
            raise ConfigError(f"ablation: '{name}' is no name; use small letters, digits and _")
        if name in taken:
            raise ConfigError(f"ablation: '{name}' is {taken[name]} too; give the variant another name")


def _check_networks(experiment: Experiment) -> None:
    """Refuse methods that cannot serve the task, and fusions that cannot have the width."""
    classes = _classes(experiment)
    variants = experiment.ablation.values()
    _check_shipped(experiment)
    for method in [*experiment.students.methods, *(variant.method for variant in variants)]:
        needs = methods.load(method.name).needs
        check_needs(method.name, needs, experiment.task.kind, len(classes) if classes else None)
    if experiment.embedding.mixup and experiment.task.kind == "regression":
        raise ConfigError("embedding.mixup mixes samples of classes, but the task is a regression; remove it")
    for kind in [experiment.tnet.kind, *(variant.tnet_kind for variant in variants if variant.tnet_kind)]:
        kind.load()
    for choice in [experiment.teacher.fusion, *(variant.fusion for variant in variants if variant.fusion)]:
        fusion, options = choice.load()
        fusion(1, 1, experiment.teacher.dim, options)


def _check_shipped(experiment: Experiment) -> None:
    """Refuse a student of a method that takes no part in the contest."""
    name = experiment.student.method
    if name in (None, *experiment.method_names):
        return
    if name == MAIN:
        raise ConfigError(
            f"student.method is '{name}', which is a model for missing modalities and no method; leave it out and make "
            "results/<experiment>/student_any/student.json"
        )
    raise ConfigError(
        f"student.method is '{name}', which is no method of the contest; add it to students.methods, so that the "
        "report can say how good it is"
    )


def _check_override(where: str, experiment: Experiment, fold: int) -> None:
    """Refuse an override of a fold that does not exist, or of what all folds must share."""
    try:
        changed = experiment.for_fold(fold)
    except ValidationError as error:
        raise ConfigError(sentences(where, error, Experiment)) from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}.") from error
    _check(where, changed)
    if _shared(changed) != _shared(experiment):
        raise ConfigError(
            f"{where}: the modalities, their roles, sources and features, the methods and their controls belong to "
            "all folds; a fold may change encoders, trainings and options."
        )


def _shared(experiment: Experiment) -> tuple[dict, list[str]]:
    """Return what all folds must have in common."""
    modalities = {name: (m.role, m.source, m.feature) for name, m in experiment.modalities.items()}
    return modalities, experiment.contestants
