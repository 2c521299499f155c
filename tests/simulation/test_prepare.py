"""Data that the project makes itself: reached by a name only, and made with packages of an extra."""

from __future__ import annotations

import subprocess
import sys

import pytest
from synthetic import REPO

from pkdot import jobs
from pkdot.errors import ConfigError
from pkdot.experiment import load
from pkdot.provenance import closure
from pkdot.registry import modules_of
from pkdot.simulation.base import register
from pkdot.simulation.prepare import PrepareParams, prepare
from pkdot.stages import STAGES

PREPARED = [path.stem for path in sorted((REPO / "config").glob("*.yaml")) if load(path).dataset.is_prepared]


def modules_behind(verb, params):
    return set(closure((STAGES[verb].module, *modules_of(params))))


@pytest.mark.parametrize("name", PREPARED)
def test_the_code_of_ingestion_holds_no_simulation(name):
    e = load(REPO / "config" / f"{name}.yaml")
    assert not [module for module in modules_behind("ingest", jobs.ingest(e)) if "simulation" in module]


def test_the_code_of_a_preparation_holds_all_that_draws():
    found = modules_behind("prepare", jobs.prepare(load(REPO / "config" / "biovid.yaml")))
    assert {"pkdot.simulation.biovid", "pkdot.simulation.skins", "pkdot.simulation.physiology"} <= found
    assert not [module for module in found if "datasets" in module]


@pytest.mark.parametrize("name", ["biovid", "affwild2"])
@pytest.mark.parametrize("package", ["anny", "numba"])
def test_without_the_extra_a_sentence_says_what_to_install(name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(ConfigError, match=rf"need the package {package}, .* pip install 'pkdot\[simulate\]'"):
        prepare(tmp_path / "made", PrepareParams(preparation=name))
    assert not (tmp_path / "made").exists()


def test_a_configuration_is_read_without_the_packages_of_the_extra():
    script = "import sys; sys.modules['anny'] = sys.modules['numba'] = None; from pathlib import Path; "
    script += "from pkdot.experiment import load; load(Path('config/biovid.yaml')); load(Path('config/affwild2.yaml'))"
    subprocess.run([sys.executable, "-c", script], cwd=REPO, check=True)


def test_every_preparation_makes_the_root_of_a_data_set():
    from pkdot.datasets.base import register as datasets

    assert {datasets.load(name).preparation for name in datasets.names()} - {""} == set(register.names())
