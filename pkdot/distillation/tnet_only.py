"""T-Net without a teacher: fusion over prevalent and hallucinated features, trained by the task loss alone."""

from torch import nn

from pkdot.distillation.base import register
from pkdot.distillation.student_only import StudentOnly
from pkdot.networks import HallucinatingStudent


@register("tnet_only")
class TNetOnly(StudentOnly):
    """Train a student with a T-Net by the task alone."""

    prevalent_only = False  # T-Net learnt from privileged embeddings

    def student(self) -> nn.Module:
        student = self.context.hallucinating_student()
        headed = student.teacher if isinstance(student, HallucinatingStudent) else student
        headed.dropout.p = self.options.dropout
        return student
