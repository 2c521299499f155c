"""Loading a student, whether it is a bundle or was exported."""

from __future__ import annotations

import warnings
from pathlib import Path

from pkdot.inference.bundle import other_code
from pkdot.inference.student import Student


class OtherCode(UserWarning):
    """A student was made with other code than the one that predicts."""


def load_student(path: Path | str, device: str = "cpu") -> Student:
    """Load a student; warn where the code that made it was another one.

    Parameters
    ----------
    path : Path or str
        The folder of a bundle, such as ``results/biovid/student``, or an exported file, such as ``student.onnx``.
    device : str
        Where the networks run: cpu, or cuda.

    Raises
    ------
    DataError
        It cannot be used; the message says why.
    """
    if str(path).endswith(".onnx"):
        from pkdot.inference.exported import ExportedStudent

        student: Student = ExportedStudent.load(path, device)
    else:
        student = Student.load(path, device)
    if changed := other_code(student.description, path):
        warnings.warn(changed, OtherCode, stacklevel=3)  # the line that called pkdot.load_student
    return student
