"""Similarities, colours and figures."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from pkdot.reporting.plotting import canvas, coloured, picture, svg
from pkdot.reporting.sections.representation_similarity import agreement, similarity


def decoded(address: str) -> np.ndarray:
    data = base64.b64decode(address.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_similarities_are_cosines():
    features = np.array([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    half = np.sqrt(0.5)
    wanted = [[1, 0, -1, half, 0], [0, 1, 0, half, 0], [-1, 0, 1, -half, 0], [half, half, -half, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(similarity(features), wanted, atol=1e-12)


def test_agreement_ignores_rotation_and_scale_of_the_features():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert agreement(similarity(features), similarity(7 * features @ rotation)) == pytest.approx(1)
    assert abs(agreement(similarity(features), similarity(rng.normal(size=(20, 5))))) < 0.3


def test_agreement_of_collapsed_features_is_not_a_number():
    features = np.random.default_rng(0).normal(size=(5, 3))
    assert np.isnan(agreement(similarity(features), similarity(np.ones((5, 3)))))


def test_a_picture_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(picture(pixels)), pixels)
    red = np.tile(np.array([250, 5, 5], np.uint8), (16, 16, 1))
    assert np.abs(decoded(picture(red, ".jpg")).astype(int) - red).max() < 12


def test_colours_run_from_low_to_high_and_stop_there():
    shades = coloured(np.array([[-9.0, 0.0, 1.0, 9.0]]), 0, 1)[0]
    np.testing.assert_array_equal(shades[0], shades[1])
    np.testing.assert_array_equal(shades[2], shades[3])
    assert shades[3].sum() > shades[0].sum()


def test_text_in_a_figure_stays_text():
    name = """</text></svg><script>alert("$x")</script>"""
    with canvas(2, 2) as figure:
        figure.add_subplot().set_title(name)
        drawn = svg(figure, name)
    assert "<script" not in drawn
    assert "$x" in drawn
    assert drawn.count("</svg>") == 1


def test_a_label_wider_than_its_figure_is_broken_into_lines():
    label = "correlation of a student's similarities with the teacher's, on test subjects"
    with canvas(4, 2) as figure:
        axes = figure.add_subplot()
        axes.set_yticks([0], ["a name of some length"])
        axes.set_xlabel(label)
        axes.set_ylabel("negative mean absolute error")
        svg(figure, "figure")
        figure.draw_without_rendering()
        for text in (axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y0 >= 0
            assert box.y1 <= figure.bbox.y1
    assert " ".join(axes.get_xlabel().split()) == label
