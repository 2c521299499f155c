"""The verbs that people use by hand."""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pkdot.errors import ConfigError, DataError
from pkdot.files import write_text
from pkdot.params import sentences
from pkdot.stages import STAGES

if TYPE_CHECKING:
    from pkdot.config import Experiment


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
    """Read a configuration and its data into a folder that is thrown away, and print what must be mended."""
    from pkdot.config import load

    experiment = load(chosen.config)
    for name in experiment.protocols:
        load(chosen.config.with_name(f"{name}.yaml"))
    print(f"{chosen.config}: the configuration is valid.")
    root = experiment.dataset.root
    if experiment.dataset.is_prepared and not Path(root).exists():
        print(f"{root}: does not exist yet; the workflow makes it.")
        return
    with tempfile.TemporaryDirectory(prefix="pkdot-check-") as scratch:
        counts, problems = _problems(experiment, Path(scratch) / "out")
    for problem in problems:
        print(problem)
    print(f"{root}: {counts}, {len(problems)} problems.")
    print("Looked at: the list of samples, the folds, and the first sample of each modality. What is wrong inside")
    print("other files is found when features are made of them; ledger.csv and the report say what that cost.")
    if problems:
        sys.exit(1)


def _problems(experiment: Experiment, scratch: Path) -> tuple[str, list[str]]:
    """How many samples and subjects the data have, and what is wrong with them, a sentence each."""
    from pkdot import jobs
    from pkdot.data import Samples
    from pkdot.datasets.ingest import ingest
    from pkdot.features.extract import first_problems
    from pkdot.ledger import Ledger
    from pkdot.splits import make_splits

    ingest(scratch, jobs.ingest(experiment))
    manifest = scratch / "manifest.parquet"
    about = Samples.load(manifest).about
    entries = Ledger.read([scratch / "ingest.ledger.csv"]).entries
    for name in experiment.modalities:
        entries += first_problems(manifest, jobs.features(experiment, name, 0))
    problems = [f"{entry.sample_id}: {entry.problem} ({entry.action})" for entry in entries]
    try:
        make_splits(manifest, scratch, jobs.splits(experiment))
    except DataError as error:
        problems.append(str(error).replace(str(manifest), experiment.dataset.root))
    return f"{about['samples']} samples of {about['subjects']} subjects", problems


def _simulate(chosen: argparse.Namespace) -> None:
    import yaml

    from pkdot.simulation.prepare import PrepareParams, prepare

    options = {}
    for pair in chosen.options:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"'{pair}' is not KEY=VALUE")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"'{pair}': the value is not valid YAML") from error
    out = chosen.out or Path("data/simulated") / chosen.dataset
    try:
        params = PrepareParams(preparation={"name": chosen.dataset, "options": options})
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
    from pkdot.reference import reference

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
