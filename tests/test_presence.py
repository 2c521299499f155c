"""A token that is absent cannot change anything: of pooling, and of every kind of student."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pkdot.answer import Answer
from pkdot.fusion.base import FusionChoice
from pkdot.fusion.base import register as fusions
from pkdot.hallucination.base import TNetChoice, build_tnet
from pkdot.hallucination.base import register as tnets
from pkdot.networks import (
    HallucinatingStudent,
    ImputingStudent,
    LinearStudent,
    PrevalentStudent,
    StudentNetwork,
    Teacher,
)
from pkdot.presence import complete, counted, hidden, known, present, shown, without

B, T, D, Q = 6, 3, 4, 5
MODALITIES = ["face", "voice"]
ANSWERS = {
    "classes": Answer(kind="classification", targets=["level"], classes=["a", "b", "c"]),
    "sequence": Answer(kind="regression", targets=["valence"], frames=2),
}
STUDENTS = ["imputing", "prevalent", "linear", *(f"{f} {t}" for f, t in product(fusions.names(), tnets.names()))]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(kind, answer):
    """A student over two prevalent modalities, with weights drawn at random."""
    torch.manual_seed(0)
    width = D * len(MODALITIES)
    if kind == "linear":
        student = LinearStudent(nn.Linear(width, answer.outputs), answer)
    elif kind == "prevalent":
        student = PrevalentStudent(width, 8, answer)
    else:
        fusion, _, tnet = kind.partition(" ")
        name = "gated_cross_attention" if kind == "imputing" else fusion
        teacher = Teacher(width, Q, 8, FusionChoice(name=name), answer)
        teacher.begin_at(nn.Linear(width, answer.outputs))
        student = (
            HallucinatingStudent(build_tnet(TNetChoice(name=tnet), width, Q, [7]), teacher)
            if tnet
            else ImputingStudent(teacher)
        )
    for parameter in student.parameters():
        nn.init.normal_(parameter, std=0.5)
    return StudentNetwork({}, student.requires_grad_(True), MODALITIES).eval()


def batch():
    mask = torch.ones(B, len(MODALITIES), T, dtype=torch.bool)
    mask[1, :, 0] = mask[2, 0, 1:] = mask[3, 1, :2] = mask[4, :, 1:] = False
    return {name: draw(B, T, D, seed=n) for n, name in enumerate(MODALITIES)}, mask


def run(network, values, mask):
    """Outputs, and gradients of weights and of inputs."""
    values = {name: value.clone().requires_grad_() for name, value in values.items()}
    outputs = network({}, values, mask)
    wanted = [*network.parameters(), *values.values()]
    loss = outputs.logits.square().sum() + outputs.features.square().sum()
    return outputs, torch.autograd.grad(loss, wanted, allow_unused=True)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", STUDENTS)
def test_what_a_mask_hides_cannot_change_anything(kind, answer):
    """Neither predictions nor features nor gradients have a bit that tells what is there."""
    values, mask = batch()
    network = made(kind, ANSWERS[answer])
    whole, gradients = run(network, values, mask)
    assert whole.logits.isfinite().all()
    assert whole.features.isfinite().all()
    for value in (100 * draw(B, T, D, seed=9), torch.tensor(torch.nan), torch.tensor(torch.inf)):
        spoiled = {name: torch.where(mask[:, n, :, None], values[name], value) for n, name in enumerate(MODALITIES)}
        other, others = run(network, spoiled, mask)
        assert torch.equal(whole.logits, other.logits)
        assert torch.equal(whole.features, other.features)
        for one, two in zip(gradients, others, strict=True):
            assert one is two is None or torch.equal(one, two)
            assert one is None or one.isfinite().all()


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", STUDENTS)
def test_a_mask_that_hides_nothing_changes_no_bit_and_one_that_hides_something_does(kind, answer):
    values, mask = batch()
    network = made(kind, ANSWERS[answer])
    plain, all_there, some_there = (
        network({}, values, each).logits.unflatten(0, (B, -1)) for each in (None, torch.ones_like(mask), mask)
    )
    assert torch.equal(plain, all_there)
    changed = (plain - some_there).abs().flatten(1).amax(dim=1) > 1e-4
    assert changed.tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_sample_is_told_by_what_is_left_of_it(kind):
    """The last token of all samples is hidden: classes are those of samples without it."""
    network = made(kind, ANSWERS["classes"])
    values, mask = batch()
    mask[:], mask[:, :, -1] = True, False
    shorter = {name: value[:, :-1] for name, value in values.items()}
    assert_close(network({}, values, mask).logits, network({}, shorter).logits, atol=1e-5, rtol=1e-5)


def test_the_mean_is_over_what_is_there():
    answer, tokens = ANSWERS["classes"], draw(2, T, D)
    tokens[0, 1], tokens[1, :, 2] = torch.nan, torch.nan
    found = answer.pool(tokens)
    assert_close(found[0], tokens[0, [0, 2]].mean(dim=0))
    assert found[1].isnan().tolist() == [False, False, True, False], "what is there at no time is not known"
    there = torch.tensor([[True, True, False], [False, True, False]])
    assert_close(answer.pool(known(tokens), there)[1], known(tokens)[1, 1])


def test_the_mean_of_everything_keeps_its_bits():
    tokens = draw(50, 7, 33)
    assert torch.equal(ANSWERS["classes"].pool(tokens), tokens.mean(dim=1))
    assert torch.equal(ANSWERS["classes"].pool(tokens, torch.ones(50, 7, dtype=torch.bool)), tokens.mean(dim=1))


def test_a_single_token_counts_whatever_is_of_it():
    tokens = draw(4, 1, D)
    tokens[0], tokens[1, 0, 2] = torch.nan, torch.nan
    assert counted(tokens) is None
    assert hidden(tokens) is None
    assert torch.equal(ANSWERS["classes"].pool(known(tokens), counted(tokens)), known(tokens)[:, 0])
    torch.testing.assert_close(ANSWERS["classes"].pool(tokens), tokens[:, 0], equal_nan=True, atol=0, rtol=0)


def test_tokens_count_where_any_side_has_them_and_all_where_none_has():
    one, other = draw(3, 2, 4), draw(3, 2, 4, seed=1)
    one[:2], other[0, 1], other[1] = torch.nan, torch.nan, torch.nan
    assert counted(one, other).tolist() == [[True, False], [True, True], [True, True]]


def test_tokens_of_two_modalities_are_there_where_one_of_them_is():
    tokens = draw(3, 2, 4)
    tokens[0, 0, :2] = tokens[1, 0] = tokens[2, :, 2:] = torch.nan
    assert present(tokens).tolist() == [[True, True], [False, True], [True, True]]
    assert complete(tokens).tolist() == [True, True, False]
    assert hidden(tokens).tolist() == [[False, False], [True, False], [False, False]]
    assert hidden(known(tokens)) is None
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    assert shown(nothing).all(), "where nothing is there all counts"
    assert hidden(without(tokens[:1], nothing)) is None
