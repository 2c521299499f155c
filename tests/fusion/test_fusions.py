"""What every fusion must be, whichever are registered."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pkdot.errors import ConfigError
from pkdot.fusion.base import FusionChoice, register

BATCH, TOKENS, PREVALENT, PRIVILEGED, DIM = 5, 4, 6, 7, 8


@pytest.fixture(params=register.names())
def fusion(request):
    torch.manual_seed(0)
    cls, options = FusionChoice(name=request.param).load()
    return cls(PREVALENT, PRIVILEGED, DIM, options).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(BATCH, TOKENS, width, generator=generator) for width in (PREVALENT, PRIVILEGED))


def test_a_fusion_gives_one_fused_token_a_token(fusion, batch):
    assert fusion(*batch).shape == (BATCH, TOKENS, DIM)
    assert fusion(*(x[:, :1] for x in batch)).shape == (BATCH, 1, DIM)


@pytest.mark.parametrize("training", [False, True])
def test_a_sample_does_not_see_its_batch_mates(fusion, batch, training):
    """Also while training, where dropout is off: no statistics of the batch."""
    if training:
        fusion.train()
        for module in fusion.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = 0.0
    together = fusion(*batch)
    for i in range(BATCH):
        assert_close(fusion(*(x[i : i + 1] for x in batch)), together[i : i + 1], atol=1e-6, rtol=1e-5)
    others = tuple(torch.cat((x[:1], 100 * x[1:].flip(0))) for x in batch)
    assert_close(fusion(*others)[:1], together[:1], atol=1e-6, rtol=1e-5)


def test_a_sample_that_lacks_a_side_is_fused_and_does_not_spoil_the_others(fusion, batch):
    together = fusion(*batch)
    batch[1][2] = torch.nan
    spoilt = fusion(*batch)
    keep = [0, 1, 3, 4]
    assert_close(spoilt[keep], together[keep], atol=1e-6, rtol=1e-5)
    assert spoilt[2].isfinite().all()


def test_tokens_that_are_absent_might_as_well_not_exist(fusion, batch):
    for side in batch:
        side[:, 2] = torch.nan
    there = [0, 1, 3]
    assert_close(fusion(*batch)[:, there], fusion(*(x[:, there] for x in batch)), atol=1e-6, rtol=1e-5)


def test_what_is_absent_has_no_gradient_and_spoils_none(fusion, batch):
    batch[0][1, 0], batch[1][1, 2], batch[1][3] = torch.nan, torch.nan, torch.nan
    sides = [x.requires_grad_() for x in batch]
    fusion(*sides).square().sum().backward()
    for side in sides:
        assert (side.grad[side.isnan()] == 0).all()
        assert side.grad.isfinite().all()
    assert all(value.grad.isfinite().all() for value in fusion.parameters())


def test_tokens_in_another_order_are_fused_in_that_order(fusion, batch):
    """No fusion knows positions: moving the tokens of both sides moves the fused ones along."""
    order = torch.tensor([2, 0, 3, 1])
    assert_close(fusion(*(x[:, order] for x in batch)), fusion(*batch)[:, order], atol=1e-6, rtol=1e-5)


def test_both_sides_matter_and_get_gradients(fusion, batch):
    batch = tuple(x.requires_grad_() for x in batch)
    fusion(*batch).square().sum().backward()
    for side in batch:
        assert (side.grad.flatten(1).abs().sum(dim=1) > 0).all()
    unused = [name for name, p in fusion.named_parameters() if p.grad is None]
    assert not unused


def test_attention_looks_at_other_tokens_of_the_same_sample(batch):
    cls, options = FusionChoice(name="gated_cross_attention").load()
    fusion = cls(PREVALENT, PRIVILEGED, DIM, options).eval()
    before = fusion(*batch)
    batch[1][0, 3] = batch[1][0, 3].flip(0)
    after = fusion(*batch)
    assert not torch.allclose(before[0, 0], after[0, 0])
    assert_close(before[1:], after[1:])


def test_heads_must_divide_the_width():
    cls, options = FusionChoice(name="gated_cross_attention", options={"heads": 3}).load()
    with pytest.raises(ConfigError, match=r"teacher.dim is 8, which 3 heads"):
        cls(PREVALENT, PRIVILEGED, DIM, options)
