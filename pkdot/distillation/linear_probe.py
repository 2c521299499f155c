"""A regularised linear model over the prevalent embeddings, by scikit-learn: no network is trained."""

from __future__ import annotations

from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import LinearStudent, Outputs


class Linear(Distiller):
    """Base of the methods whose student is a linear head that takes no steps."""

    prevalent_only = True
    labelled_only = True

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        """Return the options as they are: there is nothing to choose."""
        return [options]

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        return self.context.task.loss(student.logits, student.target)


class ProbeOptions(Options):
    """Options of ``linear_probe``."""

    strength: float | None = Field(
        None, gt=0, description="weight of the squared norm; null chooses it on the validation subjects"
    )


@register("linear_probe")
class LinearProbe(Linear):
    """Logistic regression for classes, ridge regression for values."""

    Options = ProbeOptions
    strengths = (10.0, 1.0, 100.0, 1000.0, 0.1, 10000.0)

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        """Return the strengths to choose from, unless the options fix one."""
        if options.strength is not None:
            return [options]
        return [options.model_copy(update={"strength": strength}) for strength in cls.strengths[:count]]

    def student(self) -> nn.Module:
        return LinearStudent(self.context.encoder_head, self.context.task)

    def solve(self, network: nn.Module, prevalent: Tensor, target: Tensor) -> None:
        fit = _ridge if self.context.task.regression else _logistic
        weight, bias = fit(prevalent.cpu(), target.cpu(), self.context.task.outputs, self.options.strength)
        cast(LinearStudent, network).head.load_state_dict({"weight": weight, "bias": bias})


def _ridge(x: Tensor, y: Tensor, outputs: int, strength: float) -> tuple[Tensor, Tensor]:
    """Fit a ridge regression for each value, from the rows in which it is not NaN; zeros where it always is."""
    from sklearn.linear_model import Ridge

    weight, bias = torch.zeros(outputs, x.shape[1]), torch.zeros(outputs)
    for number in range(outputs):
        there = ~y[:, number].isnan()
        if there.any():
            model = Ridge(alpha=strength).fit(x[there].numpy(), y[there, number].numpy())
            weight[number], bias[number] = torch.from_numpy(model.coef_), float(model.intercept_)
    return weight, bias


def _logistic(x: Tensor, y: Tensor, outputs: int, strength: float) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression; a class without a training row gets a probability of about zero."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = torch.zeros(outputs, x.shape[1]), torch.full((outputs,), -30.0)
    present = y.unique()
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    model = LogisticRegression(C=1 / strength, max_iter=1000).fit(x.double().numpy(), y.numpy())
    rows, constants = torch.from_numpy(model.coef_).float(), torch.from_numpy(model.intercept_).float()
    if len(present) == 2:  # one row of log odds
        rows, constants = torch.cat((-rows, rows)) / 2, torch.cat((-constants, constants)) / 2
    weight[present], bias[present] = rows, constants
    return weight, bias
