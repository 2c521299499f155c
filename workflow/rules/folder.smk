"""The working folder: one run at a time in it, and jobs that are due by the records of their files."""

import atexit
import os
import time

from snakemake.logging import logger

from pkdot import lock, messages, restore

LOCK = Path(".snakemake/pkdot.lock")
LEDGER = Path(".snakemake/pkdot.json")
BEGUN = time.time()
WARM = []  # keeps the process that jobs are forked from for as long as the run lasts

if workflow.is_main_process:
    logger.addFilter(messages.ShortCommands())
    os.environ[lock.RUN] = lock.this_run()
    LOCK.parent.mkdir(exist_ok=True)
    for root in (*ROOTS, Path("logs")):
        if any(place.exists() and not place.is_dir() for place in (root, root.parent)):
            raise WorkflowError(f"{root}: is no folder, but results go there. Move it.")
    try:
        restore.adopt(LEDGER, LOCK)
        DUE.update(restore.due(LEDGER, parameters_of))
    except PkdotError as error:
        raise WorkflowError(str(error)) from None
    RECORDS = restore.records()


onstart:
    try:
        lock.claim(LOCK)
    except PkdotError as error:
        raise WorkflowError(str(error)) from None
    lock.sweep(*ROOTS)
    if not workflow.local_exec:
        return
    # How many jobs may start in a second matters to queues alone. With such a limit Snakemake looks for work anew every
    # second, once more for each job that has ended, which in long runs takes it a fifth of a processor.
    workflow.scheduler.job_rate_limiter = None
    if len(workflow.dag) > 1:
        WARM.append(warm.start())


onsuccess:
    restore.remember(LEDGER, RECORDS)


def tell_what_failed():
    """Say last, behind all that Snakemake says, why jobs failed."""
    print(*messages.last_words(Path("logs"), BEGUN), sep="\n", file=sys.stderr)


onerror:
    restore.remember(LEDGER, RECORDS)
    atexit.register(tell_what_failed)
