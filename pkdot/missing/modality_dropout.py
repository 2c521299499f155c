"""Modality dropout (ModDrop: Neverova et al., IEEE TPAMI 2016, arXiv 1501.00102): zeros, while training too."""

from pkdot.missing.base import register
from pkdot.missing.zero_imputation import ZeroImputation


@register("modality_dropout")
class ModalityDropout(ZeroImputation):
    """Train on zeros in the place of what is taken away, with no teacher and no sign of what is absent."""

    masked = True
    imputes = False
