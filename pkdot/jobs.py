"""What the workflow tells each job: the parameters of its stage, cut out of the experiment, and a hash of its code."""

from __future__ import annotations

import hashlib

from pkdot.config import Experiment, Variant
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams
from pkdot.errors import ConfigError
from pkdot.evaluation.evaluate import FoldParams, SummaryParams
from pkdot.features.extract import FeatureParams, IndexParams, LedgerParams
from pkdot.hallucination.tnet import TNetParams
from pkdot.layout import BASELINE, teachers_of
from pkdot.params import Params, canonical
from pkdot.provenance import code_hash
from pkdot.reporting.ablation import AblationParams
from pkdot.reporting.report import ReportParams
from pkdot.simulation.prepare import PrepareParams
from pkdot.splits import SplitParams
from pkdot.stages import STAGES
from pkdot.tracking import MirrorParams
from pkdot.training.encoder import EncoderParams
from pkdot.training.student import StudentParams
from pkdot.training.teacher import TeacherParams


def job_params(verb: str, params: Params) -> str:
    """One sorted line of JSON: the parameters of a job and the hash of the code that it runs."""
    return canonical({"params": params.plain(), "code": code_hash(STAGES[verb].module, params)})


def everything(e: Experiment) -> str:
    """A hash of what all jobs of an experiment are told.

    It is among what Snakemake knows of the report: a job that failed leaves neither files nor metadata, and its
    missing files alone make nothing due again while a report of earlier code or options lies there.
    """
    folds, modalities = range(e.splits.fold_count), list(e.modalities)
    told = [job_params("ingest", ingest(e)), job_params("splits", splits(e))]
    told += [job_params("features", features(e, name, 0)) for name in modalities]
    for number in folds:
        told += [job_params("encoder", encoder(e, name, number)) for name in modalities]
        told += [job_params("teachers", teachers(e, number)), job_params("fold", fold(e, number))]
        told += [job_params("students", students(e, number, method)) for method in contestants(e)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def prepare(e: Experiment) -> PrepareParams:
    """Return the parameters of the data that the project makes itself."""
    return PrepareParams(preparation=e.dataset.preparation())


def ingest(e: Experiment) -> IngestParams:
    """Of ingestion."""
    sources = {name: modality.source for name, modality in e.modalities.items()}
    dataset = DatasetChoice(name=e.dataset.name, options=e.dataset.options)
    return IngestParams(dataset=dataset, root=e.dataset.root, sources=sources)


def features(e: Experiment, modality: str, shard: int) -> FeatureParams:
    """Of one shard of one modality."""
    return FeatureParams(modality=modality, feature=e.modalities[modality].feature, shard=shard, shards=e.shards)


def index(e: Experiment, modality: str) -> IndexParams:
    """Of the index of one modality."""
    return IndexParams(modality=modality)


def ledger(e: Experiment) -> LedgerParams:
    """Of the ledger."""
    return LedgerParams()


def splits(e: Experiment) -> SplitParams:
    """Of the splits."""
    return e.splits


def encoder(e: Experiment, modality: str, fold: int) -> EncoderParams:
    """Of one encoder."""
    e = e.for_fold(fold)
    chosen = e.modalities[modality]
    return EncoderParams(
        modality=modality,
        encoder=chosen.encoder,
        training=chosen.training,
        dim=e.embedding.dim,
        tokens=e.embedding.tokens,
        task=e.task,
        fold=fold,
        seed=e.embedding.seed,
        compute=e.compute,
    )


def teachers(e: Experiment, fold: int) -> TeacherParams:
    """Of the teachers of one fold."""
    e = e.for_fold(fold)
    return TeacherParams(
        prevalent=e.of_role("prevalent"),
        privileged=e.of_role("privileged"),
        fusion=e.teacher.fusion,
        dim=e.teacher.dim,
        training=e.teacher.training,
        tnet=TNetParams(hidden=e.tnet.hidden),
        tnet_training=e.tnet.training,
        task=e.task,
        fold=fold,
        seeds=e.seeds,
        compute=e.compute,
    )


def students(e: Experiment, fold: int, method: str) -> StudentParams:
    """Of the students of one method, or of one variant of the ablation, on one fold."""
    e = e.for_fold(fold)
    methods = {choice.name: choice for choice in e.students.methods}
    if method not in methods and method not in e.ablation:
        raise ConfigError(f"neither students.methods nor ablation holds '{method}'; add it")
    variant = e.ablation[method] if method in e.ablation else Variant(method=methods[method])
    training = e.students.training
    if variant.batch_size:
        training = training.model_copy(update={"batch_size": variant.batch_size})
    tnet = TNetParams(hidden=e.tnet.hidden, state=variant.tnet or e.tnet.state, finetune=e.tnet.finetune)
    return StudentParams(
        label=method,
        method=variant.method,
        candidates=e.students.candidates,
        prevalent=e.of_role("prevalent"),
        privileged=e.of_role("privileged"),
        fusion=variant.fusion or e.teacher.fusion,
        dim=e.teacher.dim,
        tnet=tnet,
        training=training,
        task=e.task,
        fold=fold,
        seeds=e.seeds,
        compute=e.compute,
    )


def contestants(e: Experiment, contest: str = "") -> list[str]:
    """The methods of the contest, or the baseline and the variants of the ablation, in the order of the report."""
    if contest:
        return [BASELINE, *e.ablation]
    return [method.name for method in e.students.methods]


def fold(e: Experiment, fold: int, contest: str = "") -> FoldParams:
    """Of the metrics of one fold."""
    e = e.for_fold(fold)
    return FoldParams(
        fold=fold,
        seeds=e.seeds,
        methods=contestants(e, contest),
        modalities=[] if contest else list(e.modalities),
        task=e.task,
    )


def summary(e: Experiment, experiment: str) -> SummaryParams:
    """Of the summary."""
    return SummaryParams(
        experiment=experiment, task=e.task, teachers=teachers_of(e.modalities), evaluation=e.evaluation
    )


def ablation(e: Experiment, experiment: str) -> AblationParams:
    """Of the page of the ablation."""
    return AblationParams(experiment=experiment, variants={name: v.plain() for name, v in e.ablation.items()})


def report(e: Experiment, experiment: str) -> ReportParams:
    """Of the report, which shows the whole configuration."""
    return ReportParams(experiment=experiment, configuration=e.plain())


def mirror(e: Experiment, experiment: str) -> MirrorParams:
    """Of the mirror in MLflow: what the results hold."""
    return MirrorParams(
        experiment=experiment,
        configuration=e.plain(),
        folds=e.splits.fold_count,
        modalities=list(e.modalities),
    )
