"""The opening sentences claim what the numbers carry, and no more."""

from __future__ import annotations

import pytest

from pkdot.reporting.conclusion import conclude, headline, smallest_p, warnings_of_the_test
from pkdot.reporting.formatting import between, joined, number, p_value, percent, sentence, short, signed

VALIDATION = {"student_only": 0.5, "kd": 0.7, "pkdot": 0.6}
NOTE = "All of this is conditional on the seeds."


def row(method, mean, diff=None, metric="accuracy", half=0.01):
    ends = {"diff_ci_low": None, "diff_ci_high": None}
    if diff is not None:
        ends = {"diff_ci_low": diff - half, "diff_ci_high": diff + half}
    level = {"method": method, "metric": metric, "mean": mean, "ci_low": mean - half, "ci_high": mean + half}
    return {**level, "diff": diff, **ends, "se": None, "n_subjects": 20}


def contrast(method, reference, diff, p_holm, metric="accuracy", family="declared"):
    ends = {"diff_ci_low": diff - 0.01, "diff_ci_high": diff + 0.01}
    tested = {"p": p_holm, "p_holm": p_holm, "smallest_difference": 0.033, "family": family}
    return {"method": method, "reference": reference, "metric": metric, "diff": diff, **ends, **tested}


def summary(pkdot, kd=(0.02, 0.4), teacher=0.1, share=0.4, metric="accuracy", level=0.6, more=()):
    """A summary of pkdot and kd between baseline and teacher; each is (difference, corrected p)."""
    rows = [row("student_only", level, metric=metric), row("teacher", level + teacher, teacher, metric)]
    contrasts = [contrast("teacher", "student_only", teacher, None, metric, "teachers")]
    for method, (diff, p) in {"pkdot": pkdot, "kd": kd}.items():
        rows.append(row(method, level + diff, diff, metric))
        contrasts.append(contrast(method, "student_only", diff, p, metric))
    contrasts += [contrast("pkdot", reference, diff, p, metric) for reference, diff, p in more]
    ends = (None, None) if share is None else (share - 0.2, share + 0.2)
    return {
        "primary_metric": metric,
        "foreign": [],
        "controls": [],
        "grouped": False,
        "seeds_note": NOTE,
        "baseline": {"method": "student_only", "validation": {"student_only": 0.5}},
        "upper_bound": "teacher",
        "rows": rows,
        "contrasts": contrasts,
        "gap_closed": [{"method": m, "share": share, "ci_low": ends[0], "ci_high": ends[1]} for m in ("pkdot", "kd")],
    }


def without(values, *methods):
    """The summary without some methods."""
    kept = {key: [each for each in values[key] if each["method"] not in methods] for key in ("rows", "contrasts")}
    return values | kept


def concluded(*args, **kwargs):
    return conclude(summary(*args, **kwargs), VALIDATION)


def test_a_significant_gain_is_claimed_with_its_share_and_interval():
    made = concluded((0.04, 0.01))
    assert made.claim == (
        "pkdot is better than the baseline, student_only; it closes 40 % of the gap to the upper bound "
        "(95 % interval 20 % to 60 %)."
    )
    assert "Better than the baseline after the correction: pkdot." in made.sentences


def test_a_gain_that_the_corrected_test_does_not_show_is_not_claimed():
    made = concluded((0.04, 0.05))
    assert made.claim.startswith("pkdot is not shown to be better than the baseline, student_only; it closes 40 %")
    assert "After the correction no student is better than the baseline." in made.sentences
    assert any("the difference may be chance" in each for each in made.sentences)


def test_a_loss_is_called_a_loss():
    made = concluded((-0.04, 0.01), share=-0.4)
    assert made.claim.startswith("pkdot is worse than the baseline, student_only; it closes −40 %")
    assert any("Worse than the baseline: pkdot." in each for each in made.sentences)


def test_the_claim_holds_every_declared_contrast_of_the_method():
    others = [("tnet_only", 0.03, 0.02), ("kd", 0.01, 0.4), ("feature_mse", -0.03, 0.02), ("sp", 0.01, 0.9)]
    made = concluded((0.04, 0.01), more=others)
    assert made.claim.endswith(
        "It is better than tnet_only, is worse than feature_mse and is not shown to be better than kd and sp."
    )
    tested = [each for each in made.sentences if "after Holm's correction for 6 declared contrasts" in each]
    assert [each.split()[3] for each in tested] == ["the", "tnet_only", "kd", "feature_mse", "sp"]


def test_the_smallest_difference_that_can_be_shown_stands_beside_the_result():
    said = next(each for each in concluded((0.04, 0.5)).sentences if "power 0.8" in each)
    assert "20 subjects can be expected to show" in said
    assert "0.033 to student_only" in said


def test_the_baseline_is_named_with_the_reason_for_it():
    alone = conclude(summary((0.04, 0.01)), VALIDATION).sentences[0]
    assert "The baseline is student_only, the only method here that never uses a privileged modality." in alone
    scores = {"encoder_head": 0.4, "student_only": 0.5}
    several = summary((0.04, 0.01)) | {"baseline": {"method": "student_only", "validation": scores}}
    assert (
        "has the best mean validation score (student_only 0.500, encoder_head 0.400)."
        in (conclude(several, VALIDATION).sentences[0])
    )


def test_what_the_intervals_are_conditional_on_is_in_the_conclusion():
    assert concluded((0.04, 0.01)).sentences[-1] == NOTE
    assert conclude(without(summary((0.04, 0.01)), "pkdot", "kd"), VALIDATION).sentences[-1] == NOTE


@pytest.mark.parametrize(
    ("pkdot", "words"),
    [((0.04, 0.01), "is better than"), ((-0.04, 0.01), "is worse than"), ((0.04, 0.5), "is not shown to be better")],
)
def test_without_a_gap_no_share_is_given(pkdot, words):
    made = concluded(pkdot, teacher=0.001, share=None)
    assert "closes" not in made.claim
    assert words in made.claim
    assert made.claim.endswith("no gap to the upper bound is shown.")
    assert any("includes zero, so a share of it is not defined" in each for each in made.sentences)


def test_a_teacher_that_is_worse_leaves_no_gap():
    made = concluded((0.04, 0.5), teacher=-0.1, share=-0.4)
    assert "closes" not in made.claim
    assert any("the teacher is worse than the baseline" in each for each in made.sentences)


def test_where_lower_is_better_a_negative_difference_is_a_gain():
    made = concluded((-0.04, 0.01), teacher=-0.1, metric="mae")
    assert made.claim.startswith("pkdot is better than the baseline, student_only; it closes 40 %")
    assert any("lower is better" in each for each in made.sentences)


def test_the_student_of_the_conclusion_is_not_chosen_by_its_test_result():
    both = summary((0.01, 0.5), kd=(0.05, 0.5))
    assert headline(both, VALIDATION) == "pkdot"
    renamed = without(both, "pkdot")
    renamed["contrasts"].append(contrast("other", "student_only", 0.9, 0.01))
    assert headline(renamed, {"kd": 0.7, "other": 0.6}) == "kd"
    assert headline(without(both, "pkdot", "kd"), {}) is None
    made = conclude(both, VALIDATION)
    assert made.method == "pkdot"
    assert any(
        "kd has the best point estimate" in each and "looks better than it is" in each for each in made.sentences
    )


def test_one_student_beside_the_baseline_and_none():
    alone = conclude(without(summary((0.04, 0.01)), "kd"), VALIDATION)
    assert "no other method was distilled" in alone.sentences[-2]
    nobody = conclude(without(summary((0.04, 0.01)), "kd", "pkdot"), VALIDATION)
    assert nobody.method is None
    assert nobody.claim == "No student was distilled, so there is nothing to compare."


def controlled(gain, over, teacher=0.2, p=0.01):
    """A summary in which pkdot gains over the baseline, and so much over each of its controls (difference, p)."""
    made = summary((gain, p), more=[(f"pkdot_{control}", *pair) for control, pair in over.items()])
    gate = contrast("teacher", "modality_face", teacher, None, family="gate")
    controls = [{"label": f"pkdot_{control}", "method": "pkdot", "control": control} for control in over]
    return conclude({**made, "controls": controls, "contrasts": [*made["contrasts"], gate]}, VALIDATION)


def test_what_counts_as_privilege_is_what_exceeds_the_strictest_control():
    made = controlled(0.10, {"prevalent_teacher": (0.09, 0.01), "shuffled": (0.06, 0.02)})
    assert (
        "Of the gain of +0.100, +0.060 (95 % interval +0.050 to +0.070) come from privileged information." in made.claim
    )
    assert "pkdot_shuffled" not in made.claim
    assert any("+0.060 (+0.050 to +0.070) over shuffled and +0.090" in each for each in made.sentences)
    assert any("+0.200" in each and "there is something to distil" in each for each in made.sentences)


def test_a_gain_that_no_control_has_is_all_privilege():
    made = controlled(0.10, {"prevalent_teacher": (0.12, 0.01), "shuffled": (0.11, 0.02)})
    assert "All of the gain of +0.100 comes from privileged information: it is +0.110 (95 % interval " in made.claim


def test_a_gain_that_a_control_has_too_is_not_called_privilege():
    made = controlled(0.10, {"prevalent_teacher": (0.09, 0.01), "shuffled": (0.01, 0.6)})
    assert "None of the gain is shown to come from privileged information." in made.claim


def test_without_a_gain_nothing_is_said_of_its_share():
    assert "privileged information" not in controlled(0.01, {"shuffled": (0.01, 0.6)}, p=0.5).claim


def test_a_teacher_that_gains_nothing_leaves_nothing_to_distil():
    made = controlled(0.10, {"shuffled": (0.06, 0.01)}, teacher=0.005)
    assert any("not shown that there is anything to distil" in each for each in made.sentences)


def test_the_smallest_p_is_that_of_all_signs_equal():
    assert smallest_p(5, 1) == 2 / 32
    assert smallest_p(2, 10) == 1
    assert smallest_p(2000, 10) == 0  # smaller than any number of the machine


def test_people_who_are_seen_together_count_as_one():
    apart, together = summary((0.04, 0.01)), {**summary((0.04, 0.01)), "grouped": True}
    assert "of 20 subjects." in conclude(apart, VALIDATION).sentences[0]
    assert "of 20 groups of subjects seen together." in conclude(together, VALIDATION).sentences[0]


def test_warnings_are_given_where_they_are_due():
    few = summary((0.04, 0.01))
    for entry in few["rows"]:
        entry["n_subjects"] = 5
    assert warnings_of_the_test(summary((0.04, 0.01)), "leave_subjects_out") == []
    assert "no difference, however large" in warnings_of_the_test(few, "leave_subjects_out")[0]
    assert "the same people" in warnings_of_the_test(summary((0.04, 0.01)), "leave_clips_out")[0]


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
