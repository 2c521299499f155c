"""Jobs that are forks of a process with the libraries: they do, say and return what a process of their own would."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from array import array
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pkdot import warm

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux watches processes by handles")


def wait_until(true):
    """Wait for what comes soon, and return it."""
    end = time.monotonic() + 60
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The process, in the folder of a run; it may still be loading its libraries."""
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    Path(warm.SOCKET).touch()  # what a run that was killed may leave
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    process = warm.start()
    yield process
    signal.signal(signal.SIGINT, before)
    process.stdin.close()
    assert process.wait(60) == 0
    assert not Path(warm.SOCKET).exists()


def begin(*arguments: str, **environment: str) -> subprocess.Popen:
    """A job, started as the workflow does."""
    return subprocess.Popen(
        [sys.executable, "-IS", warm.__file__, *arguments],
        env={**os.environ, **warm.THREADS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def opened(path: Path) -> int | None:
    """The writing end of a pipe, where somebody reads from it already."""
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)


def left_in(pipe: int) -> int:
    """How many bytes of a pipe nobody has read yet."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.fixture
def blocked(server, tmp_path):
    """A job that waits for the rest of what it reads from a pipe, its fork, and the pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert begin("--version").wait(60) == 0  # the libraries are loaded: from now on its children are forks
    caller = begin("check", str(path))
    pipe = wait_until(lambda: opened(path))
    os.write(pipe, b"#\n")  # what is read already tells that it is in its call that reads, and not before that
    wait_until(lambda: not left_in(pipe))
    (fork,) = psutil.Process(server.pid).children()
    wait_until(lambda: fork.status() == psutil.STATUS_SLEEPING)
    yield caller, fork, pipe
    caller.kill()  # where a test failed


def test_a_job_says_and_returns_what_its_own_process_would(server):
    for words in (["--version"], ["check", "gone.yaml"], ["nonsense"]):
        job = begin(*words)
        said = job.communicate()
        own = subprocess.run([sys.executable, "-m", "pkdot", *words], capture_output=True, text=True)
        assert (*said, job.returncode) == (own.stdout, own.stderr, own.returncode)


def test_a_job_without_the_process_starts_by_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = begin("--version")
    assert job.communicate()[0].startswith("pkdot ")


def test_a_job_whose_process_ends_before_it_begins_starts_by_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    process = warm.start()
    process.send_signal(signal.SIGSTOP)  # while it loads its libraries
    job = begin("--version")
    wait_until(lambda: psutil.Process(job.pid).status() == psutil.STATUS_SLEEPING)
    process.kill()
    assert job.communicate()[0].startswith("pkdot ")


def test_only_jobs_of_one_thread_are_forks(server, tmp_path):
    profile = {"PYTHONPROFILEIMPORTTIME": "1"}  # looked at when an interpreter starts, so a fork says nothing
    assert "pkdot.cli" not in begin("--version", **profile).communicate()[1]
    assert "pkdot.cli" in begin("--version", **profile, OMP_NUM_THREADS="2").communicate()[1]


def test_a_job_ends_with_its_caller(blocked):
    caller, fork, _ = blocked
    caller.kill()
    wait_until(lambda: not fork.is_running())


def test_a_fork_that_the_system_kills_is_told_as_shells_do(blocked):
    caller, fork, _ = blocked
    fork.kill()
    assert caller.wait(60) == 128 + signal.SIGKILL


def test_an_interrupt_reaches_the_job_and_not_the_process(server, blocked):
    caller, fork, _ = blocked
    for process in (server, caller, fork):
        process.send_signal(signal.SIGINT)
    assert caller.wait(60) == 130
    assert begin("--version").wait(60) == 0


def test_a_job_outlives_the_run(server, blocked):
    caller, _, pipe = blocked
    server.stdin.close()
    wait_until(lambda: not Path(warm.SOCKET).exists())
    with open(pipe, "w") as file:
        file.write("dataset: [")
    assert caller.wait(60) == 1
    assert server.wait(60) == 0
