"""What a run that failed says: short commands, and at its very end what each failed job said, and where its log is."""

from __future__ import annotations

import logging
import re
from pathlib import Path

PREAMBLE = re.compile(r"set -euo pipefail; export PYTHONPATH=\S+ .*?pkdot\(\) \(.*?\);\s*", re.DOTALL)
PARAMS = re.compile(r"--params '\{.*?\}'(?=\s|$)", re.DOTALL)
SENTENCE = re.compile(r"(?:^|[\r\n])(pkdot [a-z]+: )")
TRACEBACK = "Traceback (most recent call last)"
LONGEST = 2000  # characters of what one job said


class ShortCommands(logging.Filter):
    """Leave out of messages what nobody reads: the parameters of a job in full, and the functions of its shell."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the texts of a record; every record passes."""
        for name, value in vars(record).items():
            if isinstance(value, str):
                setattr(record, name, shortened(value))
        for job in getattr(record, "job_error_info", None) or ():
            job.update({name: shortened(value) for name, value in job.items() if isinstance(value, str)})
        return True


def shortened(text: str) -> str:
    """Return a text without the parameters and the preamble of the commands in it."""
    return PARAMS.sub("--params ...", PREAMBLE.sub("", text))


def last_words(logs: Path, since: float) -> list[str]:
    """Return what failed jobs said last, each with the path of its log.

    Parameters
    ----------
    logs : Path
        The folder of all logs.
    since : float
        Seconds since the epoch; logs that were not written later are of other runs.
    """
    paths = sorted(path for path in logs.rglob("*.log") if path.is_file() and path.stat().st_mtime >= since)
    endings = {path: _last(path.read_text(encoding="utf-8", errors="replace")) for path in paths}
    return [f"{path}: {words}" for path, words in endings.items() if words]


def _last(text: str) -> str:
    """Return the sentence that a log ends with, or the last line of a traceback; empty where the job did not fail."""
    found = [match.start(1) for match in SENTENCE.finditer(text)]
    if found:
        return text[found[-1] :].strip()[:LONGEST]
    return text.strip().splitlines()[-1][:LONGEST] if TRACEBACK in text else ""
