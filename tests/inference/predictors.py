"""Predictors for a pool of processes, some of which do what hostile files make of them."""

from __future__ import annotations

import os
import time

from pkdot.errors import DataError


class Reader:
    """Does what the content of a file says; a second one is read beside it."""

    def predict(self, files):
        path, *others = files.values()
        for word in path.read_text(encoding="utf-8").split():
            if word == "die":
                os._exit(1)
            if word == "sleep":
                time.sleep(600)
            if word == "fill":
                raise MemoryError
            if word == "fail":
                raise RuntimeError("a mistake in the code")
            if word == "refuse":
                raise DataError(f"{path}: is no good")
            if word == "note":
                yield {"event": "window", "note": " and ".join(map(str, files.values()))}
            beside = [other.read_text(encoding="utf-8") for other in others]
            yield {"event": "window", "word": word, "suffix": path.suffix, "process": os.getpid(), "beside": beside}


def make():
    return Reader()


def broken():
    raise DataError("there is no bundle")
