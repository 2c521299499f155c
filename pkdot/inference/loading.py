"""Loading a student, whether it is a bundle or was exported."""

from __future__ import annotations

from pathlib import Path

from pkdot.inference.student import Student


def load_student(path: Path | str, device: str = "cpu") -> Student:
    """Load a student.

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

        return ExportedStudent.load(path, device)
    return Student.load(path, device)
