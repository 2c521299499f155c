"""The files that mark data which the project made itself; the preparation of a root writes its marker last."""

SIMULATED = "SIMULATED.md"  # stand-in data: it puts the banner on every report
PACKAGED = "SOURCE.md"  # real data that a package carries
