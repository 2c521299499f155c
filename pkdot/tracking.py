"""Copy the results of an experiment to MLflow: a parent run for the experiment, a child run for each training.

The files in ``results/`` are the truth. Each run in the store carries the digest of the files that it was made from,
so that a second copy writes only what has changed. A store that fails costs a warning and no result.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field

from pkdot.errors import PkdotError
from pkdot.files import read_json, sha256, write_json
from pkdot.layout import (
    HISTORY,
    METRICS,
    METRICS_TABLE,
    REPORT,
    SUMMARY,
    TNET,
    TRACKING,
    UPPER_BOUND,
    Layout,
    trained,
)
from pkdot.params import Params, canonical
from pkdot.provenance import job

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY, DIGEST, PARENT = "pkdot.key", "pkdot.digest", "mlflow.parentRunId"
WHOLE = "experiment"  # the key of the parent run; that of a child is its folder
ARTIFACTS = (REPORT, SUMMARY, METRICS_TABLE)
SETTINGS = {  # no telemetry, no chatter, and no minutes of patience with a server that is down
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class MirrorParams(Params):
    """Which results are copied: those that the configuration names."""

    experiment: str = Field(description="name of the experiment")
    configuration: dict[str, Any] = Field(description="the whole configuration: the parameters of the parent run")
    folds: int = Field(ge=1, description="number of folds")
    modalities: list[str] = Field(description="modalities")
    teachers: list[str] = Field(description="teachers")


def mirror(results: Path, out: Path, params: MirrorParams) -> None:
    """Copy an experiment to MLflow and write ``tracking.json``: the store, the number of runs, the problem if any.

    A problem is printed as a warning: no result depends on the copy, and ``pkdot track`` makes it later.
    """
    with job(__name__, out, params, inputs=[results / name for name in ARTIFACTS], record="tracking") as scratch:
        outcome = {"experiment": params.experiment, "store": _without_password(store()), "runs": 0, "problem": None}
        try:
            outcome["runs"] = sync(results, params)
        except PkdotError as error:
            outcome["problem"] = str(error)
            print(f"warning: {error}", file=sys.stderr)
        write_json(scratch / TRACKING, outcome)


def store() -> str:
    """Return the URI of the tracking store: MLFLOW_TRACKING_URI, or a SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def sync(results: Path, params: MirrorParams, anew: bool = False) -> int:
    """Make the store agree with the files, and return the number of runs.

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
    scores = dict(_trainings(results, params))
    code = sha256(Path(__file__))  # what this module writes of the same files may change
    digests = {key: _digest(code, read_json(results / key / "run.json"), tested) for key, tested in scores.items()}
    digests[WHOLE] = _digest(code, params.configuration, [sha256(results / name) for name in ARTIFACTS])
    uri, shown = store(), _without_password(store())
    try:
        with _one_writer(uri):
            client, place = _open(uri, params.experiment)
            kept = _keep(client, place, {} if anew else digests)
            parent = kept.get(WHOLE) or _create(client, place, WHOLE, _parent(results, params))
            for key, tested in scores.items():
                if not {key, WHOLE} <= kept.keys():
                    child = kept.get(key) or _create(client, place, key, _child(results / key, tested))
                    client.set_tag(child, PARENT, parent)
                    client.set_tag(child, DIGEST, digests[key])
            client.set_tag(parent, DIGEST, digests[WHOLE])  # last: without it, all of this is done again
    except PkdotError:
        raise
    except Exception as error:  # servers, drivers and disks fail in ways of their own
        reason = " ".join(str(error).replace(uri, shown).split())[:300]
        raise PkdotError(
            f"tracking in {shown} failed ({type(error).__name__}: {reason}). The results "
            f"are complete; `pkdot track {params.experiment}` copies them when the store is back."
        ) from error
    return len(digests)


def _trainings(results: Path, params: MirrorParams) -> Iterator[tuple[str, dict]]:
    """Yield the folder of each training that the configuration names, and its scores on the test part."""
    inside, teachers = Layout(Path(), Path()), {TNET, *params.teachers}
    for fold in range(params.folds):
        yield from ((str(inside.encoder(fold, modality)), {}) for modality in params.modalities)
        tested = read_json(results / inside.fold(fold))["methods"]
        for method, by_seed in {**tested, TNET: {seed: {} for seed in tested[UPPER_BOUND]}}.items():
            folder = inside.teachers(fold) if method in teachers else inside.students(fold)
            yield from ((str(trained(folder, seed, method)), scores) for seed, scores in by_seed.items())


def _digest(*contents: Any) -> str:
    return hashlib.sha256(canonical(contents).encode()).hexdigest()[:16]


def _parent(results: Path, params: MirrorParams) -> dict[str, Any]:
    """Return what the run of the whole experiment holds."""
    summary = read_json(results / SUMMARY)
    return {
        "params": _flat(params.configuration, "."),
        "metrics": [(f"{row['metric']}/{row['method']}", row["mean"], 0) for row in summary["rows"]],
        "tags": {"simulated": str(summary["simulated"]).lower(), "primary_metric": summary["primary_metric"]},
        "artifacts": [results / name for name in ARTIFACTS],
        "start": (results / SUMMARY).stat().st_mtime,
        "seconds": 0,
    }


def _child(folder: Path, tested: dict) -> dict[str, Any]:
    """Return what the run of one training holds, read from its folder; a metric is (name, value, step)."""
    import pandas as pd

    record, metrics = read_json(folder / "run.json"), read_json(folder / METRICS)
    if candidates := metrics.get("candidates"):
        best = max(candidates, key=lambda tried: (tried["score"], -tried["loss"]))
        metrics["validation"] = {"score": best["score"], "loss": best["loss"]}
    numbers = _flat({**metrics, "test": tested}, "/").items()
    history = pd.read_csv(folder / HISTORY, index_col=0).stack()
    place = dict(part.split("_") for part in folder.parts if re.fullmatch(r"(fold|seed)_\d+", part))
    about = {"method": folder.name, "seed": record["params"].get("seed"), **place}
    return {
        "params": _flat({**about, "chosen": metrics.get("chosen"), "job": record["params"]}, "."),
        "metrics": [(name, value, 0) for name, value in numbers if isinstance(value, int | float)]
        + [(f"history/{name}", value, step) for (step, name), value in history.items()],
        "tags": {"code": record["code"], "stage": record["stage"], "data": _digest(record["inputs"])},
        "start": datetime.strptime(record["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp(),
        "seconds": record["seconds"] / record["folders"],
    }


def _flat(nested: dict[str, Any], joint: str) -> dict[str, Any]:
    """Return nested dictionaries as one, without what is None."""
    import pandas as pd

    flat = pd.json_normalize(nested, sep=joint).to_dict("records")[0]
    return {str(name): value for name, value in flat.items() if value is not None}


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri


@contextmanager
def _one_writer(uri: str) -> Iterator[None]:
    """Let one process at a time use a SQLite store, whose first use creates its tables; a server needs no lock."""
    folder = Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:///") else Path()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return a client of the store and the id of the experiment in it, which is created or restored if need be."""
    os.environ.update(SETTINGS | os.environ)
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return client, found.experiment_id if found else client.create_experiment(experiment)


def _keep(client: MlflowClient, place: str, digests: dict[str, str]) -> dict[str, str]:
    """Delete the runs that are out of date, and return the others: key -> id."""
    kept: dict[str, str] = {}
    for run in client.search_runs([place], max_results=50_000):  # the most that MLflow returns
        key, digest = run.data.tags.get(KEY), run.data.tags.get(DIGEST)
        if key in digests and digest == digests[key] and key not in kept:
            kept[key] = run.info.run_id
        elif key is not None:  # a run without a key was written by somebody else
            client.delete_run(run.info.run_id)
    return kept


def _create(client: MlflowClient, place: str, key: str, holds: dict[str, Any]) -> str:
    """Write a run without its digest, and return its id."""
    from mlflow.entities import Metric, Param

    start = int(1000 * holds["start"])
    run = client.create_run(place, start, {KEY: key, **holds["tags"]}, key.replace("/", " ")).info.run_id
    params = [Param(name, str(value)) for name, value in holds["params"].items()]
    metrics = [Metric(name, float(value), start, int(step)) for name, value, step in holds["metrics"]]
    client.log_batch(run, metrics, params)
    for path in holds.get("artifacts", []):
        client.log_artifact(run, str(path))
    client.set_terminated(run, "FINISHED", start + int(1000 * holds["seconds"]))
    return run
