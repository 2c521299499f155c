"""What a server takes: sizes, lengths, times, and how much at once."""

from __future__ import annotations

from pydantic import Field

from pkdot.params import Params


class Limits(Params):
    """What a server takes."""

    megabytes: float = Field(200.0, gt=0, description="size of a file, unpacked too")
    length: float = Field(600.0, gt=0, description="seconds that a recording may last")
    pixels: int = Field(4096 * 2304, gt=0, description="pixels of a picture")
    upload: float = Field(60.0, gt=0, description="seconds in which a file must have arrived")
    seconds: float = Field(300.0, gt=0, description="seconds in which a recording must be predicted")
    parallel: int = Field(1, ge=1, description="recordings that are predicted at once, each by a process of its own")
    waiting: int = Field(16, ge=0, description="further recordings that may arrive or wait")
