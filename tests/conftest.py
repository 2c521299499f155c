"""Makes ``synthetic`` importable from every folder of tests; holds what several folders share."""

import os
import sys
from pathlib import Path

import pytest

# Before torch is loaded: the workers of a parallel run share the processors, and threads that wait for a place on one
# made some trainings ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LONG = ("workflow", "simulation")  # folders of tests that take minutes: first, so that no worker is left alone with one

LARGEST = 8 * 2**30  # bytes of a GPU that a test may take; the workers of a parallel run share it

CACHE = Path(__file__).parents[1] / "data" / "simulated" / ".cache"


@pytest.fixture(scope="session")
def model_cache():
    """The built human model, shared by all runs of the tests: building it takes most of a minute."""
    from pkdot.simulation.heads import build_head_model

    build_head_model(CACHE)
    return CACHE


@pytest.fixture(autouse=True)
def gpu_memory():
    """A test that takes much of a GPU fails itself, and not its neighbours; what it held is free for the next one."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        held = torch.cuda.max_memory_reserved()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        assert held < LARGEST, f"this test held {held / 2**30:.0f} GiB of the GPU"


def pytest_collection_modifyitems(items):
    """Put the long tests first."""
    items.sort(key=lambda item: LONG.index(item.path.parent.name) if item.path.parent.name in LONG else len(LONG))
