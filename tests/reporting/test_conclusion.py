"""The opening sentences claim what the numbers carry, and no more."""

from __future__ import annotations

import pytest

from pkdot.reporting.conclusion import conclude, headline, smallest_p, warnings_of_the_test
from pkdot.reporting.formatting import between, joined, number, p_value, percent, sentence, short, signed

VALIDATION = {"student_only": 0.5, "kd": 0.7, "pkdot": 0.6}


def row(method, mean, diff=None, metric="accuracy", half=0.01):
    ends = {"diff_ci_low": None, "diff_ci_high": None}
    if diff is not None:
        ends = {"diff_ci_low": diff - half, "diff_ci_high": diff + half}
    known = {"method": method, "metric": metric, "mean": mean, "ci_low": mean - half, "ci_high": mean + half}
    return {**known, "diff": diff, **ends, "se": None, "n_subjects": 20}


def contrast(method, metric, p_holm):
    family = "teachers" if method == "teacher" else "declared"
    known = {"method": method, "reference": "student_only", "metric": metric, "family": family}
    return {**known, "p": p_holm, "p_holm": None if method == "teacher" else p_holm}


def summary(pkdot, kd=(0.02, 0.4), teacher=(0.1, 0.001), share=0.4, metric="accuracy", baseline=0.6):
    """A summary of pkdot and kd between baseline and teacher; each is (difference, corrected p)."""
    rows, contrasts = [row("student_only", baseline, metric=metric)], []
    for method, (diff, p) in {"pkdot": pkdot, "kd": kd, "teacher": teacher}.items():
        rows.append(row(method, baseline + diff, diff, metric))
        contrasts.append(contrast(method, metric, p))
    ends = (None, None) if share is None else (share - 0.2, share + 0.2)
    gaps = [{"method": m, "share": share, "ci_low": ends[0], "ci_high": ends[1]} for m in ("pkdot", "kd")]
    chosen = {"method": "student_only", "validation": {"student_only": 0.5}}
    about = {"primary_metric": metric, "grouped": False, "baseline": chosen, "upper_bound": "teacher"}
    return {**about, "rows": rows, "contrasts": contrasts, "gap_closed": gaps}


def told(*args, students=("student_only", "kd", "pkdot"), **kwargs):
    return conclude(summary(*args, **kwargs), list(students), VALIDATION)


def test_a_significant_gain_is_said_with_its_share_and_interval():
    said = told((0.04, 0.01))
    assert said.claim == "pkdot closes 40 % of the gap between baseline and upper bound (95 % interval 20 % to 60 %)."
    assert "Better than the baseline after the correction: pkdot." in said.sentences


def test_a_gain_that_the_corrected_test_does_not_carry_is_not_claimed():
    said = told((0.04, 0.05))
    assert said.claim.startswith("pkdot is not shown to be better than the baseline: it closes 40 %")
    assert "After the correction no student is better than the baseline." in said.sentences
    assert any("the difference may be chance" in each for each in said.sentences)


def test_a_loss_is_called_a_loss():
    said = told((-0.04, 0.01), share=-0.4)
    assert said.claim.startswith("pkdot is worse than the baseline: it closes −40 %")
    assert any("Worse than the baseline: pkdot." in each for each in said.sentences)


@pytest.mark.parametrize(
    ("pkdot", "verdict"), [((0.04, 0.01), "better"), ((-0.04, 0.01), "worse"), ((0.04, 0.5), "open")]
)
def test_without_a_gap_no_share_is_given(pkdot, verdict):
    said = told(pkdot, teacher=(0.001, 0.9), share=None)
    assert "closes" not in said.claim
    assert said.claim.endswith("there is no gap to close.")
    assert ("better than the baseline, but" in said.claim) == (verdict == "better")
    assert any("includes zero, so a share of it is not defined" in each for each in said.sentences)


def test_a_teacher_that_is_worse_leaves_no_gap():
    said = told((0.04, 0.5), teacher=(-0.1, 0.01), share=-0.4)
    assert "closes" not in said.claim
    assert any("the teacher is worse than the baseline" in each for each in said.sentences)


def test_where_lower_is_better_a_negative_difference_is_a_gain():
    said = told((-0.04, 0.01), teacher=(-0.1, 0.01), metric="mae")
    assert said.claim.startswith("pkdot closes 40 %")
    assert any("lower is better" in each for each in said.sentences)


def test_the_student_of_the_answer_is_not_chosen_by_its_test_result():
    assert headline(["kd", "pkdot"], VALIDATION) == "pkdot"
    assert headline(["kd", "other"], {"kd": 0.7, "other": 0.6}) == "kd"
    assert headline([], {}) is None
    said = told((0.01, 0.5), kd=(0.05, 0.5))
    assert said.method == "pkdot"
    assert any(
        "kd has the best point estimate" in each and "looks better than it is" in each for each in said.sentences
    )


def test_one_student_beside_the_baseline_and_none():
    assert "no other student took part" in told((0.04, 0.01), students=("student_only", "pkdot")).sentences[-1]
    nobody = told((0.04, 0.01), students=("student_only",))
    assert nobody.method is None
    assert nobody.claim == "No student was distilled, so there is nothing to compare."


def test_the_smallest_p_is_that_of_all_signs_equal():
    assert smallest_p(5, 1) == 2 / 32
    assert smallest_p(2, 10) == 1


def test_people_who_are_seen_together_count_as_one():
    apart, together = summary((0.04, 0.01)), {**summary((0.04, 0.01)), "grouped": True}
    methods = ["student_only", "kd", "pkdot"]
    assert "of 20 subjects." in conclude(apart, methods, VALIDATION).sentences[0]
    assert "of 20 groups of subjects seen together." in conclude(together, methods, VALIDATION).sentences[0]


def test_warnings_are_given_where_they_are_due():
    few = summary((0.04, 0.01))
    for entry in few["rows"]:
        entry["n_subjects"] = 5
    assert warnings_of_the_test(summary((0.04, 0.01)), "leave_subjects_out") == []
    assert "no difference, however large" in warnings_of_the_test(few, "leave_subjects_out")[0]
    assert "the same people" in warnings_of_the_test(summary((0.04, 0.01)), "clips_as_released")[0]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (number(-0.12345), "−0.123"),
        (number(None), "–"),
        (number(float("nan")), "–"),
        (signed(0.5, 1), "+0.5"),
        (percent(-0.034), "−3 %"),
        (percent(-0.004), "0 %"),
        (signed(-0.0001), "0.000"),
        (between(None, None), "–"),
        (between(0, 1, "percent"), "0 % to 100 %"),
        (p_value(0.0001), "< 0.001"),
        (p_value(0.0312), "= 0.031"),
        (p_value(0.312), "= 0.31"),
        (p_value(0.9999), "= 1.00"),
        (joined(["a"]), "a"),
        (joined(["a", "b", "c"]), "a, b and c"),
        (sentence("macro F1"), "Macro F1"),
        (short("a\nb  c"), "a b c"),
        (short("x" * 30, 10), "x" * 9 + "…"),
    ],
)
def test_numbers_and_names(made, wanted):
    assert made == wanted
