"""Hallucination: the fold's T-Net says from the prevalent tokens what absent privileged ones would be.

Where prevalent tokens are absent too, T-Net and the network see zeros for them. The network and the T-Net are trained
on masks.
"""

from typing import Any

import torch
from torch import Tensor

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription
from pkdot.hallucination.base import TNetChoice, build_tnet
from pkdot.missing.base import Beginning, Completion, register
from pkdot.presence import without


@register("tnet")
class Hallucination(Completion):
    """Put hallucinated tokens in the place of absent privileged ones."""

    imputes = True

    def __init__(self, shape: CompletionDescription, answer: Answer, options: Any) -> None:
        super().__init__(shape, answer, options)
        self.prevalent = [number for number, name in enumerate(shape.modalities) if name in shape.prevalent]
        self.privileged = [number for number, name in enumerate(shape.modalities) if name not in shape.prevalent]
        widths = len(self.prevalent) * shape.width, len(self.privileged) * shape.width
        kind = TNetChoice(name=shape.tnet_kind.name, options=shape.tnet_kind.options)
        self.tnet = build_tnet(kind, *widths, shape.hidden)

    def begin(self, beginning: Beginning) -> None:
        super().begin(beginning)
        self.tnet.load_state_dict(dict(beginning.tnet))

    def fill(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([without(tokens[:, number], present[:, number]) for number in self.prevalent], dim=-1)
        guesses = self.tnet(seen).split(tokens.shape[-1], dim=-1)
        hallucinated = list(tokens.unbind(dim=1))
        for number, guess in zip(self.privileged, guesses, strict=True):
            hallucinated[number] = torch.where(present[:, number, :, None], tokens[:, number], guess)
        return torch.stack(hallucinated, dim=1), torch.ones_like(present)
