"""A row of numbers without an order in time: a questionnaire, a blood test, descriptors of a picture."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.params import Params
from pkdot.recordings import open_recording


class VectorOptions(Params):
    """Options of ``vector``."""

    size: int = Field(ge=1, le=10_000_000, description="numbers of a sample")


@register("vector")
class Vector(Feature):
    """One row of an array as it is, in its own units: (size,)."""

    Options = VectorOptions
    options: VectorOptions
    dtype = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.options.size,)

    def extract(self, source: Source) -> Extracted:
        array = open_recording(source.path, source.part)
        if source.start is None or source.stop is None:
            first, last = 0, len(array)
        else:
            first, last = (round(time * (source.rate or 1.0)) for time in (source.start, source.stop))
        values = source.without_absent(np.asarray(array[first:last], dtype=np.float64), first).reshape(-1)
        where = f"{source.path}, row {first}"
        if len(values) != self.options.size:
            raise DataError(f"{where}: has {len(values)} numbers, not the {self.options.size} of the feature's size")
        if not np.isfinite(values).all():
            column = int(np.flatnonzero(~np.isfinite(values))[0])
            absent = "absent or " if source.absent else ""
            raise DataError(f"{where}, column {column}: the value is {absent}not a finite number")
        return Extracted(values.astype(np.float32))

    def seconds(self, source: Source) -> float:
        return len(open_recording(source.path, source.part)) / (source.rate or 1.0)
