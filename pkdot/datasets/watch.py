"""Watch: real recordings of ten people at seven shoulder exercises, unpacked to a table of arrays.

Accelerometer and gyroscope of a wrist watch at 50 Hz, 140 recordings (Burns et al. 2018, Physiological Measurement).
"""

from __future__ import annotations

from pydantic import Field

from pkdot.datasets.arrays import Arrays, ArraysOptions
from pkdot.datasets.base import register

STREAMS = ["accelerometer", "gyroscope"]
CLASSES = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]


class WatchOptions(ArraysOptions):
    """Options of ``watch``: those of ``arrays``, with defaults for the streams and classes."""

    title: str = Field("Watch: shoulder exercises (real recordings)", description="how reports call the data")
    licence: str = Field("that of the package seglearn, which carries them", description="what their owners allow")
    target: str | list[str] = Field("exercise", description="how reports call the target")
    streams: list[str] = Field(STREAMS, min_length=1, description="the streams to use")
    classes: list[str] | None = Field(CLASSES, min_length=2, description="the exercises to tell apart, in order")


@register("watch")
class Watch(Arrays):
    """The recordings that the package carries."""

    Options = WatchOptions
    preparation = "watch"
