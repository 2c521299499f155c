"""One token: the numbers of torch's own attention, and no random number more or less."""

import pytest
import torch
from torch import nn

from pkdot.attention import attended, transformed

WIDTH, HEADS = 32, 4


def results(layers, compute, tokens):
    """Return what a step computes, the gradients of the tokens and of all weights; and how much was drawn."""
    torch.manual_seed(1)
    tokens = tokens.clone().requires_grad_()
    layers.zero_grad()
    output = compute(tokens)
    drawn = torch.get_rng_state()
    output.square().sum().backward()
    return [output.detach(), tokens.grad, *(one.grad.clone() for one in layers.parameters())], drawn


@pytest.mark.parametrize("batch", [1, 7, 160])
@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_the_numbers_are_those_of_torch(batch, dropout, training, count):
    torch.manual_seed(0)
    own = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout, batch_first=True)
    cross = nn.MultiheadAttention(WIDTH, HEADS, dropout, batch_first=True)
    layers = nn.ModuleList([own, cross]).train(training)
    tokens = torch.randn(batch, count, WIDTH)
    theirs, their_draws = results(layers, lambda x: cross(2 * x, y := own(x), y, need_weights=False)[0], tokens)
    ours, our_draws = results(layers, lambda x: attended(cross, 2 * x, transformed(own, x, None), None), tokens)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(our_draws, their_draws)


def test_a_token_among_several_may_be_hidden():
    torch.manual_seed(0)
    cross, tokens = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), torch.randn(5, 3, WIDTH)
    hide = torch.tensor([[False, True, False]]).expand(5, 3)
    shown = attended(cross, tokens, tokens, hide)
    tokens[:, 1] = 1e3
    torch.testing.assert_close(attended(cross, tokens, tokens, hide)[:, ::2], shown[:, ::2])
