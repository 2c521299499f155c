"""Results as a finished run leaves them, without the training; and a real tracking server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pkdot.files import sha256, write_json
from pkdot.tracking import MirrorParams

SEEDS, FOLDS, MODALITIES = (0, 1), 2, ("face", "eda")


class Results:
    """The files of an experiment that tracking reads."""

    def __init__(self, folder: Path, name: str = "tiny", methods: tuple[str, ...] = ("student_only", "kd")):
        self.folder, self.name, self.methods = folder, name, methods
        self.teachers = ("teacher", *(f"modality_{modality}" for modality in MODALITIES))
        for fold in range(FOLDS):
            for modality in MODALITIES:
                self.training(f"encoders/fold_{fold}/{modality}", {"seed": 0, "fold": fold}, 0.5)
            for seed in SEEDS:
                for name in (*self.teachers, "tnet"):
                    self.training(f"teachers/fold_{fold}/seed_{seed}/{name}", {"fold": fold}, 0.7)
                for name in methods:
                    self.training(f"students/fold_{fold}/seed_{seed}/{name}", {"fold": fold}, 0.6)
            self.fold(fold)
        self.whole("the report")

    def training(self, key: str, params: dict, score: float) -> None:
        """One training: its metrics, its history, its record."""
        folder = self.folder / key
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"validation": {"score": score, "loss": 0.4}}
        if key.startswith("students"):
            chosen = {"weight": 2.0}
            tried = [{"options": {"weight": w}, "score": score - abs(w - 2), "loss": 1.0} for w in (1.0, 2.0)]
            metrics = {"chosen": chosen, "candidates": tried, "parameters": 1234}
        write_json(folder / "metrics.json", metrics)
        history = {"step": [0, 1, 2], "loss": [0.9, 0.5, 0.4], "score": [0.5, score, score]}
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        record = {
            "stage": f"pkdot.training.{key.partition('/')[0]}",
            "params": {**params, "training": {"steps": 3, "rates": [0.1, 0.2]}},
            "code": "c0de",
            "inputs": {"manifest.parquet": "0" * 64},
            "outputs": {name: sha256(folder / name) for name in ("metrics.json", "history.csv")},
            "started": "2026-01-02T03:04:05Z",
            "seconds": 6.0,
            "folders": 3,
        }
        write_json(folder / "run.json", record)

    def fold(self, number: int) -> None:
        """The test metrics of a fold."""
        value = {str(seed): {"accuracy": 0.6 + seed / 10, "f1": None} for seed in SEEDS}
        scored = {name: value for name in (*self.methods, *self.teachers)}
        (self.folder / "folds").mkdir(exist_ok=True)
        write_json(self.folder / "folds" / f"fold_{number}.json", {"fold": number, "methods": scored})

    def whole(self, report: str) -> None:
        """The summary, the metrics and the report."""
        rows = [{"metric": "accuracy", "method": name, "mean": 0.65} for name in self.methods]
        summary = {"rows": rows, "simulated": True, "primary_metric": "accuracy"}
        write_json(self.folder / "summary.json", summary)
        (self.folder / "metrics.csv").write_text("fold,seed,method,metric,value\n")
        (self.folder / "report.html").write_text(report)

    @property
    def params(self) -> MirrorParams:
        """Parameters of the mirror."""
        configuration = {"seeds": list(SEEDS), "dataset": {"name": "biovid", "root": "data/raw"}}
        return MirrorParams(
            experiment=self.name,
            configuration=configuration,
            folds=FOLDS,
            modalities=list(MODALITIES),
            teachers=self.teachers,
        )

    @property
    def count(self) -> int:
        """Runs that there should be."""
        per_seed = len(self.teachers) + 1 + len(self.methods)
        return 1 + FOLDS * (len(MODALITIES) + len(SEEDS) * per_seed)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A SQLite store with its tables, which take seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def results(tmp_path, monkeypatch, empty_store) -> Results:
    """Results in a working directory of their own, with a store of their own."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return Results(tmp_path / "results" / "tiny")


def runs_of(name: str = "tiny") -> dict:
    """The runs in the store that the environment names: key -> run; a key that is there twice fails."""
    from mlflow import MlflowClient

    from pkdot.tracking import KEY, store

    client = MlflowClient(tracking_uri=store())
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    runs = {run.data.tags[KEY]: run for run in found}
    assert len(runs) == len(found), "a run is there twice"
    return runs


def ids_of(name: str = "tiny") -> dict[str, str]:
    """Key -> id of the run."""
    return {key: run.info.run_id for key, run in runs_of(name).items()}


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class Server:
    """A real tracking server on loopback, on a SQLite store."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        import urllib.request

        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/store.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "w") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        """Kill it with its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Server:
    """A tracking server for the tests of a module."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()
