"""The stages: which function each verb runs, and what it is told of the experiment - just what it uses."""

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
    """A verb: the function that it runs, as ``module:function``, and a line of help."""

    target: str
    help: str

    @property
    def module(self) -> str:
        """Dotted name of the module."""
        return self.target.partition(":")[0]

    def function(self) -> Callable[..., None]:
        """Import and return the function."""
        return getattr(importlib.import_module(self.module), self.target.partition(":")[2])

    def signature(self) -> dict[str, Any]:
        """Argument -> its type: paths in, ``out``, and ``params``."""
        function = self.function()
        hints = typing.get_type_hints(function)
        return {name: hints[name] for name in inspect.signature(function).parameters}


STAGES = {
    "prepare": Stage("pkdot.simulation.prepare:prepare", "make stand-in data, or unpack data that a package carries"),
    "ingest": Stage("pkdot.datasets.ingest:ingest", "read a data set: manifest and ledger"),
    "features": Stage("pkdot.features.extract:extract_features", "turn the raw files of one shard into arrays"),
    "index": Stage("pkdot.features.extract:index_features", "make one index of the shards of a modality"),
    "ledger": Stage("pkdot.features.extract:merge_ledgers", "make one ledger of all its parts"),
    "splits": Stage("pkdot.splits:make_splits", "deal subjects to folds"),
    "encoder": Stage("pkdot.training.encoder:train_encoder", "train an encoder on a fold and embed all samples"),
    "teachers": Stage("pkdot.training.teacher:train_teachers", "train the teachers and the T-Nets of a fold"),
    "students": Stage("pkdot.training.student:train_students", "train the students of a method on a fold"),
    "fold": Stage("pkdot.evaluation.evaluate:evaluate_fold", "score all methods on a fold"),
    "summary": Stage("pkdot.evaluation.evaluate:summarise", "compare all methods over all folds"),
    "ablation": Stage("pkdot.reporting.ablation:write_ablation", "write the page of the ablation"),
    "report": Stage("pkdot.reporting.report:write_report", "write the report"),
    "mirror": Stage("pkdot.tracking:mirror", "mirror the results to MLflow"),
}


def path_arguments(stage: Stage) -> dict[str, bool]:
    """Names of the path arguments of a stage -> whether it takes several."""
    return {name: kind == list[Path] for name, kind in stage.signature().items() if kind in (Path, list[Path])}


def params_class(stage: Stage) -> type[Params]:
    """The class of a stage's parameters."""
    return stage.signature()["params"]
