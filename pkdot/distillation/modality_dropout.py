"""Modality dropout. Neverova et al., IEEE TPAMI 2016 (ModDrop), arXiv 1501.00102.

A multimodal network that loses the privileged modalities of some training samples, and of all at test time.
"""

from typing import Any

from pydantic import Field

from pkdot.distillation.base import Context, register
from pkdot.distillation.student_only import BaselineOptions
from pkdot.distillation.zero_imputation import ZeroImputation


class ModalityDropoutOptions(BaselineOptions):
    """Options of ``modality_dropout``: its tuning budget goes into the share of samples."""

    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the student")
    dropped: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of samples without privileged modalities; null chooses it on validation subjects",
    )


@register("modality_dropout", needs={"privileged"})
class ModalityDropout(ZeroImputation):
    """Train a multimodal network that loses the privileged modalities of some samples."""

    Options = ModalityDropoutOptions
    shares = (0.5, 0.8, 0.3, 0.9, 0.2, 0.65)

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.dropped = options.dropped

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        if options.dropped is not None:
            return [options]
        return [options.model_copy(update={"dropped": share}) for share in cls.shares[:count]]
