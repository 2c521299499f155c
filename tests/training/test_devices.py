"""Every job of a machine gets a GPU of its own while there are enough."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pkdot.errors import ConfigError
from pkdot.training.devices import device_of, own_gpu

JOB = """
import sys
from pathlib import Path
from pkdot.training.devices import own_gpu
print(own_gpu(int(sys.argv[1]), Path(sys.argv[2])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path):
    """Start a job on a machine with some GPUs; return it and the number of its GPU."""
    started = []

    def start(count: int) -> tuple[subprocess.Popen, int]:
        words = [sys.executable, "-c", JOB, str(count), str(tmp_path)]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1], int(started[-1].stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_jobs_have_gpus_of_their_own(job):
    assert sorted(job(3)[1] for _ in range(3)) == [0, 1, 2]


def test_a_gpu_is_free_again_after_a_kill(job):
    first, number = job(2)
    job(2)
    first.kill()
    first.wait()
    assert job(2)[1] == number


def test_more_jobs_than_gpus_share_them(job):
    numbers = [job(2)[1] for _ in range(4)]
    assert set(numbers[:2]) == {0, 1}
    assert set(numbers[2:]) <= {0, 1}


def test_the_only_gpu_needs_no_lock(tmp_path):
    assert own_gpu(1, tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu():
    assert device_of("auto") == device_of("cpu") == "cpu"
    with pytest.raises(ConfigError, match="set it to auto"):
        device_of("cuda")
