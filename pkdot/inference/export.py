"""``pkdot export``: the whole network of a bundle as one ONNX file, written only where it predicts what torch does."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.errors import DataError
from pkdot.files import read_json, replacing, sha256, write_json, write_text
from pkdot.inference.bundle import folder_of
from pkdot.inference.exported import KEY, ExportedStudent
from pkdot.inference.measured import primary_metric
from pkdot.inference.sources import Wanted, recordings
from pkdot.inference.student import PRESENT, Student
from pkdot.inference.windows import Windows
from pkdot.layout import CARD, ONNX
from pkdot.params import canonical

if TYPE_CHECKING:
    import onnx

LIMIT = 1e-4  # largest difference of a probability, or of a value in deviations, between torch and the file
CHECKED = 64  # samples that both are run on
DRAWN = 8  # samples that are drawn where no clip is given
OUTPUT = "predictions"
HEADING = "## In 8 bits"
RECORD = "run.json"


@dataclass(frozen=True)
class Compared:
    """How an exported network differs from another.

    Attributes
    ----------
    path : Path
        Its file.
    samples : int
        Samples that both predicted.
    difference, mean : float
        Largest and mean absolute difference of a probability, or of a value in deviations of the training.
    same : float
        Share of samples with the same class; 1 where values are predicted.
    """

    path: Path
    samples: int
    difference: float
    mean: float
    same: float


def export(bundle: Path, clips: list[str], out: Path | None = None, int8: bool = False) -> Compared:
    """Write a student as one ONNX file, which predicts without torch.

    Parameters
    ----------
    bundle : Path
        The folder of the bundle.
    clips : list of str
        Files that both networks are run on to compare them; valid arrays are drawn where there is none.
    out : Path, optional
        The file; ``student.onnx`` in the bundle by default, ``student.int8.onnx`` with ``int8``.
    int8 : bool
        Weights, and where clips are given also what passes between layers, in 8 bits; the bundle's card says what
        that changed.

    Returns
    -------
    Compared
        What was written, beside the bundle; with ``int8`` beside the same network in 32 bits.

    Raises
    ------
    DataError
        The file does not predict what torch does, and is not written; or no clip can be used.
    """
    student = Student.load(bundle)
    arrays = arrays_of(student, clips) if clips else drawn(student)
    target = out or folder_of(bundle) / (ONNX if not int8 else f"{Path(ONNX).stem}.int8.onnx")
    with replacing(target) as beside:
        write_onnx(student, beside, arrays)
        found = compared(student, ExportedStudent.load(beside), arrays)
        if not found.difference <= LIMIT:
            raise DataError(
                f"{target}: is not written, since it would predict otherwise than torch: outputs differ by "
                f"{found.difference:.2g}, and {LIMIT:g} is the most that may be. Does the encoder draw at random?"
            )
        if int8:
            from pkdot.inference.quantise import quantise

            whole = ExportedStudent.load(beside)
            quantise(beside, student.inputs(arrays) if clips else None)
            small = ExportedStudent.load(beside)
            found = compared(whole, small, arrays)
            _note(folder_of(bundle) / CARD, changed([whole, small], found, bool(clips)))
    return replace(found, path=target)


def arrays_of(student: Student, clips: list[str], most: int = CHECKED) -> dict[str, np.ndarray]:
    """Return the arrays of the windows of some files, by modality.

    Raises
    ------
    DataError
        None of them can be used; the message has the first reason.
    """
    windows = Windows(student.features, student.seconds, shortest=student.shortest)
    found = recordings(clips, Wanted(student.description.modalities), sys.stdin.buffer)
    tried = list(islice((window for recording in found for window in windows.of(recording)), most))
    got = [window.arrays for window in tried if window.arrays]
    if not got:
        raise DataError(f"no clip can be used: {tried[0].note if tried else 'none was named'}")
    return {name: np.stack([one[name] for one in got]) for name in student.modalities}


def drawn(student: Student) -> dict[str, np.ndarray]:
    """Return arrays that are drawn at random, always the same, in the range of each feature."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, said in student.description.modalities.items():
        shape = (DRAWN, *said.shape)
        bytes_ = said.dtype == "uint8"
        arrays[name] = rng.integers(0, 256, shape, np.uint8) if bytes_ else rng.normal(size=shape).astype(np.float32)
    return arrays


def compared(one: Student, other: Student, arrays: dict[str, np.ndarray]) -> Compared:
    """Compare two students on the same arrays, all at once and one by one; tokens are hidden where they may be."""
    batch = one.inputs(arrays)
    mask, count = batch.get(PRESENT), len(next(iter(batch.values())))
    if mask is not None:
        mask.reshape(count, -1)[np.arange(1, count), np.arange(1, count) % mask[0].size] = False
    rows = (slice(i, i + 1) for i in range(count))
    single = [
        other.predict_arrays({name: value[i] for name, value in arrays.items()}, None if mask is None else mask[i])
        for i in rows
    ]
    truth = one.predict_arrays(arrays, mask)
    found = np.stack([other.predict_arrays(arrays, mask), np.concatenate(single)])
    apart = np.abs(found - truth) / np.array(one.description.answer.deviation or [1.0])
    same = float((found.argmax(-1) == truth.argmax(-1)).mean()) if one.classes else 1.0
    return Compared(Path(), count, float(apart.max()), float(apart.mean()), same)


def write_onnx(student: Student, path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Trace the network of a bundle and write it with the content of student.json, for batches of any size."""
    import torch

    class Positional(torch.nn.Module):
        """The network with an argument for each modality, and one for the mask of a student that takes one."""

        def __init__(self, network: torch.nn.Module, names: list[str]) -> None:
            super().__init__()
            self.network, self.names = network, names

        def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
            return self.network(dict(zip(self.names, arrays, strict=False)), *arrays[len(self.names) :])

    inputs = student.inputs(arrays)
    pairs = (value[:2] if len(value) > 1 else np.repeat(value, 2, 0) for value in inputs.values())
    example = tuple(torch.from_numpy(pair) for pair in pairs)
    batch = torch.export.Dim("batch")
    with _quiet():
        program: Any = torch.onnx.export(
            Positional(student.network, student.modalities).eval(),
            example,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            input_names=list(inputs),
            output_names=[OUTPUT],
            verbose=False,
        )
    _write(program.model_proto, path, student)


def _write(model: onnx.ModelProto, path: Path, student: Student) -> None:
    import onnx

    for node in [*model.graph.node, *(node for one in model.functions for node in one.node)]:
        node.ClearField("metadata_props")  # where in whose files each step was written: of no use to others
        node.ClearField("doc_string")
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.ClearField("metadata_props")
    onnx.helper.set_model_props(model, {KEY: canonical(student.description.plain())})
    path.write_bytes(model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of its own steps from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def changed(students: list[Student], found: Compared, given: bool) -> str:
    """Return sentences for the card: what a network in 8 bits, the second, does otherwise than the first."""
    classes = students[0].classes
    what = "windows of given clips" if given else "arrays drawn at random"
    unit = "probability" if classes else "value, in deviations of the training"
    same = f"; {found.same:.1%} of them get the same class" if classes else ""
    said = (
        f"On {found.samples} {what} the largest change of a {unit} is {found.difference:.4f}, "
        f"the mean {found.mean:.5f}{same}."
    )
    measured = primary_metric(students)
    if measured:
        name, (before, after), count = measured
        said += (
            f" On all {count} labelled samples of the experiment the {name} is {after:.4f}, and {before:.4f} in 32 "
            "bits; most of them have trained the network, so that the difference alone says something."
        )
    return said


def _note(card: Path, sentence: str) -> None:
    """Write what 8 bits changed into the card, in the place of what an earlier export wrote there."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    before, _, after = text.partition(HEADING)
    _, mark, rest = after.partition("\n## ")
    write_text(card, f"{before.rstrip()}\n\n{HEADING}\n\n{sentence}\n{mark and f'{mark}{rest}'}".lstrip("\n"))
    record = card.with_name(RECORD)
    if record.is_file():  # it says what the refit wrote, and the card is no damage
        content = read_json(record)
        content["outputs"][card.name] = sha256(card)
        content.get("states", {}).pop(card.name, None)
        write_json(record, content)
