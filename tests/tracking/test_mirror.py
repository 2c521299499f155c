"""The store agrees with the files, each run is there once, and a store that fails costs no more than a warning."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pkdot.errors import PkdotError
from pkdot.files import read_json
from pkdot.tracking import DIGEST, PARENT, WHOLE, mirror, store, sync
from tests.tracking.conftest import Results, Server, free_port, ids_of, runs_of

KD = "students/fold_1/seed_0/kd"
ONCE = """
import sys
from pathlib import Path
from pkdot.tracking import MirrorParams, sync
sync(Path(sys.argv[1]), MirrorParams.model_validate_json(sys.argv[2]))
"""
EIGHT = """
import multiprocessing, sys
import mlflow.store.tracking.sqlalchemy_store
from pathlib import Path
from pkdot.tracking import MirrorParams, sync
pairs = list(zip(sys.argv[1::2], sys.argv[2::2]))
context = multiprocessing.get_context("fork")
one = lambda folder, params: sync(Path(folder), MirrorParams.model_validate_json(params))
processes = [context.Process(target=one, args=pair) for pair in pairs]
[process.start() for process in processes]
[process.join() for process in processes]
assert len(processes) == 8 and all(process.exitcode == 0 for process in processes)
"""


def in_a_process(results: Results, **options) -> subprocess.Popen:
    """Mirror in a process of its own."""
    command = [sys.executable, "-c", ONCE, str(results.folder), results.params.model_dump_json()]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_a_parent_a_child_each_training_and_nothing_else(results):
    from mlflow import MlflowClient

    assert sync(results.folder, results.params) == results.count
    runs = runs_of()
    assert len(runs) == results.count
    parent = runs[WHOLE].info.run_id
    assert {run.data.tags[PARENT] for key, run in runs.items() if key != WHOLE} == {parent}
    assert runs[WHOLE].data.params["dataset.name"] == "biovid"
    assert runs[WHOLE].data.metrics["accuracy/kd"] == 0.65
    student = runs[KD]
    assert student.info.status == "FINISHED"
    assert student.info.end_time - student.info.start_time == 2000  # six seconds, shared by three folders
    params = student.data.params
    assert [params[name] for name in ("fold", "method", "seed", "chosen.weight")] == ["1", "kd", "0", "2.0"]
    assert params["job.training.rates"] == "[0.1, 0.2]"
    assert student.data.metrics["test/accuracy"] == 0.6
    assert student.data.metrics["validation/score"] == 0.6
    assert "test/f1" not in student.data.metrics  # a metric that is not defined is no number
    assert student.data.tags["code"] == "c0de"
    assert len(student.data.tags["data"]) == 16
    assert runs["encoders/fold_0/eda"].data.params["seed"] == "0"
    client = MlflowClient(tracking_uri=store())
    history = client.get_metric_history(student.info.run_id, "history/loss")
    assert sorted((point.step, point.value) for point in history) == [(0, 0.9), (1, 0.5), (2, 0.4)]
    report = Path(client.download_artifacts(parent, "report.html", "."))
    assert report.read_text() == "the report"


def test_a_rerun_replaces_its_runs_and_keeps_the_others(results):
    sync(results.folder, results.params)
    before = ids_of()
    sync(results.folder, results.params)
    assert ids_of() == before
    results.training(KD, {"fold": 1}, 0.9)
    sync(results.folder, results.params)
    after = ids_of()
    assert {key for key in before if before[key] != after[key]} == {KD}
    results.whole("another report")
    sync(results.folder, results.params)
    replaced = runs_of()
    assert {key for key, run in replaced.items() if run.info.run_id != after[key]} == {WHOLE}
    assert {run.data.tags[PARENT] for key, run in replaced.items() if key != WHOLE} == {replaced[WHOLE].info.run_id}


def test_a_method_that_is_no_longer_there_leaves_no_runs(results, tmp_path):
    sync(results.folder, results.params)
    fewer = Results(tmp_path / "fewer", methods=("student_only",))
    sync(fewer.folder, fewer.params)
    assert len(runs_of()) == fewer.count
    assert not [key for key in runs_of() if key.endswith("/kd")]


def test_a_deleted_experiment_comes_back(results):
    from mlflow import MlflowClient

    sync(results.folder, results.params)
    client = MlflowClient(tracking_uri=store())
    client.delete_experiment(client.get_experiment_by_name("tiny").experiment_id)
    sync(results.folder, results.params)
    assert len(runs_of()) == results.count


def test_eight_at_once_on_a_fresh_store(results, tmp_path):
    Path("mlflow.db").unlink()
    several = [Results(tmp_path / f"r{number}", f"tiny_{number}", ("student_only",)) for number in range(8)]
    arguments = [argument for one in several for argument in (str(one.folder), one.params.model_dump_json())]
    done = subprocess.run([sys.executable, "-c", EIGHT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [len(runs_of(one.name)) for one in several] == [one.count for one in several]


def test_the_store_is_a_file_in_the_working_directory(results, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    Path("mlflow.db").unlink()
    process = in_a_process(results)
    assert process.communicate()[1] == ""  # not a word of the store's own
    assert process.returncode == 0
    with sqlite3.connect("mlflow.db") as connection:
        assert connection.execute("select count(*) from runs").fetchone()[0] == results.count


def test_what_a_killed_mirroring_left_is_mended(results):
    for patience in (5.0, 6.0, 7.0):
        process = in_a_process(results, stdout=subprocess.DEVNULL)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    sync(results.folder, results.params)
    runs = runs_of()
    assert len(runs) == results.count
    assert all(DIGEST in run.data.tags for run in runs.values())


def test_a_run_that_was_only_begun_is_written_again(results):
    from mlflow import MlflowClient

    sync(results.folder, results.params)
    client = MlflowClient(tracking_uri=store())
    begun = ids_of()[KD]
    client.delete_tag(begun, DIGEST)
    sync(results.folder, results.params)
    assert ids_of()[KD] != begun
    assert len(runs_of()) == results.count


def test_a_locked_database_warns_and_is_mended(results, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{store()}?timeout=0.5")
    sync(results.folder, results.params)
    results.training(KD, {"fold": 1}, 0.8)
    holder = sqlite3.connect("mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        mirror(results.folder, results.folder, results.params)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert f"warning: tracking in {store()} failed" in capsys.readouterr().err
    assert "locked" in read_json(results.folder / "tracking.json")["problem"]
    sync(results.folder, results.params)
    assert runs_of()[KD].data.metrics["history/score"] == 0.8
    assert len(runs_of()) == results.count


def test_a_store_that_is_no_database_warns(results, capsys):
    Path("mlflow.db").write_bytes(b"not a database" * 1000)
    mirror(results.folder, results.folder, results.params)
    assert "failed" in capsys.readouterr().err
    assert read_json(results.folder / "tracking.json")["runs"] == 0


def test_a_server_that_is_down_warns_and_its_password_is_not_shown(results, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mirror(results.folder, results.folder, results.params)
    shown = capsys.readouterr().err + (results.folder / "tracking.json").read_text()
    assert "pkdot track tiny" in shown
    assert "secret" not in shown
    with pytest.raises(PkdotError, match="pkdot track tiny"):
        sync(results.folder, results.params)


def test_a_real_server_that_dies_and_comes_back(results, server: Server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    process = in_a_process(results, stdout=subprocess.DEVNULL)
    while process.poll() is None and not _rows(server.folder / "store.db"):
        time.sleep(0.05)
    server.stop()  # in the middle of it
    errors = process.communicate()[1]
    assert process.returncode == 0 or "failed" in errors
    server.start()
    sync(results.folder, results.params)
    runs = runs_of()
    assert len(runs) == results.count
    assert all(DIGEST in run.data.tags for run in runs.values())
    stored = next((server.folder / "artifacts").rglob("report.html"))
    assert stored.read_text() == "the report"
    before = ids_of()
    sync(results.folder, results.params, anew=True)
    assert not set(before.values()) & set(ids_of().values())
    assert len(runs_of()) == results.count


def _rows(database: Path) -> int:
    """Runs that the server has written."""
    with sqlite3.connect(database, timeout=20) as connection:
        return connection.execute("select count(*) from runs").fetchone()[0]


def test_no_other_machine_is_contacted(results):
    watched = (
        """
import socket
addresses = []
real = socket.socket.connect
socket.socket.connect = lambda self, address: addresses.append(address) or real(self, address)
socket.getaddrinfo = lambda *arguments, **options: addresses.append(arguments) or []
"""
        + ONCE
        + """
import time
time.sleep(1)
assert not addresses, addresses
"""
    )
    command = [sys.executable, "-c", watched, str(results.folder), results.params.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
