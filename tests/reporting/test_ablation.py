"""The page of the ablation says what variants are, and in what protocols differ: no more than their records say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tree

from pkdot.files import read_json
from pkdot.reporting.ablation import ablation_params
from pkdot.reporting.conclusion import contrasts_of
from pkdot.reporting.formatting import between, number, signed
from pkdot.stages import STAGES

RELEASED = {"method": {"name": "kd", "weight": 2}, "tnet": "random", "fusion": "joint_cross_attention", "batch_size": 4}


@pytest.fixture
def leaky(copy):
    """The tiny experiment, and one over clips in which more than the splits differs."""
    e = tree.tiny(copy)
    students = e.students.plain() | {"methods": ["student_only", {"name": "kd", "weight": 1}], "candidates": 1}
    students["training"] |= {"batch_size": 4}
    splits = {"scheme": "leave_clips_out", "folds": 2}
    other = tree.tiny(copy, splits=splits, students=students)
    tree.run("leaky", other)
    return {"tiny": e, "leaky": other}


def page(*names):
    """Text of the page of the first experiment; its own methods stand for the variants."""
    e = tree.tiny(Path("data/root"), ablation={"kd": RELEASED}, evaluation={"ablation_reference": "kd"})
    summaries = [Path(f"results/{name}/summary.json") for name in names]
    STAGES["ablation"].function()(summaries[0], summaries, [], Path("results/page"), ablation_params(e, names[0]))
    text = Path("results/page/ablation.html").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition("<main>")[2]))


@pytest.mark.usefixtures("leaky")
def test_protocols_are_described_by_what_was_done():
    text = page("tiny", "leaky")
    assert "kd: weight 2, tnet random, batch size 4, fusion joint_cross_attention" in text
    assert "Nothing here was chosen by these numbers" in text
    assert "A rise is against tiny. It comes of all that the protocols differ in" in text
    assert "In leaky clips of one person lie on both sides" in text
    for option, tiny, other in (
        ("splits: scheme", "leave_subjects_out", "leave_clips_out"),
        ("student: training.batch_size", "8", "4"),
        ("student: candidates", "2", "1"),
        ("student of kd: method.weight", "not set", "1"),
    ):
        assert f" {option} {tiny} {other} " in text
    share = re.search(r" share of the data in training (\d+) % 50 % ", text)
    assert share is not None
    assert int(share[1]) < 50
    assert "steps" not in text
    assert "pkdot: method" not in text, "a method that the other protocol lacks"


@pytest.mark.usefixtures("leaky")
def test_a_variant_is_set_against_the_reference_with_what_could_be_shown():
    text = page("tiny", "leaky")
    assert "difference to kd" in text
    summary = read_json(Path("results/tiny/summary.json"))
    metric = summary["primary_metric"]
    own = [each for each in summary["contrasts"] if (each["reference"], each["metric"]) == ("kd", metric)]
    assert [each["method"] for each in own] == ["pkdot"]
    shown = (signed(own[0]["diff"]), number(own[0]["smallest_difference"]))
    row = re.search(r" pkdot (.*?) teacher ", text)[1]
    assert all(value in row for value in shown)
    assert summary["seeds_note"] in text


@pytest.mark.usefixtures("leaky")
def test_a_protocol_that_does_not_leak_is_not_called_leaking():
    assert "both sides" not in page("tiny", "tiny")
    assert "What the protocols differ in" not in page("tiny", "tiny")
    text = page("leaky")
    assert "The test part made the choices" in text
    assert "Nothing here was chosen" not in text


def test_the_report_of_clips_does_not_speak_of_unseen_subjects(leaky):
    text = tree.report("leaky", leaky["leaky"]).read_text(encoding="utf-8")
    assert "test subjects play no part in it" not in text
    assert "of the test part itself, as the scheme leave clips out has it" in text
    own = Path("results/tiny/report.html").read_text(encoding="utf-8")
    assert "test subjects play no part in it" in own
    assert "of the test part itself" not in own


@pytest.mark.parametrize("reference", ["own", "proxy"])
def test_a_t_net_is_held_against_a_student_of_as_many_parameters(copy, reference):
    """Variants are really trained: what a T-Net recovers, and what its student gains, stand in one row."""
    kd = {"name": "kd", "weight": 1}
    variants = {
        "own": {"method": kd},
        "proxy": {"method": kd, "tnet_kind": {"name": "attention", "heads": 2}},
        "equal": {"method": kd, "tnet_kind": {"name": "attention", "heads": 2}, "tnet": "matched"},
    }
    e = tree.tiny(copy, ablation=variants, evaluation={"ablation_reference": reference, "bootstrap": 100})
    results, students = tree.ablation("tiny", e)
    summary = results / "ablation/summary.json"
    STAGES["ablation"].function()(summary, [summary], students, results, ablation_params(e, "tiny"))
    text = re.sub(r"<[^>]+>", " ", (results / "ablation.html").read_text(encoding="utf-8"))
    row = re.findall(r" proxy (.*?)\n", text)[-1]  # in the table of T-Nets, which comes last
    metrics = [read_json(results / f"students/fold_{fold}/seed_0/proxy/metrics.json") for fold in (0, 1)]
    trained = [one["tnet"]["trained"] for one in metrics]
    for key in ("explained_variance", "retrieval_rank"):
        assert number(float(np.mean([one[key] for one in trained]))) in row
    primary = [
        each for each in contrasts_of(read_json(summary)) if {each["method"], each["reference"]} == {"proxy", "equal"}
    ]
    assert len(primary) == 1
    sign = 1 if primary[0]["method"] == "proxy" else -1
    ends = sorted(sign * primary[0][key] for key in ("diff_ci_low", "diff_ci_high"))
    assert f" {signed(sign * primary[0]['diff'])}  {between(*ends, 'signed')} " in row
    assert "attention (heads 2)" in row
    assert f"{metrics[0]['parameters']:,} and " in row
    assert "own" not in ablation_params(e, "tiny").tnets, "no variant has as many parameters as it"
