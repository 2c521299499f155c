"""Snakemake without the seconds of its imports: its runs in the tests are forks of a process that has them.

It is the program itself that runs, in a process of its own, with the folder, environment and streams of a user's.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from pkdot import warm

LIBRARIES = (
    *warm.LIBRARIES, "snakemake.cli", "snakemake.profiles", "snakemake.report", "snakemake.storage",
)  # fmt: skip
FOLDER = "PKDOT_TEST_FOLDER"
REPO = Path(__file__).resolve().parents[2]


class Snakemakes(warm.Server):
    """The process that has the libraries of Snakemake."""

    def program(self) -> Callable[[list[str]], None]:
        """Return Snakemake, in the folder of the run, without the modules of this checkout."""
        os.chdir(os.environ.pop(FOLDER))
        sys.path.remove(str(REPO))
        for name in [name for name in sys.modules if name.split(".")[0] == "pkdot"]:
            del sys.modules[name]
        from snakemake.cli import main

        return main


@cache
def _server() -> tuple[Path, subprocess.Popen | None]:
    """Start the process, once for each worker of the tests, with which it ends; return its folder."""
    folder, here = Path(mkdtemp()), Path.cwd()
    (folder / warm.SOCKET).parent.mkdir()
    os.chdir(folder)
    try:
        return folder, warm.start("tests.workflow.forks")
    finally:
        os.chdir(here)


def snakemake(folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; by an own start where forks cannot be watched."""
    home, server = _server()
    line, more = [sys.executable, "-IS", warm.__file__], {**warm.THREADS, FOLDER: str(folder)}
    if server is None:
        line, more, home = ["snakemake"], {}, folder
    return subprocess.run([*line, *arguments], cwd=home, env={**environment, **more}, capture_output=True, text=True)


if __name__ == "__main__":
    warm.serve(Snakemakes, LIBRARIES)
