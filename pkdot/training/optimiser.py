"""AdamW (Loshchilov and Hutter, ICLR 2019), with a warm-up and a cosine schedule."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


class AdamW:
    """torch's AdamW by its kernel alone: the class loads torch's compiler, which takes 2 s of a CPU in every job.

    The functional form groups the tensors anew in each step and counts in one of them for each parameter, which for
    networks as small as those over embeddings takes longer than the kernel.

    Parameters
    ----------
    trained : iterable of Tensor
        The tensors to train, all on one device.
    peak : float
        Learning rate at the end of the warm-up.
    weight_decay : float
        Decoupled weight decay.
    steps : int
        Length of the schedule.
    """

    def __init__(self, trained: Iterable[Tensor], peak: float, weight_decay: float, steps: int) -> None:
        self.trained = list(trained)
        self.peak, self.weight_decay, self.steps = peak, weight_decay, steps
        self.done = 0
        device = self.trained[0].device if self.trained else None
        self._counts = torch.zeros(len(self.trained), device=device)
        self._state = [
            (torch.zeros_like(p), torch.zeros_like(p), count)
            for p, count in zip(self.trained, self._counts.unbind(), strict=True)
        ]

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.peak * cosine((self.done + 0.5) / self.steps)

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for parameter in self.trained:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        used = [number for number, p in enumerate(self.trained) if p.grad is not None]
        if len(used) == len(self.trained):
            self._counts += 1
        else:
            self._counts[used] += 1
        first, second, counts = zip(*(self._state[number] for number in used), strict=True)
        torch._fused_adamw_(
            [self.trained[number] for number in used],
            [p.grad for p in self.trained if p.grad is not None],
            first, second, [], counts, lr=self.rate, beta1=0.9, beta2=0.999, weight_decay=self.weight_decay, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip
        self.done += 1

    def state(self) -> dict[str, Tensor]:
        """Return all that a resumed training needs, by name."""
        named = {f"{n}.{key}": v for n, values in enumerate(self._state) for key, v in enumerate(values)}
        return {"done": torch.tensor(self.done), **named}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` returned."""
        self.done = int(state["done"])
        for number, values in enumerate(self._state):
            for key, value in enumerate(values):
                value.copy_(state[f"{number}.{key}"])


def cosine(progress: float) -> float:
    """Return the share of the peak: it rises over the first tenth, then falls to zero along a cosine."""
    return progress / 0.1 if progress < 0.1 else float(0.5 * (1 + np.cos(np.pi * min(1.0, (progress - 0.1) / 0.9))))
