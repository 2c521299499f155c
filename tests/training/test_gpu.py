"""On a GPU everything trains under deterministic algorithms, with tokens that are absent, and twice to equal bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import World

from pkdot.distillation.base import check_needs
from pkdot.distillation.base import register as methods
from pkdot.errors import ConfigError
from pkdot.fusion.base import register as fusions
from pkdot.hallucination.base import register as tnets
from pkdot.training.loop import ComputeParams
from pkdot.training.student import train_students
from pkdot.training.teacher import train_teachers
from tests.training.test_stages import content

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

GPU = {"compute": ComputeParams(device="cuda"), "seeds": [0]}
KINDS = {
    "three classes": {"classes": 3, "tokens": 2},
    "three ordered classes": {"kind": "ordinal", "classes": 3},
    "regression": {"kind": "regression", "tokens": 3},
}


def teachers(world, name, **changes):
    params = world.teacher_params(**{**GPU, **changes})
    train_teachers(world.manifest, world.splits, world.embeddings, world.folder / name, params)
    return content(world.folder / name)


@pytest.fixture(scope="module", params=KINDS)
def world(request, tmp_path_factory):
    """A world of which some tokens are absent, with its teachers."""
    made = World(tmp_path_factory.mktemp("world"), **KINDS[request.param])
    if made.tokens > 1:
        for number, values in enumerate(made.values.values()):
            values[number::4, 1] = np.nan
        made.write()
    teachers(made, "teachers")
    return made


@pytest.mark.parametrize("fusion", fusions.names())
@pytest.mark.parametrize("tnet", tnets.names())
def test_teachers_and_tnets(world, fusion, tnet):
    changes = {"fusion": fusion, "tnet": {"kind": tnet, "hidden": [6]}}
    first, second = (teachers(world, f"{fusion}_{tnet}_{number}", **changes) for number in range(2))
    assert first == second


@pytest.mark.parametrize("method", methods.names())
def test_students(world, method):
    try:
        check_needs(method, methods.load(method).needs, world.kind, len(world.targets.get("level", [])) or None)
    except ConfigError:
        pytest.skip("the task does not serve the method")
    found = []
    for number in range(2):
        out = world.folder / f"{method}_{number}"
        params = world.student_params(method, **GPU)
        train_students(world.manifest, world.splits, world.embeddings, world.folder / "teachers", out, params)
        found.append(content(out))
    assert found[0] == found[1]
