"""Two small experiments that are run once: one of classes on simulated data, one over sequences on other data."""

from __future__ import annotations

import shutil
from contextlib import chdir

import numpy as np
import pytest
import tree
from tree import ROOT


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Folder in which ``tiny`` and ``sequences`` were run and reported."""
    folder = tmp_path_factory.mktemp("reports")
    with chdir(folder):
        tree.make_root(ROOT, simulated=True, rng=np.random.default_rng(0))
        tree.run("tiny", tree.tiny(ROOT))
        tree.report("tiny", tree.tiny(ROOT))
        rng = np.random.default_rng(1)
        tree.run("sequences", tree.sequences(ROOT), lambda out: tree.ingest_sequences(ROOT, out, rng))
        tree.report("sequences", tree.sequences(ROOT))
    return folder


@pytest.fixture
def copy(ran, tmp_path, monkeypatch):
    """The same in a folder of its own, to spoil; it is the current folder."""
    shutil.copytree(ran, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return ROOT


@pytest.fixture(params=["tiny", "sequences"])
def page(request, ran):
    """Either report as text."""
    return (ran / "results" / request.param / "report.html").read_text(encoding="utf-8")
