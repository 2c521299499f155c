"""Joint cross-attention against its formula; what every fusion must be is tested beside."""

import pytest
import torch
from torch.testing import assert_close

from pkdot.fusion.joint_cross_attention import JointCrossAttention, JointCrossAttentionOptions

PREVALENT, PRIVILEGED, DIM = 5, 7, 8


def fusion():
    torch.manual_seed(0)
    return JointCrossAttention(PREVALENT, PRIVILEGED, DIM, JointCrossAttentionOptions()).eval()


def tokens(count, samples=1):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(samples, count, width, generator=generator) for width in (PREVALENT, PRIVILEGED))


@pytest.mark.parametrize("count", [1, 3])
def test_it_is_the_formula_token_by_token(count):
    net, sides = fusion(), tokens(count)
    own = [project(x)[0] for project, x in zip(net.project, sides, strict=True)]
    joint = torch.cat(own, dim=1)
    attended = []
    for side, x in zip(net.sides, own, strict=True):
        rows = []
        for i in range(count):
            weights = [torch.tanh(x[i] @ side.correlate.weight @ joint[j] / (2 * DIM) ** 0.5) for j in range(count)]
            mean = sum(weight * joint[j] for j, weight in enumerate(weights)) / count
            hidden = torch.relu(side.from_own.weight @ x[i] + side.from_joint.weight @ mean)
            rows.append(x[i] + side.back.weight @ hidden)
        attended.append(torch.stack(rows))
    assert_close(net(*sides)[0], net.combine(torch.cat(attended, dim=1)))


def test_a_token_sees_the_other_tokens_of_its_sample():
    net, (prevalent, privileged) = fusion(), tokens(4, samples=2)
    before = net(prevalent, privileged)
    privileged[0, 3] = privileged[0, 3].flip(0)
    after = net(prevalent, privileged)
    assert (before - after)[0, 0].abs().max() > 1e-4
    assert_close(before[1], after[1])
