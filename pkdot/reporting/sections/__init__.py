"""The sections of the report, in order. A new section is a module, its fragment, and a line here."""

from __future__ import annotations

from pkdot.reporting.section import Section
from pkdot.reporting.sections.choices import CHOICES
from pkdot.reporting.sections.confusions import CONFUSIONS
from pkdot.reporting.sections.contest import CONTEST
from pkdot.reporting.sections.contrasts import CONTRASTS
from pkdot.reporting.sections.costs import COSTS
from pkdot.reporting.sections.curves import CURVES
from pkdot.reporting.sections.data import DATA
from pkdot.reporting.sections.encoders import ENCODERS
from pkdot.reporting.sections.ledger import LEDGER
from pkdot.reporting.sections.modalities import MODALITIES
from pkdot.reporting.sections.origins import ORIGINS
from pkdot.reporting.sections.representation_similarity import REPRESENTATION_SIMILARITY
from pkdot.reporting.sections.steps import STEPS
from pkdot.reporting.sections.subjects import SUBJECTS
from pkdot.reporting.sections.tnet import TNET
from pkdot.reporting.sections.trajectories import TRAJECTORIES

SECTIONS: list[Section] = [
    CONTEST,
    CONTRASTS,
    SUBJECTS,
    CONFUSIONS,
    TRAJECTORIES,
    REPRESENTATION_SIMILARITY,
    CHOICES,
    ENCODERS,
    CURVES,
    STEPS,
    TNET,
    DATA,
    MODALITIES,
    LEDGER,
    COSTS,
    ORIGINS,
]
