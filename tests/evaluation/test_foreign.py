"""Predictions from elsewhere: held against the same baseline, and each mistake in a file named with its row."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from contest_files import SEEDS, ContestFiles

from pkdot.cli import main
from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.evaluation.foreign import Foreign, ForeignParams, read_foreign
from pkdot.evaluation.score import score
from pkdot.files import read_json
from pkdot.layout import Layout
from pkdot.tasks import TaskParams

KINDS = ["k0", "k1"]


class Given(ContestFiles):
    """A finished contest with its folds, and files of predictions beside it."""

    def __init__(self, folder, **how):
        super().__init__(folder, **how)
        number = self.table["subject_id"].str[1:].astype(int)
        self.fold_of = number * self.folds // (number.max() + 1)
        parts = [sorted(self.table["subject_id"][self.fold_of == fold].unique()) for fold in range(self.folds)]
        folds = [{"train": [], "validation": [], "test": part} for part in parts]
        self.splits = folder / "splits.json"
        self.splits.write_text(json.dumps({"scheme": "x", "seed": 0, "unit": "subject", "folds": folds}))
        self.files = Layout(folder, folder / "out")

    def rows_of(self, method, seed):
        """The predictions of a method, as its authors would write them down."""
        tables = [pd.read_parquet(self.path(fold, seed, method)).assign(fold=fold) for fold in range(self.folds)]
        table = pd.concat(tables)[["fold", "sample_id", "score_0", "score_1"]]
        return table.set_axis(["fold", "sample_id", *KINDS], axis=1).sample(frac=1, random_state=seed)

    def csv(self, table, name="mine.csv"):
        table.to_csv(self.folder / name, index=False)
        return self.folder / name

    def read(self, path):
        samples, task = Samples.load(self.manifest), TaskParams()
        return Foreign(path, samples, read_json(self.splits), task, SEEDS)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    given = Given(tmp_path_factory.mktemp("given"))
    given.summary()
    return given


def rows_of(summary, method):
    return {row["metric"]: {**row, "method": "", "se": 0} for row in summary["rows"] if row["method"] == method}


def test_our_own_predictions_from_elsewhere_score_as_they_do_here(given):
    """All seeds of kd in one file: its means, intervals and p-values are those of the contest."""
    table = pd.concat([given.rows_of("kd", seed).assign(seed=seed) for seed in SEEDS])
    scored = score(given.csv(table), given.files, "mine")
    summary = read_json(given.files.summary())
    assert rows_of(scored, "mine") == rows_of(summary, "kd")
    assert rows_of(scored, "student_only") == rows_of(summary, "student_only")
    ps = {each["metric"]: each["p"] for each in summary["contrasts"] if each["method"] == "kd"}
    assert {each["metric"]: each["p"] for each in scored["contrasts"]} == ps


def test_one_training_counts_for_every_seed(given):
    scored = score(given.csv(given.rows_of("kd", 0)), given.files, "mine")
    right = pd.concat([pd.read_parquet(given.path(fold, 0, "kd")) for fold in range(given.folds)])
    hits = right["target"].astype(str) == right["prediction"].astype(str)
    assert rows_of(scored, "mine")["accuracy"]["mean"] == pytest.approx(hits.mean())


def test_a_parquet_file_is_the_same_as_a_csv_file(given):
    table = given.rows_of("sp", 1)
    table.to_parquet(given.folder / "mine.parquet")
    path = given.csv(table)
    assert score(path.with_suffix(".parquet"), given.files, "m") == score(path, given.files, "m")


def test_what_the_others_left_out_is_not_asked_for_and_does_not_count(tmp_path):
    given = Given(tmp_path)
    lost = given.table["sample_id"][3]
    for seed in SEEDS:
        path = given.path(0, seed, "teacher")
        table = pd.read_parquet(path)
        table[table["sample_id"] != lost].to_parquet(path, index=False)
    given.summary()
    table = given.rows_of("kd", 0)
    assert (table["sample_id"] == lost).sum() == 1
    without = table[table["sample_id"] != lost]
    assert score(given.csv(table), given.files, "m") == score(given.csv(without, "less.csv"), given.files, "m")


def test_it_enters_the_contest_as_one_more_row(tmp_path):
    """A file with kd's predictions is kd: the same row, one contrast more in the declared family."""
    given = Given(tmp_path)
    path = given.csv(pd.concat([given.rows_of("kd", seed).assign(seed=seed) for seed in SEEDS]))
    params = ForeignParams(label="mine", task=TaskParams(), seeds=SEEDS)
    read_foreign(given.manifest, given.splits, path, given.folder / "foreign", params)
    assert read_json(given.folder / "foreign" / "mine.json") == {"samples": len(given.table), "seeds": SEEDS}
    students, given.foreign = ["student_only", "kd", "sp", "mine"], ["mine"]
    summary = given.summary(methods=students, foreign=["mine"], compared=["kd", "sp", "mine"])
    assert rows_of(summary, "mine") == rows_of(summary, "kd")
    declared = [each for each in summary["contrasts"] if each["family"] == "declared" and each["p_holm"] is not None]
    assert [each["method"] for each in declared] == ["kd", "sp", "mine"]
    assert declared[2]["p"] == declared[0]["p"]
    assert summary["foreign"] == ["mine"]


def test_a_model_that_fails_on_a_sample_is_refused_where_the_others_are_scored(tmp_path):
    given = Given(tmp_path)
    table = given.rows_of("kd", 0).sort_values("sample_id")
    params = ForeignParams(label="mine", task=TaskParams(), seeds=SEEDS)
    read_foreign(given.manifest, given.splits, given.csv(table[1:]), given.folder / "foreign", params)
    given.foreign = ["mine"]
    with pytest.raises(DataError, match=r"evaluation\.foreign\.mine: there is no prediction for 'c000' of fold 0"):
        given.fold(0)


def spoiled(**cells):
    """A function that sets some cells of the third row of a table."""

    def spoil(table):
        table = table.astype(object).reset_index(drop=True)
        for name, value in cells.items():
            table.loc[2, name] = value
        return table

    return spoil


def doubled(table):
    return pd.concat([table[:4], table[1:2], table[4:]])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoiled(sample_id="<b>"), ", row 4: sample_id '<b>' is not in the manifest"),
        (spoiled(fold=7), ", row 4: fold is '7', not a whole number from 0 to 1"),
        (spoiled(fold="x"), ", row 4: fold is 'x', not a whole number"),
        (spoiled(fold=1), ", row 4: 'c002' is tested in fold 0, not in fold 1"),
        (spoiled(k0=0.9, k1=0.3), ", row 4: the probabilities of 'c002' sum to 1.2, not to 1"),
        (spoiled(k0=1.5, k1=-0.5), ", row 4: a probability of 'c002' is below 0 or above 1"),
        (spoiled(k1=float("nan")), ", row 4: k1 of 'c002' is not a finite number"),
        (spoiled(k1="inf"), ", row 4: k1 of 'c002' is not a finite number"),
        (spoiled(k0="high"), ", row 4: k0 of 'c002' is not a finite number"),
        (doubled, ", row 6: 'c001' is in row 3 too"),
        (lambda table: table[1:], ": there is no prediction for 'c000' of fold 0; a model that fails"),
        (lambda table: table[5:], ": there is no prediction for 'c000' and 4 more of fold 0"),
        (lambda table: table[:0], ": has no rows"),
        (lambda table: table.drop(columns="k1"), ": has no column 'k1'. Its columns are fold, sample_id, k0, k1"),
        (lambda table: table.assign(subject="s"), ": has a column 'subject' that means nothing here"),
        (lambda table: table.assign(seed=5), ", row 2: seed 5 is none of the seeds of the contest, 0, 1"),
        (lambda table: table.assign(seed=0), ": there is no prediction for 'c000' and 47 more of fold 0"),
    ],
)
def test_a_mistake_is_named_with_its_row(given, spoil, sentence):
    table = spoil(given.rows_of("kd", 0).sort_values("sample_id"))
    path = given.csv(table, "spoiled.csv")
    with pytest.raises(DataError) as caught:
        score(path, given.files, "mine")
    assert str(caught.value).startswith(f"{path}{sentence}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a table in CSV in UTF-8 (No columns to parse from file)"),
        (b"fold,sample_id,k0,k1\n0,c000,0.5,0.5,1,2\n", "is not a table in CSV in UTF-8"),
        (b"fold,sample_id,k0,k1\n0,\xff\xfe,1,0\n", "is not a table in CSV in UTF-8"),
        (b"\x00\x01\x02", "has no column 'fold'"),
        (b"fold;sample_id;k0;k1\n0;c000;1;0\n", "has no column 'fold'"),
    ],
)
def test_what_is_no_table_is_said(given, content, sentence):
    path = given.folder / "odd.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        score(path, given.files, "mine")
    assert sentence in str(caught.value)
    path.rename(path.with_suffix(".parquet"))
    with pytest.raises(DataError, match="is not a table in Parquet"):
        score(path.with_suffix(".parquet"), given.files, "mine")


def test_samples_that_no_fold_tests_are_refused(tmp_path):
    given = Given(tmp_path)
    splits = read_json(given.splits)
    given.splits.write_text(json.dumps({**splits, "folds": splits["folds"][:1]}))
    given.fold_of[:] = 0
    table = given.rows_of("kd", 0).assign(fold=0).sort_values("sample_id")
    with pytest.raises(DataError, match=r"row 50: no fold tests 'c048'; remove the row"):
        given.read(given.csv(table))


def test_rows_in_many_parts_are_rows_in_one(given, monkeypatch):
    path = given.csv(given.rows_of("kd", 0))
    whole = given.read(path).values
    monkeypatch.setattr("pkdot.evaluation.foreign.CHUNK", 7)
    assert np.array_equal(given.read(path).values, whole)
    table = given.rows_of("kd", 0).sort_values("sample_id")
    late = given.csv(pd.concat([table, table[10:11]]), "late.csv")
    with pytest.raises(DataError, match=r"row 98: 'c010' is in row 12 too"):
        given.read(late)


def test_the_verb_prints_a_table_and_writes_json(given, monkeypatch, capsys):
    home = given.folder.parent / "home"
    for name, target in (("data/processed/tiny", given.folder), ("results/tiny", given.folder / "out")):
        (home / name).parent.mkdir(parents=True)
        (home / name).symlink_to(target)
    monkeypatch.chdir(home)
    given.csv(given.rows_of("kd", 0), "kd_again.csv")
    main(["score", str(given.folder / "kd_again.csv"), "--experiment", "tiny", "--out", "scores/kd.json"])
    printed = capsys.readouterr().out
    written = read_json(home / "scores" / "kd.json")
    row = rows_of(written, "kd_again")["accuracy"]
    assert f"{row['mean']:.3f}" in next(line for line in printed.splitlines() if line.startswith("kd_again  "))
    assert "8 subjects" in printed
    assert written["contrasts"][0]["p"] is not None
    with pytest.raises(SystemExit, match="no such file"):
        main(["score", "x.csv", "--experiment", "nothing"])
