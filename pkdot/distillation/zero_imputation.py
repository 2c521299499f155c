"""The baseline of imputation: a multimodal network, trained with all modalities, is given zeros at test time.

Embeddings are standardised on the training part, so a zero is their mean.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from pkdot.distillation.base import Context, register
from pkdot.distillation.student_only import StudentOnly
from pkdot.hallucination.base import pairs
from pkdot.networks import ImputingStudent, Outputs, TokenOutputs


@register("zero_imputation", needs={"privileged"})
class ZeroImputation(StudentOnly):
    """Train a multimodal network, which gets zeros for the privileged modalities at test time."""

    prevalent_only = False

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.dropped = 0.0  # share of training samples without their privileged modalities

    def student(self) -> nn.Module:
        network = self.context.network()
        network.dropout.p = self.options.dropout
        self.network = ImputingStudent(network)  # the loss runs it with the privileged modalities
        return self.network

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        """Return the task loss of the network that sees the privileged embeddings of the samples that keep them.

        Tokens of a task of classes reach the loss averaged, so there each token gets its sample's mean.
        """
        tokens = cast(TokenOutputs, student).tokens
        privileged = teacher.privileged.unflatten(0, (len(tokens), -1)).expand(-1, tokens.shape[1], -1)
        kept = torch.rand(len(tokens), 1, 1, device=tokens.device) >= self.dropped
        outputs = self.network.teacher(tokens, pairs(tokens, privileged * kept))
        return self.context.task.loss(outputs.logits, student.target)
