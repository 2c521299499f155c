"""Cross-fitted embeddings: neither the labels nor the data of a training subject have a say in its own."""

from __future__ import annotations

import numpy as np
import pytest

from pkdot.errors import DataError
from pkdot.splits import Parts
from pkdot.training.cross_fit import held_out

NONE = np.array([], dtype=int)


def parts(train, unlabelled=(), validation=(90,), test=(91,)):
    train, unlabelled, validation, test = (np.array(rows, dtype=int) for rows in (train, unlabelled, validation, test))
    return Parts(train, unlabelled, validation, test, {1: "b"})


def test_every_labelled_group_is_held_out_once_with_all_its_training_rows():
    groups = np.array(["a", "a", "b", "b", "c", "d"] + ["e"] * 86)
    fold = parts(train=[0, 2, 4], unlabelled=[1, 3, 5])
    found = list(held_out(fold, groups, 3, 0))
    assert sorted(tuple(rows.tolist()) for rows, _ in found) == [(0, 1), (2, 3), (4,)]  # and d, without a label, never
    for rows, others in found:
        assert not set(rows) & set(np.concatenate([others.train, others.unlabelled]))
        assert set(rows) | set(others.train) | set(others.unlabelled) == {0, 1, 2, 3, 4, 5}
        assert (others.validation.tolist(), others.test.tolist()) == ([90], [91])
        assert others.wrong == fold.wrong, "labels that a study made wrong stay wrong"


def test_there_are_no_more_parts_than_groups():
    assert len(list(held_out(parts(train=[0, 1]), np.arange(92), 5, 0))) == 2


def test_one_subject_leaves_nothing_to_be_trained_on():
    with pytest.raises(DataError, match=r"embedding\.cross_fit needs two"):
        list(held_out(parts(train=[0, 1]), np.array(["a"] * 92), 2, 0))
