"""Digits: 2,000 handwritten numerals in six views (UCI "Multiple Features", Duin 1998), unpacked to arrays.

Who wrote which numeral is not known, so each is its own subject.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pkdot.datasets.arrays import Arrays, ArraysOptions
from pkdot.datasets.base import register

STREAMS = ["profiles", "fourier", "karhunen", "morphology", "pixels", "zernike"]
CLASSES = [str(numeral) for numeral in range(10)]


class DigitsOptions(ArraysOptions):
    """Options of ``digits``: those of ``arrays``, with defaults for the views and classes."""

    title: str = Field(
        "Digits: handwritten numerals in six views (real data, each numeral its own subject)",
        description="how reports call the data",
    )
    licence: str = Field("CC BY 4.0", description="what their owners allow")
    target: str | list[str] = Field("numeral", description="how reports call the target")
    streams: list[str] = Field(STREAMS, min_length=1, description="the views to use")
    classes: list[str] | None = Field(CLASSES, min_length=2, description="the numerals to tell apart, in order")
    sample: Literal["window", "row", "recording"] = Field("row", description="what a sample is: a row, a numeral")
    labels: Literal["recording", "file"] = Field("file", description="where labels are: in a file, one for each row")
    subjects: Literal["recording", "own", "file"] = Field("own", description="who a sample is of: only itself")


@register("digits")
class Digits(Arrays):
    """The numerals that a package carries."""

    Options = DigitsOptions
    preparation = "digits"
