"""The refit chooses by validation scores alone, and the card says what a reader must know."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from bundles import described

from pkdot.distillation.base import register
from pkdot.inference.card import Evidence, card
from pkdot.inference.refit import Stream, best_method, stream_of
from pkdot.splits import SplitParams


def write_choices(folder, **methods):
    """``<method>=[(weight, {weight: score}), ...]``: what each fold chose, among what."""
    paths = []
    for method, folds in methods.items():
        for fold, (chosen, scores) in enumerate(folds):
            path = folder / f"fold_{fold}" / f"{method}.json"
            path.parent.mkdir(exist_ok=True)
            candidates = [{"options": {"weight": weight}, "score": score} for weight, score in scores.items()]
            path.write_text(json.dumps({"chosen": {"weight": chosen}, "candidates": candidates}))
            paths.append(path)
    return paths


def test_the_method_with_the_best_validation_score_is_refitted_with_the_usual_options(tmp_path):
    low = [(1.0, {1.0: 0.5, 3.0: 0.4})] * 3
    high = [(1.0, {1.0: 0.7, 3.0: 0.6}), (3.0, {1.0: 0.5, 3.0: 0.8}), (3.0, {1.0: 0.5, 3.0: 0.6})]
    paths = write_choices(tmp_path, kd=low, sp=high)
    assert best_method(paths, ["kd", "sp"]) == ("sp", {"weight": 3.0})
    assert best_method(paths, ["kd"]) == ("kd", {"weight": 1.0})


def test_of_equal_methods_the_first_and_of_equally_usual_options_the_better_is_taken(tmp_path):
    folds = [(1.0, {1.0: 0.7, 3.0: 0.6}), (3.0, {1.0: 0.5, 3.0: 0.8})]
    paths = write_choices(tmp_path, kd=folds, sp=folds)
    assert best_method(paths, ["sp", "kd"]) == ("sp", {"weight": 3.0})


@pytest.mark.parametrize("name", register.names())
def test_options_that_a_fold_chose_leave_nothing_to_choose(name):
    cls = register.load(name)
    for candidate in cls.candidates(cls.Options(), 6):
        assert cls.candidates(cls.Options(**candidate.plain()), 1) == [candidate]


def evidence(**changes):
    row = {"method": "kd", "metric": "accuracy", "mean": 0.71, "ci_low": 0.66, "ci_high": 0.76}
    known = {
        "rows": [row],
        "baseline": {"method": "student_only", "row": {"mean": 0.68}},
        "seeds": [0, 1],
        "together": {"accuracy": 0.73},
        "by_subject": np.array([0.5, 0.7, 0.9]),
        "temperature": 1.7,
        "errors": (0.12, 0.04),
        "tnet": {"explained_variance": 0.1, "cosine": 0.2},
    }
    return Evidence(**{**known, **changes})


def text_of(said=None, about=None, **changes):
    about = {"samples": 36, "subjects": 4, **(about or {})}
    return card(said or described(), about, SplitParams(folds=3), evidence(**changes))


def test_the_card_has_the_figures_and_says_what_they_estimate():
    text = text_of()
    assert "| accuracy | 0.710 | 0.660 to 0.760 | 0.730 |" in text
    assert "cross-validated: leave subjects out, 3 folds; no test subject took part" in text
    assert "They are the estimate for this network" in text
    assert "student\\_only, has 0.680" in text
    assert "between 0.500 and 0.900" in text
    assert "was 0.120 before it, and 0.040 with the temperature that all other subjects give" in text
    assert "a share of 0.100 of the variance" in text
    assert "must not be used" in text
    assert "No sample without a label took part" in text


def test_stand_in_data_and_unlabelled_samples_are_named():
    real = described().model_copy(update={"simulated": False, "unlabelled": 12})
    assert "**SIMULATED.**" in text_of()
    assert "SIMULATED" not in text_of(real)
    assert "12 samples without a label took part" in text_of(real)
    assert "Licence of the data: CC BY 4.0." in text_of(real, {"licence": "CC BY 4.0"})


def test_values_have_ranges_and_units_and_no_calibration():
    said = described(regression=True).model_copy(
        update={"ranges": {"valence": (-1.0, 1.0), "arousal": (0.0, 5.0)}, "units": {"arousal": "points"}}
    )
    text = text_of(said, errors=None, tnet=None)
    assert "valence (from -1 to 1 in training) and arousal (from 0 to 5 points in training), for every frame" in text
    assert "How sure" not in text
    assert "T-Net" not in text


def test_a_temperature_that_does_not_help_is_told_and_left_out():
    text = text_of(described().model_copy(update={"temperature": 1.0}), errors=(0.12, 0.12))
    assert "did not lower the log loss of the one that was left out" in text
    assert "the average of the networks is 0.120." in text


def test_a_part_of_a_wide_file_is_kept_and_a_whole_file_has_no_length():
    stream = Stream(source="pulse", feature={"name": "window", "channels": 1, "length": 32})
    table = pd.DataFrame({"pulse_path": ["a.csv", "b.csv"], "pulse_part": ["PPG", "PPG"], "pulse_stop": [np.nan] * 2})
    table["pulse_start"] = np.nan
    said = stream_of("pulse", stream, table, [1, 32])
    assert (said.part, said.seconds) == ("PPG", None)
    assert stream_of("pulse", stream, table.assign(pulse_part=["PPG", "BVP"]), [1, 32]).part is None
    said = stream_of("pulse", stream, table.assign(pulse_start=1.0, pulse_stop=[3.5, 3.0]), [1, 32])
    assert (said.seconds, said.shortest) == (2.25, 2.0)


def test_a_protocol_that_leaks_is_no_estimate():
    said = card(described(), {"samples": 1, "subjects": 1}, SplitParams(scheme="leave_clips_out"), evidence())
    assert "every figure looks too good" in said


def test_names_from_the_data_stay_names():
    said = described().model_copy(update={"title": "<script>alert(1)</script> *bold*\n# head"})
    text = text_of(said)
    assert "<script>" not in text
    assert "\\<script\\>alert\\(1\\)\\</script\\> \\*bold\\* \\# head" in text
