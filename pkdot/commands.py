"""The verbs that people use by hand."""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from pkdot.errors import ConfigError
from pkdot.files import write_text
from pkdot.params import sentences
from pkdot.stages import STAGES


def run(arguments: list[str]) -> None:
    """Parse and run one verb."""
    parser, verbs = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in verbs:
        close = difflib.get_close_matches(arguments[0], [*verbs, *STAGES], n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join([*verbs, *STAGES])}."
        raise ConfigError(f"there is no verb '{arguments[0]}'. {hint}")
    chosen = parser.parse_args(arguments or ["--help"])
    chosen.run(chosen)


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser, and the verbs that it knows."""
    stages = "\n".join(f"  {verb:<10}{stage.help}" for verb, stage in STAGES.items())
    parser = argparse.ArgumentParser(
        prog="pkdot",
        description="Privileged knowledge distillation with optimal transport: from raw files to a report.",
        epilog=f"stages, run by the workflow:\n{stages}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    check = verbs.add_parser("check", help="read a configuration and its data, and say what must be mended")
    check.add_argument("config", type=Path, help="such as config/biovid.yaml")
    check.set_defaults(run=_check)
    simulate = verbs.add_parser("simulate", help="make stand-in data in the owners' layout")
    simulate.add_argument("dataset", help="such as biovid")
    simulate.add_argument("--out", type=Path, help="folder; data/simulated/<dataset> by default")
    simulate.add_argument("--workers", type=int, default=1, help="processes")
    simulate.add_argument("options", nargs="*", metavar="KEY=VALUE", help="such as subjects=4 classes=[BL1,PA4]")
    simulate.set_defaults(run=_simulate)
    listing = verbs.add_parser("methods", help="list the methods with their papers, needs and options")
    listing.set_defaults(run=_methods)
    reference = verbs.add_parser("options", help="print the reference of all options, in Markdown")
    reference.add_argument("--out", type=Path, help="write it to this file, such as docs/configuration.md")
    reference.set_defaults(run=_options)
    track = verbs.add_parser("track", help="mirror results to MLflow again, after its store was down or lost")
    track.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all with results by default")
    track.add_argument("--resync", action="store_true", help="write also what the store seems to have")
    track.set_defaults(run=_track)
    return parser, list(verbs.choices)


def _check(chosen: argparse.Namespace) -> None:
    """Ingest into a folder that is thrown away, and print the ledger."""
    from pkdot import jobs
    from pkdot.config import load
    from pkdot.data import Samples
    from pkdot.datasets.ingest import ingest
    from pkdot.ledger import Ledger

    experiment = load(chosen.config)
    print(f"{chosen.config}: the configuration is valid.")
    if experiment.dataset.is_prepared and not Path(experiment.dataset.root).exists():
        print(f"{experiment.dataset.root}: does not exist yet; the workflow makes it.")
        return
    scratch = Path(tempfile.mkdtemp(prefix="pkdot-check-"))
    try:
        ingest(scratch / "out", jobs.ingest(experiment))
        samples = Samples.load(scratch / "out" / "manifest.parquet")
        entries = Ledger.read([scratch / "out" / "ingest.ledger.csv"]).entries
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for entry in entries:
        print(f"{entry.sample_id}: {entry.problem} ({entry.action})")
    about = samples.about
    counts = f"{about['samples']} samples of {about['subjects']} subjects, {len(entries)} problems"
    print(f"{experiment.dataset.root}: {counts}.")
    if entries:
        sys.exit(1)


def _simulate(chosen: argparse.Namespace) -> None:
    import yaml

    from pkdot.datasets.prepare import PrepareParams, prepare

    options = {}
    for pair in chosen.options:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"'{pair}' is not KEY=VALUE")
        options[key] = yaml.safe_load(value)
    out = chosen.out or Path("data/simulated") / chosen.dataset
    try:
        params = PrepareParams(dataset=chosen.dataset, options=options)
    except ValidationError as error:
        raise ConfigError(sentences("simulate", error, PrepareParams)) from error
    prepare(out, params, chosen.workers)
    print(out)


def _methods(chosen: argparse.Namespace) -> None:
    from pkdot.distillation.base import NEEDS, register

    for name in register.names():
        cls = register.load(name)
        paper = sys.modules[cls.__module__].__doc__.strip().splitlines()[0]
        print(f"{name}: {paper}")
        if cls.needs:
            print(f"    needs {', '.join(NEEDS[need] for need in sorted(cls.needs))}")
        for option, field in cls.Options.model_fields.items():
            print(f"    {option} = {field.default}: {field.description}")


def _options(chosen: argparse.Namespace) -> None:
    from pkdot.options import reference

    if chosen.out is None:
        print(reference(), end="")
    else:
        write_text(chosen.out, reference())


def _track(chosen: argparse.Namespace) -> None:
    from pkdot import jobs
    from pkdot.config import load
    from pkdot.tracking import sync

    known = sorted(path.parent.name for path in Path("results").glob("*/summary.json"))
    for name in chosen.experiments or known:
        experiment = load(Path(f"config/{name}.yaml"))
        runs = sync(Path("results") / name, jobs.mirror(experiment, name), anew=chosen.resync)
        print(f"{name}: {runs} runs in MLflow")
