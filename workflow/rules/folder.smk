"""The working folder: one run at a time in it, and outputs that came from elsewhere."""

import os
import re

from pkdot import onerun, restored

LOCK = Path(".snakemake/pkdot.lock")
LEDGER = Path(".snakemake/pkdot.json")

if workflow.is_main_process:
    os.environ[onerun.RUN] = onerun.this_run()
    LOCK.parent.mkdir(exist_ok=True)
    dry = any(re.fullmatch(r"-[a-z]*n[a-z]*|--dry-?run", word) for word in sys.argv)
    for file in restored.adopt(LEDGER, LOCK, asked_of, remove=not dry):
        print(
            f"{file} came from elsewhere and does not belong to the configuration.",
            "A run makes it again." if dry else "It is made again.",
            file=sys.stderr,
        )
    RECORDS = restored.records()


onstart:
    try:
        onerun.claim(LOCK)
    except PkdotError as error:
        raise WorkflowError(str(error)) from None
    onerun.sweep(*map(Path, restored.ROOTS))


onsuccess:
    restored.remember(LEDGER, RECORDS)


onerror:
    restored.remember(LEDGER, RECORDS)
