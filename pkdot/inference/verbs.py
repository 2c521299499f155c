"""The verbs of a student in use: ``pkdot predict``, ``pkdot export`` and ``pkdot serve``."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pkdot.errors import ConfigError
from pkdot.inference.limits import Limits
from pkdot.params import sentences


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``pkdot predict`` takes."""
    parser.add_argument("bundle", type=Path, help="folder of a bundle, such as results/biovid/student, or a .onnx file")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="files, folders, patterns, a table of recordings, the number of a camera; - reads names from stdin",
    )
    parser.set_defaults(given={})
    if isinstance(parser, Named):
        parser.named = "given"
        parser.epilog = "--<modality> FILE names the file of one modality of a recording: --face clip.mp4 --eda gsr.csv"
    parser.add_argument("--out", type=Path, help="write the table to this file, and not to standard output")
    parser.add_argument(
        "--json", action="store_true", help="write a line of JSON a row, and not comma-separated values"
    )
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="start a window so often; one after the other by default"
    )
    parser.add_argument(
        "--subject",
        choices=["largest", "all"],
        default="largest",
        help="whose face: the largest, or all, each with a number",
    )
    parser.add_argument(
        "--annotate", type=Path, metavar="FILE", help="write the one video with the face, the prediction and its course"
    )
    parser.add_argument("--abstain", type=float, metavar="CONFIDENCE", help="name no class below this confidence")
    parser.add_argument("--rate", type=float, metavar="HZ", help="rate of arrays, where it is not that of the training")
    parser.add_argument("--batch", type=int, default=16, help="windows that the network gets at once (16)")
    parser.add_argument("--device", default="cpu", help="where the network runs: cpu, or cuda")


class Named(argparse.ArgumentParser):
    """A parser that may take options by the names of modalities, which are known only when a bundle is read.

    Attributes
    ----------
    named : str
        Where they go: name -> file. Empty: none are taken.
    """

    named = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Take the options that it does not know apart, each with its value."""
        if not self.named:
            return super().parse_known_args(args, namespace)
        rest, given, left = [], {}, list(args or [])
        while left:
            word = left.pop(0)
            name, joined, value = word.partition("=")
            known = any(option.startswith(name) for option in self._option_string_actions)
            if not re.fullmatch(r"--[a-z][a-z0-9_]*", name) or known:
                rest.append(word)
                continue
            if not joined and left and not left[0].startswith("--"):
                value = left.pop(0)
            if not value:
                self.error(f"argument {name}: expected the file of a modality after it")
            if name.removeprefix("--") in given:
                self.error(f"{name} is given twice; a recording has one file of each modality")
            given[name.removeprefix("--")] = Path(value)
        parsed, unknown = super().parse_known_args(rest, namespace)
        setattr(parsed, self.named, given)
        return parsed, unknown


def predict(options: argparse.Namespace) -> None:
    """Write a table of predictions; exit with 1 where a source gave none."""
    from pkdot.inference import predict as stage
    from pkdot.inference.loading import OtherCode, load_student

    values = {
        "every": options.every,
        "everyone": options.subject == "all",
        "abstain": options.abstain,
        "lines": options.json,
        "batch": options.batch,
        "rate": options.rate,
    }
    try:
        how = stage.PredictOptions(**values)
    except ValidationError as error:
        raise ConfigError(sentences("predict", error, stage.PredictOptions)) from error
    if not options.sources and not options.given:
        raise ConfigError("name a source: files, folders, a table, a camera, or - for names on standard input")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", OtherCode)
        student = load_student(options.bundle, options.device)
    for one in said:
        print(f"pkdot predict: {one.message}", file=sys.stderr)
    if unknown := sorted(options.given.keys() - student.description.modalities):
        raise ConfigError(_no_option(unknown[0], list(student.description.modalities), options))
    if stage.predict(student, options.sources, how, options.out, options.annotate, options.given):
        sys.exit(1)


def _no_option(name: str, modalities: list[str], options: argparse.Namespace) -> str:
    """Say that there is no such option, and which one is meant."""
    known = [*modalities, *(vars(options).keys() - {"bundle", "sources", "given", "run"})]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean --{close[0]}?" if close else f"The bundle takes --{' and --'.join(modalities)}."
    return f"there is no option --{name}. {hint}"


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``pkdot export`` takes."""
    parser.add_argument("bundle", type=Path, help="folder of a bundle, such as results/biovid/student")
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="files that torch and the export are compared on")
    parser.add_argument("--format", choices=["onnx"], default="onnx", help="what is written")
    parser.add_argument("--out", type=Path, help="the file; student.onnx in the bundle by default")
    parser.add_argument("--int8", action="store_true", help="write weights in 8 bits; the card says what that changed")


def export(options: argparse.Namespace) -> None:
    """Write an exported student and print how far it is from the bundle."""
    from pkdot.inference.export import export as write

    done = write(options.bundle, options.clips, options.out, options.int8)
    print(f"{done.path}: outputs differ by {done.difference:.2g} at most on {done.samples} samples")


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``pkdot serve`` takes."""
    parser.add_argument("bundle", type=Path, help="folder of a bundle, such as results/biovid/student")
    parser.add_argument("--host", default="127.0.0.1", help="this machine alone by default; 0.0.0.0 lets others in")
    parser.add_argument("--port", type=int, default=8000, help="0 is one that is free")
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="start a window so often; half a window by default"
    )
    for name, field in Limits.model_fields.items():
        shown = f"{field.description} ({field.default:g})"
        parser.add_argument(f"--{name}", type=type(field.default), default=field.default, help=shown)


def serve(options: argparse.Namespace) -> None:
    """Serve a bundle until the process is ended."""
    from pkdot.inference.serve import serve as run

    try:
        limits = Limits(**{name: getattr(options, name) for name in Limits.model_fields})
    except ValidationError as error:
        raise ConfigError(sentences("serve", error, Limits)) from error
    if options.every is not None and not 0 < options.every < math.inf:
        raise ConfigError(f"--every is {options.every:g}; it takes seconds above zero")
    run(options.bundle, options.host, options.port, limits, options.every)
