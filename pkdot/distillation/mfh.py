"""Distillation of modality-general features (MFH). Xue et al., ICLR 2023, arXiv 2206.06487.

A feature of the teacher is modality-general if its permutation over the samples drives the teacher's
predictions away from those of a network of the other modality; the teacher teaches with these features
alone. Adapted: that network is the student; and the
effect of a permutation, there sampled as an absolute difference, is here the expected squared one in closed
form, averaged over the steps.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import linear

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.layout import UPPER_BOUND
from pkdot.networks import Outputs

MOMENTUM = 0.9


def permutation_effect(features: Tensor, weight: Tensor, difference: Tensor) -> Tensor:
    """Return the expected growth of ``mean |difference|^2`` as one feature is permuted over the batch.

    Parameters
    ----------
    features : Tensor, shape (B, d)
    weight : Tensor, shape (C, d)
        Of the linear head over the features.
    difference : Tensor, shape (B, C)
        Predictions of the head less those of the other network.

    Returns
    -------
    Tensor, shape (d,)
        ``2 |w_i|^2 var(f_i) - 2 cov(f_i, w_i . difference)``: large for features that both networks share.
    """
    centred = features - features.mean(dim=0)
    shared = (centred * (difference @ weight)).mean(dim=0)
    return 2 * weight.square().sum(dim=0) * centred.square().mean(dim=0) - 2 * shared


class MFHOptions(Options):
    """Options of ``mfh``."""

    share: float = Field(0.5, gt=0, le=1, description="share of the teacher's features that teach")
    temperature: float = Field(1.0, gt=0, description="softness of the predictions")


@register("mfh", needs={"features", "classes"})
class ModalityFocusing(Distiller):
    """Distil predictions from the teacher's modality-general features alone."""

    Options = MFHOptions
    effect: Tensor

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.head = context.heads[UPPER_BOUND]
        self.register_buffer("effect", torch.zeros(context.dim))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        weight, bias = self.head.weight, self.head.bias
        difference = linear(teacher.features, weight, bias) - student.logits.detach()
        effect = permutation_effect(teacher.features, weight, difference)
        self.effect = MOMENTUM * self.effect + (1 - MOMENTUM) * effect
        chosen = self.effect.topk(max(1, round(self.options.share * len(effect)))).indices
        focused = linear(teacher.features[:, chosen], weight[:, chosen], bias)
        return kd_loss(student.logits, focused, self.options.temperature)
