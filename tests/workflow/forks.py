"""Snakemake without the seconds of its imports: its runs in the tests are forks of a process that has them.

It is the program itself that runs, in a process of its own, with the folder, environment and streams of a user's.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from shlex import quote
from tempfile import mkdtemp

from pkdot import warm

LIBRARIES = (
    *warm.LIBRARIES, "snakemake.cli", "snakemake.profiles", "snakemake.report", "snakemake.storage",
)  # fmt: skip
FOLDER, GROUP = "PKDOT_TEST_FOLDER", "PKDOT_TEST_GROUP"
SERVERS: list[subprocess.Popen | None] = []  # kept, since they end when nobody holds them
REPO = Path(__file__).resolve().parents[2]


class Snakemakes(warm.Server):
    """The process that has the libraries of Snakemake."""

    def program(self) -> Callable[[list[str]], None]:
        """Return Snakemake, in the folder and the process group of the caller, without the modules of this checkout."""
        os.chdir(os.environ.pop(FOLDER))
        with suppress(OSError):  # it has none of its own
            os.setpgid(0, int(os.environ.pop(GROUP)))
        sys.path.remove(str(REPO))
        for name in [name for name in sys.modules if name.split(".")[0] == "pkdot"]:
            del sys.modules[name]
        from snakemake.cli import main

        return main


@cache
def path() -> str:
    """Return a folder to look for programs in, with a ``snakemake`` that is a fork; '' where forks cannot be watched.

    The process that has the libraries is started once for each worker of the tests, with which it ends.
    """
    folder, here = Path(mkdtemp()), Path.cwd()
    (folder / warm.SOCKET).parent.mkdir()
    os.chdir(folder)
    try:
        SERVERS.append(warm.start("tests.workflow.forks"))
    finally:
        os.chdir(here)
    if SERVERS[-1] is None:
        return ""
    settings = " ".join(f"{name}={number}" for name, number in warm.THREADS.items())
    client = f"{quote(sys.executable)} -IS {quote(warm.__file__)}"  # which looks for the process where it is started
    script = f'export {settings} {FOLDER}="$PWD" {GROUP}=$$; cd {quote(str(folder))} && exec {client} "$@"'
    (folder / "snakemake").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "snakemake").chmod(0o755)
    return f"{folder}{os.pathsep}"


if __name__ == "__main__":
    warm.serve(Snakemakes, LIBRARIES)
