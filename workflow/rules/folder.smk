"""The working folder: one run at a time in it, outputs that came from elsewhere, and jobs of which a file is gone."""

import atexit
import os
import re
import time

from snakemake.logging import logger

from pkdot import lock, messages, restore

LOCK = Path(".snakemake/pkdot.lock")
LEDGER = Path(".snakemake/pkdot.json")
BEGUN = time.time()

if workflow.is_main_process:
    logger.addFilter(messages.ShortCommands())
    os.environ[lock.RUN] = lock.this_run()
    LOCK.parent.mkdir(exist_ok=True)
    dry = any(re.fullmatch(r"-[a-z]*n[a-z]*|--dry-?run", word) for word in sys.argv)
    for file in restore.adopt(LEDGER, LOCK, asked_of, remove=not dry):
        print(
            f"{file} came from elsewhere and does not belong to the configuration.",
            "A run makes it again." if dry else "It is made again.",
            file=sys.stderr,
        )
    for file in restore.complete(LOCK, remove=not dry):
        print(
            f"{file}: this file, or another of the job that made it, is gone.",
            "The job runs again, and all that used its files.",
            file=sys.stderr,
        )
    RECORDS = restore.records()


onstart:
    try:
        lock.claim(LOCK)
    except PkdotError as error:
        raise WorkflowError(str(error)) from None
    lock.sweep(*ROOTS)


onsuccess:
    restore.remember(LEDGER, RECORDS)


def tell_what_failed():
    """Say last, behind all that Snakemake says, why jobs failed."""
    print(*messages.last_words(Path("logs"), BEGUN), sep="\n", file=sys.stderr)


onerror:
    restore.remember(LEDGER, RECORDS)
    atexit.register(tell_what_failed)
