"""Makes ``synthetic`` importable from every folder of tests; holds what several folders share."""

from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / "data" / "simulated" / ".cache"


@pytest.fixture(scope="session")
def model_cache():
    """The built human model, shared by all runs of the tests: building it takes most of a minute."""
    from pkdot.simulation.heads import build_head_model

    build_head_model(CACHE)
    return CACHE
