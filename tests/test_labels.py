"""Studies of few and of wrong labels: draws are nested, as large as they should be, and never look at other parts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from synthetic import write_manifest

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.files import read_json
from pkdot.splits import Parts, SplitParams, make_splits

CLASSES = ["a", "b", "c"]


@pytest.fixture
def samples(tmp_path):
    """12 subjects with 12 samples each, of three classes, of which one is rare."""
    count = 144
    table = pd.DataFrame({"sample_id": [f"c{i:03d}" for i in range(count)]})
    table["subject_id"] = table["group_id"] = [f"s{i // 12:02d}" for i in range(count)]
    table["level"] = [CLASSES[min(2, i % 6 // 2 if i % 12 else 2)] if i % 4 else "a" for i in range(count)]
    return Samples.load(write_manifest(tmp_path, table, {"level": CLASSES}))


def parts_of(samples, tmp_path, **params):
    """The folds that splits.json describes."""
    make_splits(tmp_path / "manifest.parquet", tmp_path, SplitParams(folds=3, **params))
    return [Parts.read(tmp_path / "splits.json", fold, samples) for fold in range(3)]


@pytest.mark.parametrize("unit", ["sample", "subject"])
def test_smaller_draws_lie_within_larger_ones(samples, tmp_path, unit):
    draws = [parts_of(samples, tmp_path, labelled=share, labelled_unit=unit) for share in (0.25, 0.5, 0.75, 1.0, None)]
    for smaller, larger in itertools.pairwise(draws):
        for few, many in zip(smaller, larger, strict=True):
            assert set(few.train) <= set(many.train)
            assert set(few.train) | set(few.unlabelled) == set(many.train) | set(many.unlabelled)
            for part in ("validation", "test"):
                np.testing.assert_array_equal(getattr(few, part), getattr(many, part))
    assert all(not len(part.unlabelled) for part in draws[-1])


def test_a_share_of_samples_is_that_of_every_class(samples, tmp_path):
    whole = parts_of(samples, tmp_path)
    for part, every in zip(parts_of(samples, tmp_path, labelled=0.5, labelled_unit="sample"), whole, strict=True):
        kept, of = (samples.table["level"].iloc[rows].value_counts() for rows in (part.train, every.train))
        assert len(part.train) == round(0.5 * len(every.train))
        assert ((kept - 0.5 * of).abs() <= 1).all()


def test_a_number_is_a_number(samples, tmp_path):
    for part in parts_of(samples, tmp_path, labelled=10, labelled_unit="sample"):
        assert len(part.train) == 10
    for part in parts_of(samples, tmp_path, labelled=2):
        assert samples.table["subject_id"].iloc[part.train].nunique() == 2


def test_wrong_labels_are_other_classes_of_a_share_of_the_labelled_samples(samples, tmp_path):
    few, many = (parts_of(samples, tmp_path, label_noise=share) for share in (0.2, 0.4))
    truth = samples.table["level"]
    for less, more in zip(few, many, strict=True):
        assert less.wrong.items() <= more.wrong.items()
        assert set(more.wrong) <= set(more.train)
        assert all(name in CLASSES and name != truth.iloc[row] for row, name in more.wrong.items())
        assert 0.2 < len(more.wrong) / len(more.train) < 0.6


def test_samples_without_a_label_are_in_no_part_that_needs_one(samples, tmp_path):
    table = samples.table.copy()
    table.loc[table.index % 2 == 0, "level"] = None
    own = Samples.load(write_manifest(tmp_path / "own", table, {"level": CLASSES}))
    for part in parts_of(own, tmp_path / "own"):
        assert own.labelled[np.concatenate([part.train, part.validation, part.test])].all()
        assert not own.labelled[part.unlabelled].any()
        subjects = own.table["subject_id"]
        assert not set(subjects.iloc[part.unlabelled]) & set(subjects.iloc[np.r_[part.test, part.validation]])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"labelled": 1000, "labelled_unit": "sample"}, "has 72 samples with labels; keep fewer"),
        ({"labelled": 2, "labelled_unit": "sample"}, "keeps no label of class"),
    ],
)
def test_impossible_draws_are_refused(samples, tmp_path, params, message):
    with pytest.raises(DataError, match=message):
        parts_of(samples, tmp_path, **params)


def test_a_study_takes_nothing_from_the_description_of_the_folds(samples, tmp_path):
    parts_of(samples, tmp_path)
    plain = read_json(tmp_path / "splits.json")
    parts_of(samples, tmp_path, labelled=0.5, label_noise=0.1)
    assert read_json(tmp_path / "splits.json")["folds"] == plain["folds"]
