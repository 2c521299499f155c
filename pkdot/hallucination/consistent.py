"""A perceptron of whose tokens the frozen teacher must say the same as of the true ones.

Regression with consistency of the task, as hallucination networks have it: Hoffman, Gupta and Darrell, CVPR 2016, and
Garcia, Morerio and Murino, ECCV 2018, arXiv 1806.07110.
"""

from pydantic import Field
from torch import Tensor

from pkdot.hallucination.base import Lesson, TNetOptions, register, squared_error
from pkdot.hallucination.mlp import MLP


class ConsistentOptions(TNetOptions):
    """Options of ``consistent``."""

    weight: float = Field(1.0, ge=0, description="weight of the teacher's disagreement beside the squared error")


@register("consistent")
class Consistent(MLP):
    """The published network; what the teacher reads in a token counts beside the token itself."""

    Options = ConsistentOptions
    options: ConsistentOptions

    def loss(self, lesson: Lesson) -> Tensor:
        guess = self(lesson.prevalent)
        error = squared_error(guess, lesson.privileged)
        return error + self.options.weight * lesson.disagreement(lesson.prevalent, guess, lesson.privileged)
