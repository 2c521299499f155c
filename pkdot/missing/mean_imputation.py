"""Mean imputation: of the tokens of the same modality and sample that are there, else of the training part.

With one token a sample it is zero imputation but for rounding, as embeddings are standardised.
"""

from typing import Any

import torch
from torch import Tensor

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription
from pkdot.missing.base import Beginning, Completion, register
from pkdot.presence import known, some


@register("mean_imputation")
class MeanImputation(Completion):
    """Put means in the place of what is absent; the network was trained with everything."""

    masked = False
    imputes = True
    mean: Tensor

    def __init__(self, shape: CompletionDescription, answer: Answer, options: Any) -> None:
        super().__init__(shape, answer, options)
        self.register_buffer("mean", torch.zeros(len(shape.modalities), shape.tokens, shape.width))

    def begin(self, beginning: Beginning) -> None:
        super().begin(beginning)
        tokens = beginning.tokens
        self.mean.copy_(known(tokens.nanmean(dim=0)) if some(tokens.isnan()) else tokens.mean(dim=0))

    def fill(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        there = present[..., None].to(tokens.dtype)
        count = there.sum(dim=2, keepdim=True)
        own = (tokens * there).sum(dim=2, keepdim=True) / count.clamp_min(1)
        mean = torch.where(count > 0, own, self.mean)
        return torch.where(present[..., None], tokens, mean), torch.ones_like(present)
