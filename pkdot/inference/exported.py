"""A student that was exported: the same path from raw files to predictions, its network run by onnxruntime.

torch is not imported: the file carries all that student.json says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pkdot.errors import ConfigError, DataError
from pkdot.inference.bundle import BundleDescription, parse
from pkdot.inference.student import Student

if TYPE_CHECKING:
    import onnxruntime

KEY = "pkdot"  # of the entry in the file's metadata that holds student.json
SUFFIX = ".onnx"


class ExportedStudent(Student):
    """A student whose network is an ONNX file.

    Attributes
    ----------
    session : InferenceSession
        From arrays to calibrated probabilities or values, by onnxruntime.
    """

    def __init__(self, description: BundleDescription, session: onnxruntime.InferenceSession) -> None:
        self.description, self.session, self.device = description, session, "cpu"

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu", threads: int = 0) -> ExportedStudent:
        """Load an exported student.

        Parameters
        ----------
        path : Path or str
            Its file, such as ``results/biovid/student/student.onnx``.
        device : str
            ``cpu``; others are for students that torch runs.
        threads : int
            Threads of the network; 0: as many as there are cores.

        Raises
        ------
        DataError
            The file cannot be read, is no student, or was written by a newer version; or onnxruntime is missing.
        """
        if device != "cpu":
            raise ConfigError(f"{path}: an exported student runs on the cpu; name the bundle's folder for {device}")
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise DataError(
                f"{path}: needs the package onnxruntime. Install it with pip install pkdot[export]."
            ) from error
        if not Path(path).is_file():
            raise DataError(f"{path}: no such file. `pkdot export` writes it.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no class of its own for what it cannot read
            raise DataError(f"{path}: is not a network that onnxruntime can run. Export it again.") from error
        written = session.get_modelmeta().custom_metadata_map.get(KEY)
        if written is None:
            raise DataError(
                f"{path}: does not say of itself what it predicts, so it is no student; `pkdot export` writes one"
            )
        return cls(parse(written, Path(path)), session)

    @cached_property
    def _inputs(self) -> list[str]:
        return [one.name for one in self.session.get_inputs()]

    def predict_arrays(self, arrays: Mapping[str, np.ndarray], present: np.ndarray | None = None) -> np.ndarray:
        given = self.inputs(arrays, present)
        batch = {name: given[name] for name in self._inputs}  # files of old take no mask
        return self.session.run(None, batch)[0].astype(np.float32)
