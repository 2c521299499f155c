"""What teachers and students of a fold have in common: modalities by role, the task, the fold, the control arm."""

from __future__ import annotations

from pydantic import Field

from pkdot.params import Params
from pkdot.splits import FoldName
from pkdot.tasks import TaskParams
from pkdot.training.controls import Control


class ArmParams(Params):
    """An arm of the contest on one fold."""

    prevalent: list[str] = Field(min_length=1, description="modalities that are there at test time")
    privileged: list[str] = Field(min_length=1, description="modalities that are there while training only")
    task: TaskParams = Field(description="what is predicted")
    fold: FoldName = Field(description="number of the fold, or all")
    control: Control | None = Field(None, description="the control arm that it is, if it is one")
    control_seed: int = Field(0, ge=0, description="seed of what is swapped in a control arm")
