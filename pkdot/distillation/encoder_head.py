"""The frozen encoders' own heads, with no further training: what the prevalent modalities give for nothing."""

from torch import nn

from pkdot.distillation.base import register
from pkdot.distillation.linear_probe import Linear
from pkdot.networks import LinearStudent


@register("encoder_head")
class EncoderHead(Linear):
    """The linear head that the encoder was trained with; those of several prevalent modalities are averaged."""

    def student(self) -> nn.Module:
        return LinearStudent(self.context.encoder_head, self.context.task)
