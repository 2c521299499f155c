"""PKDOT with several teachers (MT-PKDOT). Aslam et al., 2024, arXiv 2408.09035.

The teacher of each modality gets a linear adapter, drawn to the joint teacher's features by a cosine loss,
and a head of its own (self-distillation). The teacher with the lowest task loss on a batch teaches that
batch. Adapted: adapters and heads are trained along with the student, which does not train them, and the
joint teacher stays frozen.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from pkdot.distillation.base import Context, register
from pkdot.distillation.pkdot import PKDOT, PKDOTOptions
from pkdot.distillation.similarity import similarity_matrix
from pkdot.networks import Outputs


def centroid_loss(student: Tensor, teacher: Tensor, kind: str = "cosine") -> Tensor:
    """Return the distance between the column means of the similarities: (B, d_s) and (B, d_t) -> scalar, >= 0."""
    means = [similarity_matrix(x, kind).mean(dim=0) for x in (student, teacher)]
    return torch.linalg.vector_norm(means[0] - means[1])


class MTPKDOTOptions(PKDOTOptions):
    """Options of ``mt_pkdot``."""

    centroid: float = Field(1.0, ge=0, description="weight of the centroids against the transport")


@register("mt_pkdot", needs={"logits", "features", "hallucination", "modalities"})
class MultiTeacherPKDOT(PKDOT):
    """Distil by transport from the best of several teachers, aligned to the joint one."""

    Options = MTPKDOTOptions
    # Released: 0.8 times the task, 0.2 times the transport, 0.2 times the centroids.
    grid = (
        (0.25, 30, 0.1),
        (1.2, 30, 0.1),
        (0.06, 30, 0.1),
        (0.25, 10, 0.03),
        (1.2, 10, 0.03),
        (5.0, 30, 0.3),
    )

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.adapters = nn.ModuleDict(
            {name: nn.Linear(width, context.dim) for name, width in context.modalities.items()}
        )
        self.heads = nn.ModuleDict({name: nn.Linear(context.dim, context.task.outputs) for name in context.modalities})

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        adapted = {name: self.adapters[name](one.features) for name, one in teacher.modalities.items()}
        tasks = [self.context.task.loss(self.heads[name](x), student.target) for name, x in adapted.items()]
        align = [1 - cosine_similarity(x, teacher.features).mean() for x in adapted.values()]
        joint = self.context.task.loss(teacher.logits, student.target)
        best = int(torch.stack([*tasks, joint]).argmin())
        features = [*adapted.values(), teacher.features][best]
        chosen = Outputs(teacher.logits, features.detach())
        return super().loss(student, chosen) + torch.stack(tasks).mean() + torch.stack(align).sum()

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        centroids = centroid_loss(student.features, teacher.features, self.options.similarity)
        return super().distill(student, teacher) + self.options.centroid * centroids
