"""Metrics against independent libraries; weights of subjects against tables in which they really occur that often."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import from_numpy
from torchmetrics.functional import concordance_corrcoef

from pkdot.evaluation.metrics import Metrics, lower_is_better, metric_names


def class_table(seed, classes=3, subjects=5, samples=60, folds=1, ties=False):
    rng = np.random.default_rng(seed)
    names = np.array([f"k{i}" for i in range(classes)])
    truth = rng.integers(classes, size=samples)
    truth[:classes] = range(classes)
    scores = rng.dirichlet(np.ones(classes), size=samples) + 0.5 * np.eye(classes)[truth] * rng.random((samples, 1))
    scores /= scores.sum(axis=1, keepdims=True)
    if ties:
        scores = np.round(scores, 1)
    subject = rng.integers(subjects, size=samples)
    table = pd.DataFrame({"subject_id": [f"s{i}" for i in subject], "fold": subject % folds})
    table["target"], table["prediction"] = names[truth], names[scores.argmax(axis=1)]
    for i in range(classes):
        table[f"score_{i}"] = scores[:, i]
    return table, list(names)


def real_table(seed, subjects=5, frames=80):
    rng = np.random.default_rng(seed)
    parts = []
    for output in ("valence", "arousal"):
        truth = rng.normal(size=frames)
        part = {"target": truth, "prediction": 0.5 * truth + rng.normal(size=frames), "output": output, "fold": 0}
        parts.append(pd.DataFrame(part).assign(subject_id=[f"s{i}" for i in rng.integers(subjects, size=frames)]))
    return pd.concat(parts, ignore_index=True)


def names_of(table):
    return sorted(table["subject_id"].unique())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), classes=st.integers(2, 5), ties=st.booleans())
def test_metrics_of_classes_are_those_of_sklearn(seed, classes, ties):
    table, names = class_table(seed, classes, ties=ties)
    got = Metrics(table, names_of(table), "ordinal", names).all()
    truth, said = (table[c].str[1:].astype(int) for c in ("target", "prediction"))
    scores = table.filter(like="score_").to_numpy()
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert got["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
    assert got["macro_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro"))
    assert got["mae"] == pytest.approx(sk.mean_absolute_error(truth, said))
    assert got["quadratic_kappa"] == pytest.approx(sk.cohen_kappa_score(truth, said, weights="quadratic"))
    each = [sk.roc_auc_score(truth == i, scores[:, i]) for i in range(classes)]
    assert got["auc"] == pytest.approx(each[1] if classes == 2 else np.mean(each))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_metrics_of_values_are_those_of_other_libraries(seed):
    table = real_table(seed)
    got = Metrics(table, names_of(table), "regression", None).all()
    for output in ("valence", "arousal"):
        part = table[table["output"] == output]
        # torchmetrics divides by n - 1, Lin (1989) by n: many repeats make them one
        said, truth = (from_numpy(np.tile(part[c].to_numpy(), 5000)) for c in ("prediction", "target"))
        assert got[f"ccc_{output}"] == pytest.approx(float(concordance_corrcoef(said, truth)), abs=1e-4)
        pair = part["target"], part["prediction"]
        assert got[f"mae_{output}"] == pytest.approx(sk.mean_absolute_error(*pair))
        assert got[f"rmse_{output}"] == pytest.approx(sk.root_mean_squared_error(*pair))
    assert got["ccc_mean"] == pytest.approx((got["ccc_valence"] + got["ccc_arousal"]) / 2)


def repeated(table, subjects, weights):
    """The table in which each subject really occurs as often as its weight says."""
    parts = [table[table["subject_id"] == s] for s, w in zip(subjects, weights, strict=True) for _ in range(w)]
    return pd.concat(parts, ignore_index=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), kind=st.sampled_from(["classification", "ordinal", "regression"]), data=st.data())
def test_weights_are_repeated_subjects(seed, kind, data):
    """A resample is scored as if its table had been made: for every metric, also with a subject missing."""
    table, names = (
        (real_table(seed), None) if kind == "regression" else class_table(seed, data.draw(st.integers(2, 4)), folds=2)
    )
    subjects = names_of(table)
    weights = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(subjects), max_size=len(subjects))))
    if not weights.any():
        weights[0] = 1
    got = {name: value[0] for name, value in Metrics(table, subjects, kind, names)(weights[None]).items()}
    assert list(got) == metric_names(kind, ["valence", "arousal"]) or kind == "regression"
    want = Metrics(repeated(table, subjects, weights), subjects, kind, names).all()
    for name, value in want.items():
        assert got[name] == pytest.approx(value, nan_ok=True, abs=1e-9), name


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), kind=st.sampled_from(["classification", "ordinal", "regression"]), data=st.data())
def test_swapped_subjects_are_tables_in_which_they_are_swapped(seed, kind, data):
    if kind == "regression":
        mine, names = real_table(seed), None
        theirs = mine.assign(prediction=np.random.default_rng(seed + 1).normal(size=len(mine)))
    else:
        mine, names = class_table(seed, folds=2)
        other = class_table(seed + 10_000, folds=2)[0]
        columns = ["prediction", *(f"score_{i}" for i in range(len(names)))]
        theirs = mine.assign(**{column: other[column] for column in columns})
    subjects = names_of(mine)
    places = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(subjects), max_size=len(subjects))))
    ours, others = (Metrics(table, subjects, kind, names) for table in (mine, theirs))
    got = ours.swapped(others, places[None].astype(float))
    scores = list(mine.filter(like="score_"))
    ranked = [table.assign(**table.groupby("fold")[scores].rank()) for table in (mine, theirs)]
    moved = mine["subject_id"].isin([s for s, place in zip(subjects, places, strict=True) if place])
    expected = Metrics(ranked[0].where(~moved, ranked[1]), subjects, kind, names).all()
    assert {name: value[0] for name, value in got.items()} == pytest.approx(expected, nan_ok=True)


def test_each_subject_alone():
    table, names = class_table(3)
    subjects = names_of(table)
    metrics = Metrics(table, subjects, "ordinal", names)
    alone = metrics(np.eye(len(subjects)))
    for i, subject in enumerate(subjects):
        own = Metrics(table[table["subject_id"] == subject], [subject], "ordinal", names).all()
        for name, value in own.items():
            assert alone[name][i] == pytest.approx(value, nan_ok=True), name
    assert metrics.by_subject().tolist() == alone["mae"].tolist()


def test_scores_of_different_folds_are_not_ranked_against_each_other():
    """Two folds, each ranked perfectly, whose scores are on different scales."""
    table = pd.DataFrame(
        {
            "subject_id": ["a", "a", "b", "b"],
            "fold": [0, 0, 1, 1],
            "target": ["k0", "k1"] * 2,
            "prediction": ["k0"] * 4,
            "score_0": [0.9, 0.8, 0.3, 0.1],
            "score_1": [0.1, 0.2, 0.7, 0.9],
        }
    )
    assert Metrics(table, ["a", "b"], "classification", ["k0", "k1"]).all()["auc"] == 1
    assert Metrics(table.assign(fold=0), ["a", "b"], "classification", ["k0", "k1"]).all()["auc"] == 0.75


def tiny(truth, said, classes=("k0", "k1", "k2")):
    table = pd.DataFrame({"subject_id": "s", "fold": 0, "target": truth, "prediction": said})
    for i in range(len(classes)):
        table[f"score_{i}"] = 1 / len(classes)
    return Metrics(table, ["s"], "ordinal", list(classes)).all()


def test_a_class_that_does_not_occur_does_not_count():
    got = tiny(["k0", "k0", "k1"], ["k0", "k1", "k1"])
    assert got["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    called = tiny(["k0", "k0", "k1"], ["k0", "k2", "k1"])
    assert called["macro_f1"] == pytest.approx((2 / 3 + 1) / 2), "a class that is only called does not count either"


def test_a_class_that_is_never_called_counts_as_zero():
    got = tiny(["k0", "k1"], ["k0", "k0"])
    assert got["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert got["balanced_accuracy"] == 0.5


def test_a_single_class():
    got = tiny(["k1", "k1"], ["k1", "k1"])
    assert got["accuracy"] == got["balanced_accuracy"] == got["macro_f1"] == 1
    assert got["mae"] == 0
    assert np.isnan(got["quadratic_kappa"])
    assert np.isnan(got["auc"])


def test_equal_scores_are_half_right():
    assert tiny(["k0", "k1", "k2"], ["k0"] * 3)["auc"] == 0.5


def test_no_subject_at_all_is_not_defined():
    table, names = class_table(0)
    got = Metrics(table, names_of(table), "ordinal", names)(np.zeros((1, 5)))
    assert all(np.isnan(value).all() for value in got.values())


def test_the_confusion_matrix_counts():
    table, names = class_table(1)
    want = sk.confusion_matrix(table["target"], table["prediction"], labels=names)
    np.testing.assert_array_equal(Metrics(table, names_of(table), "classification", names).confusion(), want)


def test_the_names_are_those_that_are_computed():
    table, names = class_table(2)
    for kind in ("classification", "ordinal"):
        assert set(Metrics(table, names_of(table), kind, names).all()) == set(metric_names(kind, ["y"]))
    got = Metrics(real_table(0), names_of(real_table(0)), "regression", None).all()
    assert set(got) == set(metric_names("regression", ["valence", "arousal"]))
    assert lower_is_better(metric_names("ordinal", ["y"])[0])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("subjects", [7, 100])
def test_many_subjects_with_few_samples_are_ranked_as_few_with_many(subjects, ties, monkeypatch):
    """Both ways of counting pairs give one number, for weights and for methods that change places."""
    (table, names), (other, _) = (class_table(seed, 4, subjects, 10 * subjects, folds=2, ties=ties) for seed in (1, 2))
    same = [*table.columns.intersection(["subject_id", "fold", "target"])]
    other[same] = table[same]
    one, two = (Metrics(each, names_of(table), "classification", names) for each in (table, other))
    rng = np.random.default_rng(0)
    weights, places = (rng.integers(0, most, (9, subjects)).astype(float) for most in (3, 2))

    def areas(samples):
        for ranked in (*one.sums.ranked, *two.sums.ranked):
            monkeypatch.setattr(ranked, "samples", samples)
        return one(weights)["auc"], one.swapped(two, places)["auc"]

    np.testing.assert_allclose(areas(samples=1), areas(samples=subjects**2))
