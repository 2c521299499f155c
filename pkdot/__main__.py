"""``python -m pkdot`` is ``pkdot``."""

from pkdot.cli import main

main()
