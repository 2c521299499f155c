"""A perceptron that must also deceive a critic with gradient penalty. Gulrajani et al., NIPS 2017, arXiv 1704.00028.

The critic sees a hallucinated or a true token beside the prevalent one of the same time, as in the adversarial
hallucination of Garcia, Morerio and Murino, TPAMI 2019, arXiv 1810.08437. The squared error stays, so that pairs count.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from pkdot.hallucination.base import Lesson, TNetOptions, perceptron, register
from pkdot.hallucination.mlp import MLP
from pkdot.presence import known


class AdversarialOptions(TNetOptions):
    """Options of ``adversarial``."""

    weight: float = Field(0.1, ge=0, description="weight of deceiving the critic beside the squared error")
    penalty: float = Field(10.0, gt=0, description="weight of the penalty on gradients of the critic that are not 1")


def gradient_penalty(critic: nn.Module, prevalent: Tensor, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return the mean squared distance from 1 of the critic's gradient, between two sets of tokens (eq. 3).

    Parameters
    ----------
    critic : nn.Module
        (..., P + Q) -> (..., 1).
    prevalent : Tensor, shape (..., P)
    one, other : Tensor, shape (..., Q)
    share : Tensor, shape (..., 1)
        Where between the two the gradient is taken.
    """
    between = (share * one + (1 - share) * other).detach().requires_grad_()
    said = critic(torch.cat((prevalent, between), dim=-1)).sum()
    (slope,) = torch.autograd.grad(said, between, create_graph=True)
    return (slope.square().sum(dim=-1).add(1e-12).sqrt() - 1).square().mean()


@register("adversarial")
class Adversarial(MLP):
    """The published network beside a critic; both are trained by every step, each by its own part of the loss."""

    Options = AdversarialOptions
    options: AdversarialOptions

    def companion(self) -> nn.Module:
        return perceptron([sum(self.widths), *self.hidden, 1])

    def loss(self, lesson: Lesson) -> Tensor:
        critic, there = lesson.companion, ~lesson.privileged.isnan().any(dim=-1)
        if not there.any():  # nothing that the critic could compare
            return super().loss(lesson)
        chosen = (lesson.prevalent, lesson.privileged, self(lesson.prevalent), lesson.uniform(lesson.privileged))
        prevalent, truth, guess, share = (x[there] for x in chosen)
        prevalent = known(prevalent)
        frozen = {name: value.detach() for name, value in critic.named_parameters()}
        deceived = functional_call(critic, frozen, torch.cat((prevalent, guess), dim=-1)).mean()
        error = (guess - truth).square().mean() - self.options.weight * deceived
        fake = guess.detach()
        told = critic(torch.cat((prevalent, fake), dim=-1)) - critic(torch.cat((prevalent, truth), dim=-1))
        steep = gradient_penalty(critic, prevalent, truth, fake, share)
        return error + told.mean() + self.options.penalty * steep
