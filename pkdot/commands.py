"""The verbs that people use by hand: one function each."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pkdot.errors import ConfigError, DataError
from pkdot.files import write_text
from pkdot.inference import verbs as inference
from pkdot.layout import INGEST_LEDGER, MANIFEST, RESULTS, SIMULATED, SPLITS, SUMMARY, Layout
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
    options = parser.parse_args(arguments or ["--help"])
    options.run(options)


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """Return the parser and the names of its verbs."""
    stages = "\n".join(f"  {verb:<10}{stage.help}" for verb, stage in STAGES.items())
    parser = argparse.ArgumentParser(
        prog="pkdot",
        description="Privileged knowledge distillation with optimal transport: from raw files to a report.",
        epilog=f"stages, run by the workflow:\n{stages}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=inference.Named)

    def verb(function: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(function.__name__.strip("_"), help=help, description=f"{help[0].upper()}{help[1:]}.")
        added.set_defaults(run=function)
        return added

    check = verb(_check, "read a configuration and its data, and say what must be mended")
    check.add_argument("config", type=Path, help="such as config/biovid.yaml")
    check.add_argument("--full", action="store_true", help="read also every file of its arrays and results again")
    init = verb(_init, "look at a folder of your own data, and write recordings.csv and a first configuration")
    init.add_argument("name", help="name of the experiment: the configuration is config/<name>.yaml")
    init.add_argument("--from", dest="folder", type=Path, required=True, help="the folder")
    init.add_argument("--rate", type=float, help="rate of the recordings in Hz, where the files do not tell it")
    plan = verb(_plan, "say what an experiment needs before anything runs: clips, disk, memory, trainings, hours")
    plan.add_argument("config", type=Path, help="such as config/biovid.yaml")
    simulate = verb(_simulate, "make stand-in data in the owners' layout")
    simulate.add_argument("dataset", help="such as biovid")
    simulate.add_argument("--out", type=Path, help="folder; data/simulated/<dataset> by default")
    simulate.add_argument("--workers", type=int, default=1, help="number of processes")
    simulate.add_argument("options", nargs="*", metavar="KEY=VALUE", help="such as subjects=4 classes=[BL1,PA4]")
    verb(_methods, "list the methods with their papers, needs and options")
    score = verb(_score, "hold another model's predictions against the baseline of an experiment")
    score.add_argument("predictions", type=Path, help="a CSV or Parquet file, see docs/foreign-models.md")
    score.add_argument("--experiment", required=True, help="one that has results, such as biovid")
    score.add_argument("--name", help="of the model; that of the file by default")
    score.add_argument("--out", type=Path, help="write the numbers to this file too, as JSON")
    predict = verb(inference.predict, "predict recordings with a student: files, folders or a camera in, a table out")
    inference.predict_arguments(predict)
    export = verb(inference.export, "write a student as one file that predicts without torch, and compare the two")
    inference.export_arguments(export)
    serve = verb(inference.serve, "predict what is sent by HTTP, with a page to try it")
    inference.serve_arguments(serve)
    reference = verb(_reference, "print the reference of all options, in Markdown")
    reference.add_argument("--out", type=Path, help="write it to this file, such as docs/configuration.md")
    track = verb(_track, "copy results to MLflow again, after its store was down or lost")
    track.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all that have results by default")
    track.add_argument("--resync", action="store_true", help="write also the runs that are up to date in the store")
    return parser, list(verbs.choices)


class _Version(argparse.Action):
    """Print the version of the package; it is read only when it is wanted, since that takes time."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"pkdot {importlib.metadata.version('pkdot')}")
        parser.exit()


def _check(options: argparse.Namespace) -> None:
    """Read a configuration and its data into a temporary folder, and print what must be mended."""
    from pkdot.experiment import load, require_foreign
    from pkdot.provenance import damaged

    experiment = load(options.config)
    for name in experiment.protocols:
        load(options.config.with_name(f"{name}.yaml"))
    print(f"{options.config}: the configuration is valid.")
    require_foreign(options.config, experiment)
    root = experiment.dataset.root
    if experiment.dataset.is_prepared and not Path(root).exists():
        print(f"{root}: does not exist yet; the workflow makes it.")
        return
    with tempfile.TemporaryDirectory(prefix="pkdot-check-") as scratch:
        counts, problems = _problems(experiment, Path(scratch) / "out")
    print(*problems, f"{root}: {counts}, {len(problems)} problems.", sep="\n")
    print("This looked at the list of samples, the folds, and the first sample of each modality. Other files are")
    print("read when features are made of them; ledger.csv and the report say what was wrong and what it cost.")
    if options.full:
        files = Layout.of(options.config.stem)
        count, damages = damaged([files.processed, files.results])
        print(*damages, f"{files.processed}, {files.results}: {count} files, {len(damages)} problems.", sep="\n")
        problems += damages
    if problems:
        sys.exit(1)


def _problems(experiment: Experiment, scratch: Path) -> tuple[str, list[str]]:
    """Return how many samples and subjects the data have, and one sentence for each problem."""
    from pkdot import jobs
    from pkdot.data import Samples
    from pkdot.datasets.ingest import ingest
    from pkdot.features.extract import first_problems
    from pkdot.ledger import Ledger
    from pkdot.splits import make_splits

    ingest(scratch, jobs.ingest(experiment).model_copy(update={"shards": 1}))
    manifest = scratch / MANIFEST
    about = Samples.load(manifest).about
    entries = Ledger.read([scratch / INGEST_LEDGER]).entries
    for name in experiment.modalities:
        entries += first_problems(manifest, jobs.features(experiment, name, 0))
    problems = [
        f"{entry.sample_id or entry.modality or 'all'}: {entry.problem} ({entry.action})"
        for entry in entries
        if entry.action != "as configured"
    ]
    try:
        make_splits(manifest, scratch, jobs.splits(experiment))
        _check_parts(experiment, manifest, scratch / SPLITS)
        _check_cross_fit(experiment, manifest, scratch / SPLITS)
    except DataError as error:
        problems.append(str(error).replace(str(manifest), experiment.dataset.root))
    return f"{about['samples']} samples of {about['subjects']} subjects", problems


def _check_parts(experiment: Experiment, manifest: Path, splits: Path) -> None:
    """Refuse a part of a fold without a labelled sample of every modality, on which nothing can be compared."""
    from pkdot.data import Samples
    from pkdot.splits import Parts, parts_of

    samples = Samples.load(manifest)
    table = samples.table[[f"{one.source}_path" for one in experiment.modalities.values()]].notna()
    there = table.set_axis(list(experiment.modalities), axis=1)
    for fold in range(experiment.splits.fold_count):
        parts = Parts.read(splits, fold, samples)
        for part in parts_of(fold):
            own = there.iloc[getattr(parts, part)]
            if not own.all(axis=1).any():
                lacking = next((f"the modality {name}" for name in own if not own[name].any()), "every modality")
                raise DataError(
                    f"fold {fold}: no labelled sample of the {part} part has {lacking}; name the test subjects of each "
                    "fold yourself (splits.scheme given), or leave such subjects out"
                )


def _check_cross_fit(experiment: Experiment, manifest: Path, splits: Path) -> None:
    """Refuse embeddings that cannot be cross-fitted in some fold."""
    from pkdot.data import Samples
    from pkdot.splits import ALL, Parts
    from pkdot.training.cross_fit import held_out

    samples = Samples.load(manifest)
    for fold in (*range(experiment.splits.fold_count), ALL):
        if count := experiment.for_fold(fold).embedding.cross_fit:
            next(held_out(Parts.read(splits, fold, samples), samples.table["group_id"].to_numpy(), count, 0))


def _init(options: argparse.Namespace) -> None:
    """Write a list of recordings and a configuration, and print what was guessed and what was not."""
    from pkdot.guessing.begin import begin

    if not re.fullmatch(r"[A-Za-z0-9_-]+", options.name):
        raise ConfigError(f"'{options.name}' is no name for an experiment; use letters, digits, _ and -.")
    if options.rate is not None and not 0 < options.rate < float("inf"):
        raise ConfigError(f"--rate is {options.rate:g}; it takes a number of Hz above zero.")
    print(*begin(options.name, options.folder, Path(f"config/{options.name}.yaml"), options.rate), sep="\n")


def _plan(options: argparse.Namespace) -> None:
    """Print what an experiment needs, with estimates from short probes where its data are there."""
    from pkdot.experiment import load
    from pkdot.plan import make_plan, sentences_of

    experiment = load(options.config)
    print(*sentences_of(make_plan(experiment), experiment.dataset.root), sep="\n")


def _simulate(options: argparse.Namespace) -> None:
    """Make stand-in data in a folder and print its name."""
    from pkdot.simulation.prepare import PrepareParams, prepare

    try:
        values = dict(map(_key_and_value, options.options))
        params = PrepareParams(preparation={"name": options.dataset, "options": values})
    except ValidationError as error:
        raise ConfigError(sentences("simulate", error, PrepareParams)) from error
    out = options.out or SIMULATED / options.dataset
    prepare(out, params, options.workers)
    print(out)


def _key_and_value(pair: str) -> tuple[str, Any]:
    """Return the parts of ``KEY=VALUE``, the value read as YAML."""
    import yaml

    key, separator, value = pair.partition("=")
    if not separator:
        raise ConfigError(f"'{pair}' is not KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{pair}': the value is not valid YAML") from error


def _methods(options: argparse.Namespace) -> None:
    """Print each method with the first line of its module, its needs and its options."""
    from pkdot.distillation.base import NEEDS, register
    from pkdot.reference import paper_of

    for name in register.names():
        method = register.load(name)
        print(f"{name}: {paper_of(method)}")
        if method.needs:
            print(f"    needs {', '.join(NEEDS[need] for need in sorted(method.needs))}")
        for option, field in method.Options.model_fields.items():
            print(f"    {option} = {field.default}: {field.description}")


def _score(options: argparse.Namespace) -> None:
    """Print how another model's predictions compare with the baseline, and write it where that is wanted."""
    from pkdot.evaluation.score import score
    from pkdot.files import write_json
    from pkdot.reporting.scores import lines_of

    scored = score(options.predictions, Layout.of(options.experiment), options.name or options.predictions.stem)
    print(*lines_of(scored), sep="\n")
    if options.out is not None:
        write_json(options.out, scored)


def _reference(options: argparse.Namespace) -> None:
    """Print the reference of all options, or write it to a file."""
    from pkdot.reference import reference

    if options.out is None:
        print(reference(), end="")
    else:
        write_text(options.out, reference())


def _track(options: argparse.Namespace) -> None:
    """Copy the results of some or all experiments to MLflow."""
    from pkdot import jobs
    from pkdot.experiment import load
    from pkdot.tracking import sync

    finished = sorted(path.parent.name for path in RESULTS.glob(f"*/{SUMMARY}"))
    for name in options.experiments or finished:
        runs = sync(Layout.of(name).results, jobs.mirror(load(Path(f"config/{name}.yaml")), name), anew=options.resync)
        print(f"{name}: {runs} runs in MLflow")
