"""One run at a time, also after kills."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pkdot import lock
from pkdot.errors import PkdotError

HOLD = """
import sys, time
from pathlib import Path
from pkdot import lock
getattr(lock, sys.argv[1])(Path("lock"))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Start a process that holds the lock of the folder in a given way."""
    monkeypatch.chdir(tmp_path)
    started = []

    def start(how: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLD, how], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["claim", "share"])
def test_a_second_run_is_refused_in_a_sentence_until_the_first_is_killed(holder, how):
    first = holder(how)
    with pytest.raises(PkdotError, match="is at work in this folder") as refusal:
        lock.claim(Path("lock"))
    if how == "claim":
        assert f"(process {first.pid} on " in str(refusal.value)
    first.send_signal(signal.SIGKILL)
    first.wait()
    os.close(lock.claim(Path("lock")))


def test_the_jobs_of_a_run_work_beside_it(holder):
    holder("claim")
    os.close(lock.share(Path("lock")))


def test_a_job_that_begins_after_its_run_was_killed_does_no_harm(holder):
    first = holder("claim")
    run = Path("lock").read_text()
    assert run.startswith(f"process {first.pid} on ")
    os.close(lock.share(Path("lock"), run))
    first.kill()
    first.wait()
    holder("claim")
    with pytest.raises(PkdotError, match="is no more"):
        lock.share(Path("lock"), run)


def test_a_refused_run_leaves_no_handle_behind(holder):
    holder("share")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(PkdotError):
            lock.claim(Path("lock"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_quiet_says_whether_anybody_is_at_work(holder):
    with lock.quiet(Path("lock")) as alone:
        assert alone
    holder("share")
    with lock.quiet(Path("lock")) as alone:
        assert not alone


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("how", [lock.claim, lock.share, lambda path: lock.quiet(path).__enter__()])
def test_a_file_system_without_locks_is_a_sentence(tmp_path, monkeypatch, how, number):
    def flock(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PkdotError, match="the file system of this folder has no file locks") as refusal:
        how(tmp_path / "lock")
    assert str(refusal.value).startswith(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_sweeping_removes_what_is_half_written_and_nothing_else(tmp_path):
    half = [".kd.run.partial-123/seed_0/weights", "fold_0/.run.json.77"]
    whole = ["fold_0/run.json", "fold_0/face.checkpoint.safetensors", ".gitignore", "fold_0/.hidden.txt"]
    for name in (*half, *whole):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    lock.sweep(tmp_path, tmp_path / "missing")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(whole)
