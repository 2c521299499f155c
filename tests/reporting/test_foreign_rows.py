"""A model from elsewhere in a report that was really made, and frames from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import tree
from synthetic import REPO

from pkdot import jobs
from pkdot.cli import main
from pkdot.errors import DataError
from pkdot.evaluation.score import score
from pkdot.files import read_json
from pkdot.layout import Layout
from pkdot.reporting.conclusion import conclude
from pkdot.stages import STAGES
from pkdot.tables import read_parts


def frames_of(files, method, seed=0):
    """The predictions of a method for every annotated frame, as its authors would write them down."""
    table = pd.concat(read_parts(files.predictions(), None, method, seed))
    names = ["fold", "sample_id", "frame"]
    table = table.astype({"output": str, "sample_id": str})
    return table.pivot(index=names, columns="output", values="prediction").reset_index()


@pytest.fixture
def sequences(copy):
    return Layout.of("sequences")


def write(table, path="mine.csv"):
    table.to_csv(path, index=False)
    return Path(path)


def of(summary, method):
    """The row of a method by each metric, without its names and what is over folds."""
    found = {}
    for row in summary["rows"]:
        if row["method"] == method:
            found[row["metric"]] = {key: row[key] for key in row.keys() - {"method", "metric", "se"}}
    return found


def test_our_own_frames_from_elsewhere_score_as_they_do_here(sequences):
    scored = score(write(frames_of(sequences, "feature_mse").fillna(0)), sequences, "mine")
    wanted = of(read_json(sequences.summary()), "feature_mse")
    got = of(scored, "mine")
    assert got.keys() == wanted.keys()
    for metric, row in wanted.items():
        assert got[metric] == pytest.approx(row, rel=1e-6), metric


def test_mistakes_in_frames_are_named(sequences):
    table = frames_of(sequences, "feature_mse").fillna(0)
    name = table["sample_id"][0]
    for spoiled, sentence in (
        (table.drop(index=3), f"mine.csv: '{name}' has no row for frame {table['frame'][3]}, which is annotated"),
        (table.assign(frame=table["frame"] + 9), "mine.csv, row 9: frame is '16', not a whole number from 0 to 15"),
        (pd.concat([table, table[4:5]]), f", row {len(table) + 2}: frame {table['frame'][4]} of '{name}' is in row 6"),
        (table.drop(columns="arousal"), "has no column 'arousal'. Its columns are fold, sample_id, frame, valence"),
    ):
        with pytest.raises(DataError) as caught:
            score(write(spoiled), sequences, "mine")
        assert sentence in str(caught.value)


def test_it_is_one_more_row_of_the_report_with_a_sentence_of_its_own(copy):
    files, evaluation = Layout.of("tiny"), {"bootstrap": 100, "foreign": {"theirs": "theirs.csv"}}
    e = tree.tiny(copy, evaluation=evaluation)
    table = pd.concat(read_parts(files.predictions(), None, "kd", 0))
    table = table.rename(columns={f"score_{number}": name for number, name in enumerate(tree.CLASSES)})
    write(table[["fold", "sample_id", *tree.CLASSES]], "theirs.csv")
    foreign = STAGES["foreign"].function()
    foreign(files.manifest, files.splits, Path("theirs.csv"), files.foreign, jobs.foreign(e, "theirs"))
    for fold in range(2):
        parts = [files.teachers(fold), files.students(fold), files.foreign / f"fold_{fold}"]
        STAGES["fold"].function()(files.manifest, *parts, files.fold(fold).parent, jobs.fold(e, fold))
    folds = [files.fold(fold) for fold in range(2)]
    choices = [files.choice(fold, method) for fold in range(2) for method in e.prevalent_only]
    STAGES["summary"].function()(files.manifest, folds, choices, files.results, jobs.summary(e, "tiny"))
    page = tree.report("tiny", e).read_text(encoding="utf-8")
    summary = read_json(files.summary())
    assert of(summary, "theirs") == of(summary, "kd")
    assert page.count('<span class="method">theirs</span>') >= 3, "the contest by each metric, the contrasts"
    assert "from elsewhere" in page
    concluded = conclude(summary, {"kd": 0.5, "pkdot": 0.6, "student_only": 0.4})
    assert sum(each.startswith("theirs differs from the baseline") for each in concluded.sentences) == 1
    assert not any("distilled student" in each and "theirs" in each for each in concluded.sentences)
    assert any("f 2 distilled students" in each for each in concluded.sentences)


def test_the_model_of_the_documentation_enters_the_contest(copy, capsys):
    """As it stands there, but for the names of the experiment and of its modality."""
    page = (REPO / "docs" / "foreign-models.md").read_text(encoding="utf-8")
    code, command = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "sh"))
    exec(code.replace('"watch"', '"tiny"').replace('"gyroscope"', '"motion"'), {})
    main(command.replace("watch", "tiny").split()[1:])
    assert capsys.readouterr().out.startswith("logistic on tiny (SIMULATED DATA): 6 subjects")
    assert read_json(Path("scores/logistic.json"))["method"] == "logistic"
