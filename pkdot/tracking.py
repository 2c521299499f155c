"""MLflow as a mirror of the results: one experiment each, a parent run for the whole, a child a training.

The files in ``results/`` are the truth. What is mirrored carries the digest of what it was made of, so that a
second mirroring writes only what changed, and replaces instead of adding. A store that fails costs a warning.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field

from pkdot.errors import PkdotError
from pkdot.evaluation.evaluate import UPPER_BOUND, teachers_of
from pkdot.files import read_json, sha256, write_json
from pkdot.params import Params, canonical
from pkdot.provenance import job

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_STORE = "sqlite:///mlflow.db"
KEY, DIGEST, PARENT = "pkdot.key", "pkdot.digest", "mlflow.parentRunId"
WHOLE = "experiment"  # the key of the parent run
ARTIFACTS = ("report.html", "summary.json", "metrics.csv")


class MirrorParams(Params):
    """Which results are mirrored: just those that the configuration names."""

    experiment: str = Field(description="name of the experiment")
    configuration: dict[str, Any] = Field(description="the whole configuration: the parent run's parameters")
    folds: int = Field(ge=1, description="number of folds")
    modalities: list[str] = Field(description="modalities")


@dataclass
class Mirrored:
    """One run as it should be: read from the files, and not yet written anywhere."""

    key: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[str, float, int]] = field(default_factory=list)  # name, value, step
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)
    content: Any = None  # what the digest is made of, beside what stands above
    start: int = 0  # milliseconds
    end: int = 0

    @property
    def digest(self) -> str:
        """Hash of all that is written, so that equal digests need no writing."""
        mirror = sha256(Path(__file__))
        told = [self.key, self.name, self.params, self.metrics, self.tags, self.content, mirror]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def mirror(results: Path, out: Path, params: MirrorParams) -> None:
    """Mirror an experiment and write ``tracking.json``: where to, how many runs, and the problem if any.

    A problem is a warning, since nothing but the mirror is affected; ``pkdot track`` mends it.
    """
    inputs = [results / name for name in ARTIFACTS]
    with job(__name__, out, params, inputs=inputs, record="tracking") as scratch:
        said = {"experiment": params.experiment, "store": _shown(store()), "runs": 0, "problem": None}
        try:
            said["runs"] = sync(results, params)
        except PkdotError as error:
            said["problem"] = str(error)
            print(f"warning: {error}", file=sys.stderr)
        write_json(scratch / "tracking.json", said)


def store() -> str:
    """URI of the tracking store: MLFLOW_TRACKING_URI, or a SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


def sync(results: Path, params: MirrorParams, anew: bool = False) -> int:
    """Make the store say what the files say, and return the number of runs.

    Parameters
    ----------
    anew : bool
        Write every run again, also where its digest says that it is up to date.

    Raises
    ------
    DataError
        A file of the results is missing or damaged.
    PkdotError
        The store failed; the files are as they were.
    """
    children = list(_trainings(results, params))
    whole = _whole(results, params, children)
    with _quiet_mlflow():
        try:
            with _alone(store()):
                _Store(params.experiment).write(whole, children, anew)
        except Exception as error:  # servers, drivers and disks fail in ways of their own
            reason = " ".join(str(error).replace(store(), _shown(store())).split())[:300]
            raise PkdotError(
                f"tracking in {_shown(store())} failed ({type(error).__name__}: {reason}). The results "
                f"are complete; `pkdot track {params.experiment}` mirrors them when the store is back."
            ) from error
    return 1 + len(children)


def _trainings(results: Path, params: MirrorParams) -> Iterator[Mirrored]:
    """All trainings that the configuration names."""
    of_teachers = ("tnet", *teachers_of(params.modalities))
    for fold in range(params.folds):
        tested = read_json(results / "folds" / f"fold_{fold}.json")["methods"]
        for modality in params.modalities:
            yield _training(results, f"encoders/fold_{fold}/{modality}", fold, f"encoder_{modality}")
        for method, by_seed in {**tested, "tnet": {seed: {} for seed in tested[UPPER_BOUND]}}.items():
            stage = "teachers" if method in of_teachers else "students"
            for seed, scores in by_seed.items():
                yield _training(results, f"{stage}/fold_{fold}/seed_{seed}/{method}", fold, method, seed, scores)


def _training(
    results: Path, key: str, fold: int, method: str, seed: str | None = None, tested: dict | None = None
) -> Mirrored:
    """One training, read from its folder."""
    folder = results / key
    record, metrics = read_json(folder / "run.json"), read_json(folder / "metrics.json")
    seed = record["params"]["seed"] if seed is None else int(seed)
    if candidates := metrics.pop("candidates", []):
        best = max(candidates, key=lambda tried: (tried["score"], -tried["loss"]))
        metrics["validation"] = {"score": best["score"], "loss": best["loss"]}
    told = {"fold": fold, "method": method, "seed": seed, "chosen": metrics.pop("chosen", {})}
    numbers = _flat({**metrics, "test": tested or {}}, "/").items()
    start = _milliseconds(record["started"])
    return Mirrored(
        key=key,
        name=f"{method} fold {fold} seed {seed}",
        params=_flat({**told, "job": record["params"]}, "."),
        metrics=[(name, value, 0) for name, value in numbers if isinstance(value, int | float)]
        + _history(folder / "history.csv"),
        tags={
            "code": record["code"],
            "data": hashlib.sha256(canonical(record["inputs"]).encode()).hexdigest()[:16],
            "stage": record["stage"],
        },
        content=record["outputs"],
        start=start,
        end=start + int(1000 * record["seconds"] / record["folders"]),
    )


def _history(path: Path) -> list[tuple[str, float, int]]:
    """Metrics by epoch."""
    import pandas as pd

    table = pd.read_csv(path)
    return [
        (f"history/{name}", float(value), int(epoch))
        for name in table.columns.drop("epoch")
        for epoch, value in zip(table["epoch"], table[name], strict=True)
    ]


def _whole(results: Path, params: MirrorParams, children: list[Mirrored]) -> Mirrored:
    """The parent: the configuration, the summary, the report."""
    summary = read_json(results / "summary.json")
    artifacts = [results / name for name in ARTIFACTS]
    return Mirrored(
        key=WHOLE,
        name=params.experiment,
        params=_flat(params.configuration, "."),
        metrics=[(f"{row['metric']}/{row['method']}", row["mean"], 0) for row in summary["rows"]],
        tags={"simulated": str(summary["simulated"]).lower(), "primary_metric": summary["primary_metric"]},
        artifacts=artifacts,
        content=[sha256(path) for path in artifacts],
        start=min(child.start for child in children),
        end=max(child.end for child in children),
    )


def _flat(value: Any, joint: str, name: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with names that MLflow takes; lists as text, what is None left out."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for key, item in value.items():
            flat |= _flat(item, joint, f"{name}{joint}{key}" if name else str(key))
        return flat
    if value is None:
        return {}
    return {re.sub(r"[^\w\-. /]", "_", name): value if isinstance(value, int | float | str) else canonical(value)}


def _milliseconds(started: str) -> int:
    return int(datetime.strptime(started, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def _shown(uri: str) -> str:
    """The URI without a user's name and password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """No telemetry, no chatter, and no minutes of patience with a server that is down."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One writer at a time in a SQLite store, whose first use creates its tables; a server has no need."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    folder = Path(uri.removeprefix("sqlite:///")).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the system lets go of it, however this process ends
        yield
    finally:
        os.close(handle)


class _Store:
    """The runs of one experiment in the tracking store."""

    def __init__(self, experiment: str):
        from mlflow import MlflowClient

        self.client: MlflowClient = MlflowClient(tracking_uri=store())
        known = self.client.get_experiment_by_name(experiment)
        if known is not None and known.lifecycle_stage == "deleted":
            self.client.restore_experiment(known.experiment_id)
        self.experiment = known.experiment_id if known else self.client.create_experiment(experiment)

    def write(self, whole: Mirrored, children: list[Mirrored], anew: bool) -> None:
        """Write what is new, keep what is the same, delete what is no more."""
        there = self._runs()
        digests = {run.key: run.digest for run in (whole, *children)}
        keep: dict[str, Any] = {}
        for run in there:
            key = run.data.tags.get(KEY)
            current = key in digests and run.data.tags.get(DIGEST) == digests[key]
            if current and not anew and key not in keep:
                keep[key] = run
            elif key is not None:
                self.client.delete_run(run.info.run_id)
        parent = keep[WHOLE].info.run_id if WHOLE in keep else self._create(whole, {})
        for child in children:
            if child.key not in keep:
                self._create(child, {PARENT: parent})
            elif keep[child.key].data.tags.get(PARENT) != parent:
                self.client.set_tag(keep[child.key].info.run_id, PARENT, parent)

    def _runs(self) -> list:
        runs, token = [], None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _create(self, run: Mirrored, tags: dict[str, str]) -> str:
        """Write one run; its digest comes last, so that a run without one is known to be unfinished."""
        from mlflow.entities import Metric, Param

        tags = {KEY: run.key, **run.tags, **tags}
        created = self.client.create_run(self.experiment, run.start, tags, run.name).info.run_id
        for params in _parts([Param(name, str(value)) for name, value in run.params.items()], 100):
            self.client.log_batch(created, params=params)
        metrics = [Metric(name, float(value), run.start, step) for name, value, step in run.metrics]
        for part in _parts(metrics, 1000):
            self.client.log_batch(created, metrics=part)
        for path in run.artifacts:
            self.client.log_artifact(created, str(path))
        self.client.set_terminated(created, "FINISHED", run.end)
        self.client.set_tag(created, DIGEST, run.digest)
        return created


def _parts(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
