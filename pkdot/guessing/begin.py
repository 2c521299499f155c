"""The verb ``init``: look at a folder, and write a list of recordings and a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pkdot.datasets.listing import LISTING
from pkdot.errors import ConfigError
from pkdot.files import replacing, write_text
from pkdot.guessing.folder import look
from pkdot.guessing.guess import LONG, Guess, StreamGuess

LENGTH = (32, 512)  # fewest and most samples of a window
PREVALENT = (
    "face",
    "video",
    "camera",
    "gyroscope",
    "accelerometer",
    "acc",
    "gyro",
)  # what is there at test time, often

PAGE = """# {name}: what `pkdot init` guessed of {root}. Lines with `# ?` could not be known: mend or confirm them.
# Every option stands in docs/configuration.md; docs/own-data.md explains those of `arrays`.
dataset:
  name: arrays
  root: {root}
  title: {name}
  target: {target}
  streams: [{streams}]
{classes}{cut}{task}modalities:
  # prevalent: there at test time, what the student sees; privileged: only in training, what the teacher sees too
{modalities}splits: {{scheme: leave_subjects_out, folds: {folds}}}
shards: 2
students:
  methods: [student_only, encoder_head, linear_probe, {logits}, feature_mse, pkdot]
seeds: [0, 1]
"""


def begin(name: str, folder: Path, config: Path, rate: float | None = None) -> list[str]:
    """Write ``recordings.csv`` into a folder and ``config/<name>.yaml``; return what to tell the user.

    Parameters
    ----------
    name : str
        Name of the experiment.
    folder : Path
        Where the files are.
    config : Path
        The configuration that is written.
    rate : float, optional
        In Hz, for streams whose files do not tell it.

    Raises
    ------
    DataError
        The folder holds nothing that can be read.
    ConfigError
        One of the two files is there already.
    """
    listing = folder / LISTING
    for path in (config, listing):
        if path.exists():
            raise ConfigError(f"{path} is there already and is kept; remove it, or choose another name.")
    guess = look(folder, rate)
    page = _page(name, folder, guess)
    columns = ["recording_id", "subject_id", "target", "rate"]
    table = pd.DataFrame(guess.rows)
    first = [column for column in columns if column in table or column == "target"]
    table = table.reindex(columns=[*first, *(column for column in table if column not in columns)])
    with replacing(listing) as beside:
        table.fillna("").to_csv(beside, index=False)
    write_text(config, page)
    said = [
        f"{listing}: a list of recordings, {len(table)} in number.",
        f"{config}: a first configuration.",
        "Guessed:",
    ]
    said += [f"  {line}." for line in guess.known]
    said += ["Not known:", *(f"  {line}." for line in guess.unknown)]
    return [*said, f"Mend both files where they are wrong, then run: pkdot check {config}"]


def _page(name: str, folder: Path, guess: Guess) -> str:
    """Return the text of the configuration."""
    prevalent = next((s for word in PREVALENT for s in guess.streams if s.name.startswith(word)), guess.streams[0])
    guess.unknown.append(f"what is there at test time: '{prevalent.name}' is prevalent, the others privileged")
    seconds = _seconds(guess)
    if guess.classes is not None:
        classes = f"  classes: [{', '.join(map(_quoted, guess.classes))}]\n"
    elif any("the target:" in line for line in guess.unknown):
        classes = "  # classes: [calm, tense]  # ? without classes the target is a real number\n"
    else:
        classes = ""
    cut = (
        f"  sample: {guess.sample}\n" if guess.sample != "window" else f"  seconds: {seconds:g}\n  step: {seconds:g}\n"
    )
    cut += f"  labels: {guess.labels}\n" if guess.labels != "recording" else ""
    cut += f"  subjects: {guess.subjects}\n" if guess.subjects != "recording" else ""
    return PAGE.format(
        name=name,
        root=folder.as_posix(),
        target=guess.target,
        streams=", ".join(stream.name for stream in guess.streams),
        classes=classes,
        cut=cut,
        task="" if guess.classes else "task: {kind: regression, loss: ccc}\n",
        modalities="".join(_modality(stream, stream is prevalent, guess, seconds) for stream in guess.streams),
        folds=_folds(guess),
        logits="kd" if guess.classes else "logit_mse",
    )


def _seconds(guess: Guess) -> float:
    """Return the length of windows: a few seconds, or the shortest recording where that is shorter."""
    lasting = [stream.shortest / stream.rate for stream in guess.streams if stream.rate]
    shortest = min(lasting, default=LONG)
    return LONG if shortest >= LONG else float(f"{shortest:.3g}") if shortest < 1 else int(shortest)


def _modality(stream: StreamGuess, prevalent: bool, guess: Guess, seconds: float) -> str:
    """Return the section of a modality."""
    steps = 300
    if stream.medium == "video":
        feature, encoder = "{name: faces, frames: 16, window: null}", "small_r3d"
    elif stream.medium == "sound":
        feature, encoder = "{name: audio, steps: 64}", "cnn2d"
    elif len(stream.shape) > 1:
        white = f", white: {stream.white:g}" if stream.white else ""
        frames = 1 if guess.sample == "row" or stream.shortest < LENGTH[0] // 4 else 8
        size = max(16, min(64, *stream.shape[:2]))
        feature, encoder = f"{{name: clip, frames: {frames}, size: {size}{white}}}", "{name: small_r3d, reduce: 1}"
    elif guess.sample == "row":
        feature, encoder = f"{{name: vector, size: {stream.shape[0]}}}", "mlp"
    else:
        count = round(seconds * stream.rate) if stream.rate and guess.sample == "window" else int(stream.shortest)
        length = min(max(count, LENGTH[0]), LENGTH[1])
        feature, encoder = f"{{name: window, channels: {stream.shape[0]}, length: {length}}}", "cnn1d"
    role = "prevalent" if prevalent else "privileged"
    return (
        f"  {stream.name}:\n    role: {role}  # ?\n    source: {stream.name}\n    feature: {feature}\n"
        f"    encoder: {encoder}\n    training: {{steps: {steps}, batch_size: 32, learning_rate: 0.003}}\n"
    )


def _folds(guess: Guess) -> int:
    """Return a number of folds that the subjects allow."""
    if guess.sample == "row":
        return 5
    return max(2, min(5, len({row["subject_id"] for row in guess.rows}) // 2))


def _quoted(name: str) -> str:
    """Return a class as YAML reads it: a text."""
    import json

    plain = name.replace("_", "").replace("-", "").isalnum() and not name[0].isdigit() and name[0] != "-"
    return (
        name
        if plain and name.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        else json.dumps(name)
    )
