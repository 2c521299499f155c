"""Rows of the table of predictions: a row a window, or a row a frame where values of every frame are predicted."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

if TYPE_CHECKING:
    from pkdot.answer import Answer
    from pkdot.inference.windows import Window

DIGITS = 6  # of a probability or value, behind the point
MOMENT = 3  # of a time


@dataclass(frozen=True)
class Shown:
    """What rows show beside predictions: how much of a face is seen, numbers of people, which modalities there were."""

    face: bool = False
    tracks: bool = False
    present: bool = False


class Rows:
    """Writes predictions as comma-separated values, or as a line of JSON a row.

    Parameters
    ----------
    file : TextIO
    answer : Answer
        What is predicted.
    shown : Shown
        Which columns there are beside the predictions.
    lines : bool
        JSON and not CSV.
    abstain : float, optional
        Confidence below which no class is named.
    """

    def __init__(
        self, file: TextIO, answer: Answer, shown: Shown, lines: bool = False, abstain: float | None = None
    ) -> None:
        self._file, self._answer, self._lines, self._abstain = file, answer, lines, abstain
        first = ["source", "start", "stop"]
        first += [name for name in ("track", "face", "present") if getattr(shown, {"track": "tracks"}.get(name, name))]
        if answer.classes is None:
            taken = {*first, "note"}
            self._values = [f"value_{name}" if name in taken else name for name in answer.targets]
            self.columns = [*first, *self._values, "note"]
        else:
            self._values = [f"p_{name}" for name in answer.classes]
            self.columns = [*first, "prediction", *self._values, "confidence", "note"]
        self._csv = csv.writer(file, lineterminator="\n")

    def begin(self) -> None:
        """Write the head of the table."""
        if not self._lines:
            self._csv.writerow(self.columns)

    def write(self, window: Window, outputs: np.ndarray | None) -> None:
        """Write what is predicted for a window; ``outputs`` None says that the window cannot be used.

        Parameters
        ----------
        window : Window
        outputs : ndarray, shape (classes,) or (frames, targets)
        """
        for row in self._rows(window, outputs):
            if self._lines:
                self._file.write(json.dumps(row) + "\n")
            else:
                self._csv.writerow(["" if row[name] is None else row[name] for name in self.columns])
        self._file.flush()

    def _rows(self, window: Window, outputs: np.ndarray | None) -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row |= {"source": window.recording.name, "start": _moment(window.start), "stop": _moment(window.stop)}
        row["note"] = window.note
        seen: dict[str, Any] = {
            "track": window.track,
            "face": None if window.face is None else round(window.face, MOMENT),
        }
        seen["present"] = "+".join(sorted(window.arrays))
        row |= {name: value for name, value in seen.items() if name in row}
        if outputs is None:
            yield row
        elif self._answer.classes is None:
            start, stop = window.start or 0.0, window.stop or 0.0
            borders = np.linspace(start, stop, len(outputs) + 1).tolist()
            for number, values in enumerate(outputs.tolist()):
                times = {"start": _moment(borders[number]), "stop": _moment(borders[number + 1])}
                yield row | times | self._numbers(values)
        else:
            yield row | self._named(outputs, window.note)

    def _numbers(self, values: list[float]) -> dict[str, float]:
        return {name: round(value, DIGITS) for name, value in zip(self._values, values, strict=True)}

    def _named(self, probabilities: np.ndarray, note: str) -> dict[str, Any]:
        """Return the class of a window, its probabilities, and why it has none where it is too uncertain."""
        classes = self._answer.classes or []
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        named: dict[str, Any] = {"prediction": classes[best], "confidence": round(confidence, DIGITS)}
        if self._abstain is not None and confidence < self._abstain:
            why = f"the confidence is below {self._abstain:g}"
            named |= {"prediction": None, "note": f"{note}; {why}" if note else why}
        return self._numbers(probabilities.tolist()) | named


def _moment(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, MOMENT)
