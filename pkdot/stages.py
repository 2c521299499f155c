"""The stages: which function each verb runs, and what cuts its parameters out of an experiment.

Both are named and not imported, so that the command line starts at once and no stage knows another.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkdot.params import Params


@dataclass(frozen=True)
class Stage:
    """A verb of the workflow.

    Attributes
    ----------
    target : str
        The function that it runs, as ``module:function``.
    help : str
        What it does, in a line.
    maker : str
        The function that makes its parameters, as ``module:function``. It takes an experiment and, by name, what
        tells its jobs apart, such as ``fold``.
    """

    target: str
    help: str
    maker: str

    @property
    def module(self) -> str:
        """Dotted name of the module of the function."""
        return self.target.partition(":")[0]

    def function(self) -> Callable[..., None]:
        """Import and return the function."""
        return _imported(self.target)

    def make_params(self) -> Callable[..., Params]:
        """Import and return the function that makes the parameters."""
        return _imported(self.maker)

    def signature(self) -> dict[str, Any]:
        """Return the arguments of the function -> their types: paths in, ``out``, and ``params``."""
        function = self.function()
        hints = typing.get_type_hints(function)
        return {name: hints[name] for name in inspect.signature(function).parameters}


def _imported(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


STAGES = {
    "prepare": Stage(
        "pkdot.simulation.prepare:prepare",
        "make stand-in data, or unpack data that a package carries",
        "pkdot.jobs:prepare",
    ),
    "ingest": Stage("pkdot.datasets.ingest:ingest", "read a data set: manifest and ledger", "pkdot.jobs:ingest"),
    "features": Stage(
        "pkdot.features.extract:extract_features", "turn the raw files of one shard into arrays", "pkdot.jobs:features"
    ),
    "index": Stage(
        "pkdot.features.extract:index_features", "make one index of the shards of a modality", "pkdot.jobs:index"
    ),
    "ledger": Stage("pkdot.features.extract:merge_ledgers", "make one ledger of all its parts", "pkdot.jobs:ledger"),
    "splits": Stage("pkdot.splits:make_splits", "deal subjects to folds", "pkdot.jobs:splits"),
    "encoder": Stage(
        "pkdot.training.encoder:train_encoder", "train an encoder on a fold and embed all samples", "pkdot.jobs:encoder"
    ),
    "teachers": Stage(
        "pkdot.training.teacher:train_teachers", "train the teachers and the T-Nets of a fold", "pkdot.jobs:teachers"
    ),
    "tnets": Stage("pkdot.training.tnet:train_tnets", "train the T-Nets of another kind on a fold", "pkdot.jobs:tnets"),
    "students": Stage(
        "pkdot.training.student:train_students", "train the students of a method on a fold", "pkdot.jobs:students"
    ),
    "foreign": Stage(
        "pkdot.evaluation.foreign:read_foreign", "check the predictions of a model from elsewhere", "pkdot.jobs:foreign"
    ),
    "fold": Stage("pkdot.evaluation.fold:evaluate_fold", "score all methods on a fold", "pkdot.jobs:fold"),
    "summary": Stage("pkdot.evaluation.summary:summarise", "compare all methods over all folds", "pkdot.jobs:summary"),
    "refit": Stage("pkdot.inference.refit:refit", "train the student that ships on all subjects", "pkdot.jobs:refit"),
    "refit_any": Stage(
        "pkdot.inference.refit_any:refit_any",
        "make the bundle of the model for whatever modalities are there",
        "pkdot.jobs:refit_any",
    ),
    "ablation": Stage(
        "pkdot.reporting.ablation:write_ablation",
        "write the page of the ablation",
        "pkdot.reporting.ablation:ablation_params",
    ),
    "cell": Stage(
        "pkdot.evaluation.cell:train_cell",
        "train and score all methods in a cell of a study of labels",
        "pkdot.jobs:cell",
    ),
    "privilege": Stage(
        "pkdot.reporting.privilege:write_privilege", "write the page of when privilege pays", "pkdot.jobs:privilege"
    ),
    "completion": Stage(
        "pkdot.evaluation.completion:train_completions",
        "train and score the models for missing modalities on a fold",
        "pkdot.jobs:completion",
    ),
    "missing": Stage(
        "pkdot.reporting.missing:write_missing", "write the page of missing modalities", "pkdot.jobs:missing"
    ),
    "report": Stage("pkdot.reporting.report:write_report", "write the report", "pkdot.reporting.report:report_params"),
    "mirror": Stage("pkdot.tracking:mirror", "mirror the results to MLflow", "pkdot.jobs:mirror"),
}


def path_arguments(stage: Stage) -> dict[str, bool]:
    """Return the names of the path arguments of a stage -> whether it takes several."""
    return {name: kind == list[Path] for name, kind in stage.signature().items() if kind in (Path, list[Path])}


def params_class(stage: Stage) -> type[Params]:
    """Return the class of a stage's parameters."""
    return stage.signature()["params"]
