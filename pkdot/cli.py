"""The command line: ``pkdot <verb>``. Each stage is a verb; other verbs are used by hand."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
from pathlib import Path

from pydantic import ValidationError

from pkdot import lock
from pkdot.errors import ConfigError, PkdotError
from pkdot.extras import advice
from pkdot.params import Params, sentences
from pkdot.stages import STAGES, Stage, params_class, path_arguments


def main(arguments: list[str] | None = None) -> None:
    """Run a verb; an error that a user can mend is printed as one sentence, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = arguments[0] if arguments else ""
    try:
        if verb in STAGES:
            _run_stage(verb, STAGES[verb], arguments[1:])
        else:
            _run_by_hand(arguments)
    except PkdotError as error:
        sys.exit(f"pkdot {verb}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = advice(error)
        if missing is None:
            raise
        sys.exit(f"pkdot {verb}: {missing}")
    except Exception as error:
        reason = _reason_of_the_machine(error)
        if reason is None:
            raise
        sys.exit(f"pkdot {verb}: {reason} What is complete is kept.")


def _reason_of_the_machine(error: Exception) -> str | None:
    """Return a sentence for a full disk, too little memory or a missing permission, and None for any other error.

    Some libraries report a full disk or memory only in the text of an error of their own.
    """
    if isinstance(error, MemoryError) or re.search("allocate memory|out of memory", str(error)):
        return (
            f"there is not enough memory ({error}). Make sizes in the configuration smaller, or use a larger machine."
        )
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        return "no space is left on the disk. Free some and run again."
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return "a name in the configuration is too long for the name of a file. Choose a shorter one."
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{error.filename}: {error.strerror}. Change its permissions and run again."
    return None


def _run_by_hand(arguments: list[str]) -> None:
    """Run a verb that people use; its output may go to a program that stops reading early, as `head` does."""
    from pkdot.commands import run

    try:
        try:
            run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _run_stage(verb: str, stage: Stage, arguments: list[str]) -> None:
    """Run a stage: its paths are options, its parameters one line of JSON."""
    parser = argparse.ArgumentParser(prog=f"pkdot {verb}", description=stage.help)
    for name, several in path_arguments(stage).items():
        parser.add_argument(f"--{name}", type=Path, nargs="+" if several else None, required=True)
    parser.add_argument("--params", required=True, help='JSON: {"params": {...}}')
    if "workers" in stage.signature():
        parser.add_argument("--workers", type=int, default=1, help="number of processes")
    options = vars(parser.parse_args(arguments))
    if lock.LOCK in os.environ:
        lock.share(Path(os.environ[lock.LOCK]), os.environ.get(lock.RUN))
    params = _params_of(options.pop("params"), params_class(stage))
    stage.function()(**options, params=params)


def _params_of(text: str, cls: type[Params]) -> Params:
    """Return the parameters of a stage from its one line of JSON."""
    try:
        values = json.loads(text)["params"]
        return cls(**values)
    except ValidationError as error:
        raise ConfigError(sentences("--params", error, cls)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError('--params is not JSON of the form {"params": {...}}') from error
