"""Plug-ins are found by their files and written in a configuration by name, with or without options."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import World

from pkdot.datasets.base import register as datasets
from pkdot.distillation.base import MethodChoice
from pkdot.distillation.base import register as methods
from pkdot.encoders.base import EncoderChoice
from pkdot.encoders.base import register as encoders
from pkdot.errors import ConfigError
from pkdot.features.base import register as features
from pkdot.fusion.base import FusionChoice
from pkdot.fusion.base import register as fusions
from pkdot.params import Params
from pkdot.registry import choices_of, modules_of

FAMILIES = [datasets, methods, encoders, features, fusions]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.package)
def test_every_plug_in_loads_and_is_called_like_its_file(family):
    assert family.names() == sorted(family.names())
    for name in family.names():
        cls = family.load(name)
        assert cls.name == name
        assert cls.__module__ == family.module(name) == f"{family.package}.{name}"
        assert issubclass(cls.Options, Params)


def test_an_unknown_plug_in_is_refused_with_the_closest_name():
    with pytest.raises(ConfigError, match=r"there is no encoder 'cnn1'. Did you mean 'cnn1d'"):
        encoders.load("cnn1")
    with pytest.raises(ConfigError, match=r"there is no fusion 'xyz'. Known: concat, gated_cross_attention"):
        fusions.load("xyz")
    with pytest.raises(ConfigError):
        encoders.load("base")
    with pytest.raises(ConfigError):
        encoders.load("../cli")


def test_a_choice_is_written_in_three_ways():
    short = EncoderChoice.model_validate("cnn1d")
    assert short == EncoderChoice.model_validate({"name": "cnn1d"}) == EncoderChoice(name="cnn1d")
    spread = EncoderChoice.model_validate({"name": "cnn1d", "width": 8})
    assert spread == EncoderChoice(name="cnn1d", options={"width": 8})
    assert spread.load()[1].width == 8
    assert spread.plain() == {"name": "cnn1d", "width": 8}


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.dictionaries(st.sampled_from(["width", "kernel", "names", "option"]), st.integers() | st.text()))
def test_a_choice_survives_json(options):
    choice = EncoderChoice(name="cnn1d", options=options)
    assert EncoderChoice.model_validate(json.loads(json.dumps(choice.plain()))) == choice


def test_wrong_options_are_told_in_a_sentence():
    with pytest.raises(ConfigError, match=r"options of encoder 'cnn1d': width: .*greater than or equal to 0.*it is -1"):
        EncoderChoice(name="cnn1d", options={"width": -1}).load()
    with pytest.raises(ConfigError, match=r"there is no option 'kernels'. Did you mean 'kernel'"):
        EncoderChoice(name="cnn1d", options={"kernels": 3}).load()


def test_choices_are_found_at_any_depth(tmp_path):
    class Deep(Params):
        inside: dict[str, list[EncoderChoice]]
        fusion: FusionChoice

    deep = Deep(inside={"a": ["cnn1d", "small_r3d"]}, fusion="concat")
    assert [choice.name for choice in choices_of(deep)] == ["cnn1d", "small_r3d", "concat"]
    params = World(tmp_path).student_params("sp")
    named = {"pkdot.distillation.sp", "pkdot.fusion.gated_cross_attention", "pkdot.hallucination.mlp"}
    assert set(modules_of(params)) == named
    assert MethodChoice(name="sp") in choices_of(params)
