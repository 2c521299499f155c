"""No subject, and no group of them, is on two sides of a split."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import arrays_config, make_arrays, write_config, write_manifest

from pkdot.errors import ConfigError, DataError
from pkdot.experiment import load
from pkdot.splits import SplitParams, make_splits


def manifest_of(groups, samples=4, classes=("a", "b"), **columns):
    """A manifest: ``groups`` says how many subjects each group has; every subject has samples of all classes."""
    rows = []
    for group, subjects in enumerate(groups):
        for member in range(subjects):
            subject = f"s{group:02d}{'lrxyz'[member]}"
            rows += [
                {
                    "sample_id": f"{subject}-{i}",
                    "subject_id": subject,
                    "group_id": f"g{group}",
                    "y": classes[i % len(classes)],
                }
                for i in range(samples)
            ]
    return pd.DataFrame(rows).assign(**columns)


def split(table, classes=("a", "b"), **params):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_manifest(folder, table, {"y": list(classes) if classes else None})
        make_splits(manifest, folder, SplitParams(**params))
        return json.loads((folder / "splits.json").read_text())


def check(made, table):
    """The laws of every split by subjects."""
    group = table.groupby("subject_id")["group_id"].first()
    everyone = set(group.index)
    assert made["all"]["test"] == []
    for fold in [*made["folds"], made["all"]]:
        parts = [set(fold[part]) for part in ("train", "validation", "test")]
        assert all(parts[: 2 if fold is made["all"] else 3])
        assert set.union(*parts) == everyone
        assert sum(map(len, parts)) == len(everyone), "a subject is on two sides"
        groups = [set(group[list(part)]) for part in parts]
        assert sum(map(len, groups)) == group.nunique(), "a group is on two sides"


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(1, 4), min_size=3, max_size=14),
    folds=st.integers(3, 6),
    fraction=st.floats(0.05, 0.49),
    seed=st.integers(0, 99),
    regression=st.booleans(),
)
def test_every_subject_is_tested_once_and_no_group_is_torn(groups, folds, fraction, seed, regression):
    folds = min(folds, len(groups))
    table = manifest_of(groups)
    classes = None if regression else ("a", "b")
    made = split(table, classes, folds=folds, validation_fraction=fraction, seed=seed)
    assert len(made["folds"]) == folds
    check(made, table)
    tested = [subject for fold in made["folds"] for subject in fold["test"]]
    assert sorted(tested) == sorted(table["subject_id"].unique())


@settings(max_examples=25, deadline=None)
@given(owned=st.lists(st.sampled_from(["a", "b", "c"]), min_size=6, max_size=12), seed=st.integers(0, 99))
def test_no_part_is_empty_where_each_subject_has_one_class(owned, seed):
    """The hardest case for dealing by class: subjects of different classes never meet."""
    owned = [*owned, *"aaabbbccc"]
    table = manifest_of([1] * len(owned))
    table["y"] = np.repeat(owned, 4)
    made = split(table, ("a", "b", "c"), folds=3, validation_fraction=0.2, seed=seed)
    check(made, table)
    for fold in made["folds"]:
        counts = pd.Series(owned, index=sorted(table["subject_id"].unique()))[fold["test"]].value_counts()
        total = pd.Series(owned).value_counts()
        assert ((counts.reindex(total.index, fill_value=0) - total / 3).abs() <= 1).all(), "a class is dealt unevenly"


def test_leave_one_subject_out_tests_one_group_a_fold():
    table = manifest_of([1, 2, 1, 1])
    for folds in (None, 4):
        made = split(table, scheme="leave_one_subject_out", folds=folds)
        check(made, table)
        assert sorted(len(fold["test"]) for fold in made["folds"]) == [1, 1, 1, 2]
    with pytest.raises(DataError, match=r"with 5 folds, but the manifest has 4 subjects .*Remove splits.folds"):
        split(table, scheme="leave_one_subject_out", folds=5)


def test_given_test_subjects_take_their_group_along():
    table = manifest_of([1, 2, 1, 1, 1])
    made = split(table, scheme="given", test_subjects=["s01l"])
    assert made["folds"][0]["test"] == ["s01l", "s01r"]
    check(made, table)
    with pytest.raises(DataError, match=r"names 's99', which the manifest does not have"):
        split(table, scheme="given", test_subjects=["s01l", "s99"])


def test_lists_of_test_subjects_are_folds():
    table = manifest_of([1, 2, 1, 1, 1])
    params = {"scheme": "given", "test_subjects": [["s01l"], ["s00l", "s04l"]]}
    assert SplitParams(**params).fold_count == 2
    made = split(table, **params)
    assert [fold["test"] for fold in made["folds"]] == [["s01l", "s01r"], ["s00l", "s04l"]]
    check(made, table)
    with pytest.raises(DataError, match=r"two folds with the group of 's01l', which must stay together"):
        split(table, scheme="given", test_subjects=[["s01l"], ["s01r"]])
    with pytest.raises(DataError, match=r"names 's99'"):
        split(table, scheme="given", test_subjects=[["s01l"], ["s99"]])


def test_a_column_of_the_data_may_name_the_folds():
    table = manifest_of([1, 2, 1, 1, 1])
    folds = {"s00l": "2", "s01l": "10", "s01r": "10", "s02l": "", "s03l": "2", "s04l": "9"}
    table["fold"] = table["subject_id"].map(folds)
    made = split(table, scheme="given", folds=3)
    assert [fold["test"] for fold in made["folds"]] == [["s00l", "s03l"], ["s04l"], ["s01l", "s01r"]]
    check(made, table)
    with pytest.raises(DataError, match=r"folds is 2, but the column fold of recordings.csv has 3; set it to 3"):
        split(table, scheme="given", folds=2)
    with pytest.raises(DataError, match=r"recordings.csv has no column fold; add one"):
        split(table.drop(columns="fold"), scheme="given", folds=2)
    table.loc[0, "fold"] = "9"
    with pytest.raises(DataError, match=r"has the subject 's00l' in the folds '2' and '9'; give it one"):
        split(table, scheme="given", folds=3)
    with pytest.raises(ValueError, match=r"goes with scheme: given"):
        SplitParams(scheme="given", folds=3, test_subjects=["a"])


@pytest.mark.parametrize("wrong", [["a", "a"], [["a"], ["b", "a"]], [["a"], []]])
def test_no_subject_is_tested_twice_and_no_fold_is_empty(wrong):
    with pytest.raises(ValueError, match=r"a fold without subjects, or a subject twice"):
        SplitParams(scheme="given", test_subjects=wrong)


def test_leave_one_subject_out_counts_the_subjects_of_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = arrays_config() | {"splits": {"scheme": "leave_one_subject_out"}}
    path = write_config(tmp_path / "config" / "tiny.yaml", config)
    with pytest.raises(ConfigError, match=r"cannot be counted: own: no such folder"):
        load(path)
    make_arrays(tmp_path / "own", subjects=7)
    assert load(path).splits.fold_count == 7
    assert load(path).for_fold(6).splits.fold_count == 7
    manifest = write_manifest(tmp_path / "data", manifest_of([1, 2, 1]), {"y": ["a", "b"]})
    assert load(path, manifest).splits.fold_count == 3
    config["dataset"]["root"] = "data/packaged/watch"
    config["dataset"] |= {"name": "watch", "streams": ["gyroscope", "accelerometer"], "classes": ["PEN", "ABD"]}
    for name, source in (("motion", "gyroscope"), ("pulse", "accelerometer")):
        config["modalities"][name]["source"] = source
    with pytest.raises(ConfigError, match=r"the data are not there yet to count their subjects"):
        load(write_config(path, config)).splits.fold_count  # noqa: B018


def official(parts, **columns):
    """One group of one subject for each of the owners' parts."""
    table = manifest_of([1] * len(parts))
    return table.assign(official=np.repeat(parts, 4), **columns)


def test_the_owners_parts_are_kept():
    table = official(["train", "train", "train", "validation", "test", "test"])
    (fold,) = split(table, scheme="official")["folds"]
    assert (fold["validation"], fold["test"]) == (["s03l"], ["s04l", "s05l"])
    table = official(["train", "train", "train", "validation", "validation"])
    (fold,) = split(table, scheme="official")["folds"]
    assert fold["test"] == ["s03l", "s04l"], "their validation part is tested where the test part is not public"
    assert len(fold["validation"]) == 1


def test_owners_parts_that_cannot_serve_are_refused():
    with pytest.raises(DataError, match=r"has no owners' split"):
        split(manifest_of([1, 1, 1]), scheme="official")
    with pytest.raises(DataError, match=r"every sample lies in the owners' training part"):
        split(official(["train", "train", "train"]), scheme="official")
    torn = official(["train", "validation", "train", "train"]).replace({"group_id": {"g1": "g0"}})
    with pytest.raises(DataError, match=r"'g0' in two of their parts"):
        split(torn, scheme="official")
    torn = official(["train", "train", "validation"])
    torn.loc[0, "official"] = "validation"
    with pytest.raises(DataError, match=r"'g0' in two of their parts"):
        split(torn, scheme="official")


def test_the_released_scheme_deals_clips_and_says_so():
    table = manifest_of([1] * 5, samples=10)
    made = split(table, scheme="leave_clips_out", folds=5)
    assert made["unit"] == "sample"
    tested = [clip for fold in made["folds"] for clip in fold["test"]]
    assert sorted(tested) == sorted(table["sample_id"])
    for fold in made["folds"]:
        assert fold["validation"] == fold["test"]
        assert not set(fold["train"]) & set(fold["test"])
        assert table.set_index("sample_id").loc[fold["test"], "y"].value_counts().to_dict() == {"a": 5, "b": 5}


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.4, 0.49])
def test_the_validation_part_has_its_share(fraction):
    for fold in split(manifest_of([1] * 32), folds=2, validation_fraction=fraction)["folds"]:
        assert abs(len(fold["validation"]) - 16 * fraction) <= 1


def test_the_seed_decides():
    table = manifest_of([1] * 10)
    assert split(table, seed=1) == split(table, seed=1)
    assert split(table, seed=1)["folds"] != split(table, seed=2)["folds"]


@pytest.mark.parametrize(
    ("groups", "folds", "sentence"),
    [
        ([1, 1, 1, 1], 5, "splits.folds is 5, but there are 4 subjects"),
        ([3, 3], 5, "but there are 2 subjects"),
        ([1, 1], 2, "the training part of a fold has one subject"),
        ([4], 2, "but there are 1 subjects"),
    ],
)
def test_too_few_subjects_are_refused(groups, folds, sentence):
    with pytest.raises(DataError, match=sentence):
        split(manifest_of(groups), folds=folds)


def test_a_class_that_no_training_part_holds_is_refused():
    table = manifest_of([1] * 6)
    table["y"] = "a"
    table.loc[table["subject_id"] == "s00l", "y"] = "b"
    with pytest.raises(DataError, match=r"the training part of fold . has no sample of class b"):
        split(table, folds=3)


def test_a_subject_of_two_groups_is_refused():
    table = manifest_of([1] * 6)
    table.loc[0, "group_id"] = "another"
    with pytest.raises(DataError, match=r"has subject 's00l' in 2 groups"):
        split(table)


def test_test_subjects_go_with_their_scheme():
    for wrong in ({"scheme": "given"}, {"test_subjects": ["a"]}):
        with pytest.raises((ConfigError, ValueError), match=r"goes with scheme: given"):
            SplitParams(**wrong)
