"""Privileged distillation with optimal transport (PKDOT). Aslam et al., FG 2024, arXiv 2401.15489.

The student takes over the structure of the teacher's batches: what each sample is like, and unlike, by
similarities to anchors. See ``transport_loss``; the first candidate is the setting of the released code.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import Field
from torch import Tensor

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.transport import transport_loss
from pkdot.networks import Outputs


class PKDOTOptions(Options):
    """Options of ``pkdot``."""

    anchors: int | None = Field(
        None, ge=1, description="anchors of each row; null chooses it on the validation subjects"
    )
    blur: float | None = Field(
        None, gt=0, description="distance below which rows are not told apart; null chooses it as well"
    )
    p: float = Field(2, ge=1, le=2, description="exponent of the distance between rows")
    similarity: Literal["cosine", "correlation", "euclidean", "rbf"] = Field(
        "cosine", description="how samples are compared inside a batch"
    )
    anchor_rule: Literal["dissimilar", "similar", "random", "shared", "all"] = Field(
        "dissimilar", description="which samples are the anchors of a row"
    )
    alignment: Literal["permutation_invariant", "sample_aligned"] = Field(
        "permutation_invariant", description="whether a row may be carried to any other, or to itself alone"
    )
    transport: Literal["sinkhorn_divergence", "entropic", "exact", "gromov_wasserstein"] = Field(
        "sinkhorn_divergence", description="the kind of transport; sinkhorn_divergence as released"
    )


@register("pkdot", needs={"features", "hallucination"})
class PKDOT(Distiller):
    """Carry the student's batch structure to the teacher's by optimal transport."""

    Options = PKDOTOptions
    # (weight, anchors, blur), the released setting first
    grid = (
        (0.6, 30, 0.1),
        (3.0, 30, 0.1),
        (0.15, 30, 0.1),
        (0.6, 10, 0.03),
        (3.0, 10, 0.03),
        (12.0, 30, 0.3),
    )

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        """Return the settings of the grid; what the options fix stays fixed, so fewer may be left."""
        fixed = {name: value for name, value in options if value is not None}
        settings = [dict(zip(("weight", "anchors", "blur"), entry, strict=True)) | fixed for entry in cls.grid]
        distinct = [setting for i, setting in enumerate(settings) if setting not in settings[:i]]
        return [options.model_copy(update=setting) for setting in distinct[:count]]

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        of_transport = self.options.model_dump(include=set(PKDOTOptions.model_fields) - {"weight"})
        return cast(Tensor, transport_loss(student.features, teacher.features, **of_transport))
