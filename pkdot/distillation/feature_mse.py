"""Point-to-point feature distillation: the mean squared error of fused features, the baseline that PKDOT names."""

from torch import Tensor
from torch.nn.functional import mse_loss

from pkdot.distillation.base import Distiller, register
from pkdot.networks import Outputs


@register("feature_mse", needs={"features"})
class FeatureMSE(Distiller):
    """Bring the student's features to the teacher's."""

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return mse_loss(student.features, teacher.features)
