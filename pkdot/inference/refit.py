"""The refit: the method that did best on validation subjects, trained on all subjects, becomes a bundle."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pkdot.data import Samples
from pkdot.descriptions import PluginDescription
from pkdot.distillation.base import MethodChoice
from pkdot.evaluation.summary import validation_scores
from pkdot.features.base import FeatureChoice
from pkdot.files import read_json, write_text
from pkdot.inference.bundle import SCHEMA, BundleDescription, ModalityDescription, code_of, write_bundle
from pkdot.inference.card import Evidence, card
from pkdot.inference.gather import ensemble_of
from pkdot.layout import CARD, METRICS, NETWORK, PREDICTIONS, WEIGHTS, choice_name, trained
from pkdot.params import Params, canonical
from pkdot.provenance import job, versions
from pkdot.splits import Parts, SplitParams
from pkdot.tasks import Task
from pkdot.training.student import StudentParams, train_students

if TYPE_CHECKING:
    import pandas as pd

    from pkdot.assembly import Ensemble


class Stream(Params):
    """Where a prevalent modality comes from."""

    source: str = Field(description="the stream of the data set")
    feature: FeatureChoice = Field(description="what turns raw files into arrays")


class RefitParams(Params):
    """What the student that ships is made of."""

    experiment: str = Field(description="name of the experiment")
    methods: list[MethodChoice] = Field(min_length=1, description="the methods to choose from on validation subjects")
    student: StudentParams = Field(description="how students are trained on all subjects; the method is filled in")
    modalities: dict[str, Stream] = Field(description="the prevalent modalities")
    splits: SplitParams = Field(description="the protocol of the cross-validation")
    seeds: list[int] = Field(description="seeds of the students of the cross-validation")


def refit(
    manifest: Path,
    splits: Path,
    embeddings: list[Path],
    teachers: Path,
    choices: list[Path],
    summary: Path,
    out: Path,
    params: RefitParams,
) -> None:
    """Write the bundle: ``student.json``, ``weights.safetensors`` and ``card.md``.

    The method is the one with the best mean validation score over the folds; its options are those that the folds
    chose most often. Validation subjects of all subjects choose the step; the predictions of the folds for their test
    subjects, which are many more, give the temperature.

    Parameters
    ----------
    manifest, splits : Path
        The samples, and the subjects that train and that choose.
    embeddings : list of Path
        embeddings.npy of every modality, of the encoders of all subjects; their weights lie beside them.
    teachers : Path
        The folder of the teachers of all subjects.
    choices : list of Path
        ``students/fold_<k>/<method>.json`` of every fold and of every method to choose from.
    summary : Path
        summary.json; the predictions of all folds lie beside it.
    out : Path
        The folder of the bundle.
    params : RefitParams
        The methods, and how students are trained.
    """
    method, options = best_method(choices, [choice.name for choice in params.methods])
    encoders = {path.parent.name: path.parent for path in embeddings if path.parent.name in params.modalities}
    chosen = [path for path in choices if path.name == choice_name(method)]
    metrics = [trained(path.parent, seed, method) / METRICS for path in chosen for seed in params.seeds]
    inputs = [manifest, splits, *embeddings, *choices, *metrics, summary, summary.with_name(PREDICTIONS)]
    inputs += [folder / name for folder in encoders.values() for name in (NETWORK, WEIGHTS)]
    choice = MethodChoice(name=method, options=options)
    student = params.student.model_copy(update={"label": method, "method": choice, "candidates": 1})
    with job(__name__, out, params, inputs=inputs) as scratch, tempfile.TemporaryDirectory() as folder:
        samples = Samples.load(manifest)
        train_students(manifest, splits, embeddings, teachers, Path(folder), student)
        evidence = Evidence.read(summary, metrics, samples, params.seeds, method, student.task.kind)
        described, network = assemble(samples, splits, encoders, Path(folder), params, student, evidence.temperature)
        write_bundle(scratch, described, network)
        write_text(scratch / CARD, card(described, samples.about, params.splits, evidence))


def assemble(
    samples: Samples,
    splits: Path,
    encoders: dict[str, Path],
    students: Path,
    params: RefitParams,
    student: StudentParams,
    temperature: float = 1.0,
) -> tuple[BundleDescription, Ensemble]:
    """Return the students of one method and fold as one network, with its description.

    Parameters
    ----------
    samples, splits
        The manifest and the folds.
    encoders : dict of str to Path
        Prevalent modality -> the folder of its encoder.
    students : Path
        The folder of the students of the fold.
    params : RefitParams
        The experiment and its prevalent modalities.
    student : StudentParams
        How the students were trained: method, fold, seeds.
    temperature : float
        What logits are divided by before they become probabilities.
    """
    task = Task(student.task, samples)
    parts = Parts.read(splits, student.fold, samples)
    task.use_labels_of(parts)
    made = read_json(students / choice_name(student.label))
    folders = [trained(students, seed, student.label) for seed in student.seeds]
    network = ensemble_of(encoders, folders, task.answer, temperature)
    described = describe(
        samples,
        parts,
        task,
        network,
        params.modalities,
        experiment=params.experiment,
        method=student.method.name,
        options=made["chosen"],
        seeds=student.seeds[: len(network.students)],
        unlabelled=made["samples"]["unlabelled"],
    )
    return described, network


def describe(
    samples: Samples, parts: Parts, task: Task, network: Ensemble, streams: dict[str, Stream], **own: Any
) -> BundleDescription:
    """Return the description of a network as a bundle; the hash of its weights comes when it is written.

    Parameters
    ----------
    samples, parts, task
        What it was trained on: the manifest, its fold, and what is predicted.
    network : Ensemble
    streams : dict of str to Stream
        Modality -> where its arrays come from.
    **own
        What else the bundle says of itself: experiment, method, options, seeds, unlabelled.
    """
    shared, whole = network.describe()
    shapes = {name: description.shape for name, description in {**shared, **whole.encoders}.items()}
    subjects = samples.table["subject_id"]
    return BundleDescription(
        schema_version=SCHEMA,
        title=samples.about["title"],
        simulated=samples.about["simulated"],
        answer=task.answer,
        units=samples.about.get("units", {}),
        ranges=_ranges(task, parts.train) if task.regression else {},
        modalities={name: stream_of(name, streams[name], samples.table, shapes[name]) for name in whole.modalities},
        encoders=shared,
        network=whole,
        temperature=network.temperature,
        subjects={
            "train": int(subjects.iloc[np.union1d(parts.train, parts.unlabelled)].nunique()),
            "validation": int(subjects.iloc[parts.validation].nunique()),
        },
        weights_sha256="",
        code=code_of(),
        versions=versions(),
        **own,
    )


def best_method(choices: list[Path], methods: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the method with the best mean validation score, and the options that the folds chose most often.

    Of equal methods the first in ``methods`` is taken; of equally usual options those with the best validation scores.
    """
    scores = validation_scores(choices)
    method = max(methods, key=lambda name: scores[name])
    found = [read_json(path) for path in choices if path.name == choice_name(method)]
    usual = Counter(canonical(choice["chosen"]) for choice in found)
    merit: dict[str, list[float]] = {}
    for choice in found:
        for tried in choice["candidates"]:
            merit.setdefault(canonical(tried["options"]), []).append(tried["score"])
    best = max(usual, key=lambda options: (usual[options], float(np.mean(merit[options]))))
    return method, next(choice["chosen"] for choice in found if canonical(choice["chosen"]) == best)


def _ranges(task: Task, rows: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each target among rows."""
    values = task.values[rows].reshape(-1, len(task.names))
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(task.names)}


def stream_of(name: str, stream: Stream, table: pd.DataFrame, shape: list[int]) -> ModalityDescription:
    """Return where the arrays of a modality come from, as the samples of a data set have them."""
    cls, options = stream.feature.load()
    feature = cls(options)
    columns = {part: f"{name}_{part}" for part in ("start", "stop", "rate", "part")}
    seconds, shortest, rate, part = None, None, None, None
    if columns["stop"] in table:
        lengths = (table[columns["stop"]].astype(float) - table[columns["start"]].astype(float).fillna(0)).dropna()
        seconds, shortest = (float(lengths.median()), float(lengths.min())) if len(lengths) else (None, None)
    if columns["rate"] in table:
        rates = table[columns["rate"]].dropna()
        rate = float(rates.median()) if len(rates) else None
    if columns["part"] in table:
        parts = table[columns["part"]].dropna().unique()
        part = str(parts[0]) if len(parts) == 1 else None
    return ModalityDescription(
        source=stream.source,
        feature=PluginDescription(name=stream.feature.name, options=options.plain()),
        shape=shape,
        dtype=feature.dtype,
        seconds=seconds,
        shortest=shortest,
        rate=rate,
        part=part,
    )
