"""The parameters of each job, cut out of the experiment, and a hash of the code that the job runs.

Each function makes the parameters of one stage; ``pkdot.stages`` names it. Those of the pages stand beside the pages.
"""

from __future__ import annotations

import hashlib

from pkdot.config import Experiment, Variant
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams
from pkdot.errors import ConfigError
from pkdot.evaluation.cell import CellParams
from pkdot.evaluation.completion import CompletionParams
from pkdot.evaluation.fold import FoldParams
from pkdot.evaluation.foreign import ForeignParams
from pkdot.evaluation.missing import GridParams
from pkdot.evaluation.privilege import Question
from pkdot.evaluation.summary import ResamplingParams, SeedParams, SummaryParams
from pkdot.features.extract import FeatureParams, IndexParams, LedgerParams
from pkdot.hallucination.base import TNetParams
from pkdot.inference.refit import RefitParams, Stream
from pkdot.inference.refit_any import RefitAnyParams
from pkdot.layout import ALL, TNET, UPPER_BOUND, arm_of, prevalent_teacher
from pkdot.missing.masks import conditions
from pkdot.params import Params, canonical
from pkdot.provenance import code_hash
from pkdot.reporting.privilege import PrivilegeParams
from pkdot.simulation.prepare import PrepareParams
from pkdot.splits import FoldName, SplitParams
from pkdot.stages import STAGES
from pkdot.tracking import MirrorParams
from pkdot.training.controls import SHUFFLES
from pkdot.training.encoder import EncoderParams
from pkdot.training.student import StudentParams
from pkdot.training.teacher import TeacherParams
from pkdot.training.tnet import TNetsParams


def job_params(verb: str, params: Params) -> str:
    """Return one sorted line of JSON: the parameters of a job and the hash of the code that it runs."""
    return canonical({"params": params.plain(), "code": code_hash(STAGES[verb].module, params)})


def everything(e: Experiment) -> str:
    """Return a hash of the parameters and the code of all jobs of an experiment.

    It is one of the parameters that Snakemake tracks for the report: a job that failed leaves neither files nor
    metadata, so that without the hash a report of earlier code or options would pass for current.
    """
    folds, modalities = range(e.splits.fold_count), list(e.modalities)
    all_params = [job_params("ingest", ingest(e)), job_params("splits", splits(e))]
    all_params += [job_params("features", features(e, name, 0)) for name in modalities]
    arms = dict.fromkeys(arm(e, label) for label in ["", *e.contestants])
    for number in folds:
        all_params += [job_params("encoder", encoder(e, name, number)) for name in modalities]
        all_params += [job_params("teachers", teachers(e, number, each)) for each in arms]
        all_params += [job_params("fold", fold(e, number))]
        all_params += [job_params("students", students(e, number, method)) for method in contestants(e)]
    all_params += [job_params("foreign", foreign(e, name)) for name in e.evaluation.foreign]
    return hashlib.sha256("\n".join(all_params).encode()).hexdigest()


def prepare(e: Experiment) -> PrepareParams:
    """Return the parameters of the data that the project makes itself."""
    return PrepareParams(preparation=e.dataset.preparation())


def ingest(e: Experiment) -> IngestParams:
    """Return the parameters of ingestion."""
    sources = {name: modality.source for name, modality in e.modalities.items()}
    dataset = DatasetChoice(name=e.dataset.name, options=e.dataset.options)
    return IngestParams(dataset=dataset, root=e.dataset.root, sources=sources, shards=e.shards)


def features(e: Experiment, modality: str, shard: int) -> FeatureParams:
    """Return the parameters of one shard of one modality."""
    return FeatureParams(modality=modality, feature=e.modalities[modality].feature, shard=shard)


def index(e: Experiment, modality: str) -> IndexParams:
    """Return the parameters of the index of one modality."""
    return IndexParams(modality=modality)


def ledger(e: Experiment) -> LedgerParams:
    """Return the parameters of the ledger."""
    return LedgerParams()


def splits(e: Experiment) -> SplitParams:
    """Return the parameters of the splits."""
    return e.splits


def encoder(e: Experiment, modality: str, fold: FoldName) -> EncoderParams:
    """Return the parameters of one encoder."""
    e = e.for_fold(fold)
    chosen = e.modalities[modality]
    trained = {e.students.encoder, *(variant.encoder for variant in e.ablation.values())}
    return EncoderParams(
        modality=modality,
        encoder=chosen.encoder,
        training=chosen.training,
        dim=e.embedding.dim,
        tokens=e.embedding.tokens,
        decorrelation=e.embedding.decorrelation,
        mixup=e.embedding.mixup,
        cross_fit=e.embedding.cross_fit,
        task=e.task,
        fold=fold,
        seed=e.embedding.seed,
        maps=chosen.role == "prevalent" and "finetuned" in trained,
        compute=e.compute,
    )


def teachers(e: Experiment, fold: FoldName, arm: str = "") -> TeacherParams:
    """Return the parameters of the teachers of one fold; ``arm`` is the folder of a control that has its own."""
    e = e.for_fold(fold)
    return TeacherParams(
        prevalent=e.of_role("prevalent"),
        privileged=e.of_role("privileged"),
        fusion=e.teacher.fusion,
        dim=e.teacher.dim,
        training=e.teacher.training,
        tnet=TNetParams(kind=e.tnet.kind, hidden=e.tnet.hidden),
        tnet_training=e.tnet.training,
        task=e.task,
        fold=fold,
        seeds=e.seeds,
        control=next((control for control in SHUFFLES if arm_of(control) == arm), None),
        control_seed=e.students.control_seed,
        compute=e.compute,
    )


def students(e: Experiment, fold: FoldName, method: str) -> StudentParams:
    """Return the parameters of the students of one method, or of one variant of the ablation, on one fold."""
    e = e.for_fold(fold)
    variant = _variant(e, method)
    training = e.students.training
    if variant.batch_size:
        training = training.model_copy(update={"batch_size": variant.batch_size})
    control = e.controls[method][1] if method in e.controls else None
    # T-Net has learnt from privileged data, which a control without any must not meet
    state = "random" if control == "prevalent_teacher" else variant.tnet or e.tnet.state
    kind = variant.tnet_kind or e.tnet.kind
    tnet = TNetParams(kind=kind, hidden=e.tnet.hidden, state=state, finetune=e.tnet.finetune)
    return StudentParams(
        label=method,
        method=variant.method,
        candidates=e.students.candidates,
        prevalent=e.of_role("prevalent"),
        privileged=e.of_role("privileged"),
        fusion=variant.fusion or e.teacher.fusion,
        dim=e.teacher.dim,
        tnet=tnet,
        tnet_label=tnet_label(e, method),
        start=variant.start or e.students.start,
        encoder=variant.encoder or e.students.encoder,
        ensemble=e.teacher.ensemble if variant.ensemble is None else variant.ensemble,
        training=training,
        control=control,
        control_seed=e.students.control_seed,
        unlabelled_ratio=e.students.unlabelled_ratio,
        task=e.task,
        fold=fold,
        seeds=e.seeds,
        compute=e.compute,
    )


def tnet_label(e: Experiment, label: str) -> str:
    """Return the name of the T-Net of some students: that of the contest, or one of a kind that a variant wants.

    Variants that want the same kind, with the same options, share it.
    """
    kind = _variant(e, label).tnet_kind
    if kind is None or kind == e.tnet.kind:
        return TNET
    options = hashlib.sha256(canonical(kind.options).encode()).hexdigest()[:8] if kind.options else ""
    return "_".join(filter(None, [TNET, kind.name, options]))


def tnets(e: Experiment, fold: FoldName, tnet: str) -> TNetsParams:
    """Return the parameters of the T-Nets of a kind that variants of the ablation want, on one fold."""
    e = e.for_fold(fold)
    kinds = {tnet_label(e, label): variant.tnet_kind for label, variant in e.ablation.items() if variant.tnet_kind}
    kind = kinds.get(tnet)
    if kind is None or tnet == TNET:
        raise ConfigError(f"no variant of the ablation has the T-Net '{tnet}'; name a variant that does")
    return TNetsParams(
        label=tnet,
        tnet=TNetParams(kind=kind, hidden=e.tnet.hidden),
        training=e.tnet.training,
        prevalent=e.of_role("prevalent"),
        privileged=e.of_role("privileged"),
        fusion=e.teacher.fusion,
        dim=e.teacher.dim,
        task=e.task,
        fold=fold,
        seeds=e.seeds,
        compute=e.compute,
    )


def _variant(e: Experiment, label: str) -> Variant:
    """Return what trains the students of this name: a method of the contest, its control arm or a variant."""
    methods = {choice.name: Variant(method=choice) for choice in e.students.methods}
    arms = {label: methods[name] for label, (name, _) in e.controls.items()}
    known = {**methods, **arms, **e.ablation}
    if label not in known:
        raise ConfigError(f"neither students.methods nor ablation holds '{label}'; add it")
    return known[label]


def arm(e: Experiment, label: str) -> str:
    """Return the folder, below the results, of the teachers of these students: empty but for some controls."""
    control = e.controls[label][1] if label in e.controls else None
    return arm_of(control if control in SHUFFLES else None)


def contestants(e: Experiment, contest: str = "") -> list[str]:
    """Return the methods of the contest, or of the ablation (candidates for the baseline, variants), in order."""
    if contest:
        return [*e.prevalent_only, *e.ablation]
    return e.contestants


def foreign(e: Experiment, method: str) -> ForeignParams:
    """Return the parameters of the predictions of a model from elsewhere."""
    if method not in e.evaluation.foreign:
        raise ConfigError(f"evaluation.foreign does not hold '{method}'; add it")
    return ForeignParams(label=method, task=e.task, seeds=e.seeds)


def fold(e: Experiment, fold: int, contest: str = "") -> FoldParams:
    """Return the parameters of the metrics of one fold."""
    e = e.for_fold(fold)
    return FoldParams(
        fold=fold,
        seeds=e.seeds,
        methods=contestants(e, contest),
        foreign=[] if contest else list(e.evaluation.foreign),
        teachers=[UPPER_BOUND] if contest else e.teachers,
        task=e.task,
    )


def summary(e: Experiment, experiment: str, contest: str = "") -> SummaryParams:
    """Return the parameters of the comparison over all folds."""
    if contest:
        reference = e.evaluation.ablation_reference
        compared, foreign = [], []
        contrasts = [(variant, reference) for variant in e.ablation if variant != reference]
        contrasts += [
            pair for pair in e.matched.items() if pair[0] != reference
        ]  # that one is there the other way round
    else:
        foreign = list(e.evaluation.foreign)
        compared = [*(method for method in e.method_names if method not in e.prevalent_only), *foreign]
        contrasts = [(name, label) for label, (name, _) in e.controls.items()]
        contrasts += e.evaluation.declared(e.method_names)
    return SummaryParams(
        experiment=experiment,
        task=e.task,
        methods=[*contestants(e, contest), *foreign],
        foreign=foreign,
        teachers=[UPPER_BOUND] if contest else e.teachers,
        prevalent_teacher=None if contest else prevalent_teacher(e.of_role("prevalent")),
        controls={} if contest else {label: list(pair) for label, pair in e.controls.items()},
        prevalent_only=e.prevalent_only,
        compared=compared,
        contrasts=contrasts,
        seeds=SeedParams(encoders=e.embedding.seed, splits=e.splits.seed, networks=e.seeds),
        evaluation=ResamplingParams(bootstrap=e.evaluation.bootstrap, seed=e.evaluation.seed),
    )


def cell(e: Experiment, cell: str, fold: int) -> CellParams:
    """Return the parameters of one fold of one cell of the study of labels."""
    own = e.for_fold(fold).for_cell(cell)
    arms = {label: arm(own, label) for label in own.contestants}
    encoders = [encoder(own, name, fold) for name in own.modalities]
    return CellParams(
        splits=own.splits,
        encoders=[params.model_copy(update={"sanity": False}) for params in encoders],
        teachers={each: teachers(own, fold, each) for each in dict.fromkeys(["", *arms.values()])},
        students=[students(own, fold, label) for label in own.contestants],
        arms=arms,
        fold=FoldParams(
            fold=fold,
            seeds=own.seeds,
            methods=own.contestants,
            teachers=[UPPER_BOUND, prevalent_teacher(own.of_role("prevalent"))],
            task=own.task,
        ),
    )


def all_cells(e: Experiment) -> str:
    """Return a hash of the parameters and the code of all cells, as ``everything`` does for the report."""
    folds = range(e.splits.fold_count)
    params = [job_params("cell", cell(e, one.name, number)) for one in e.study.cells for number in folds]
    return hashlib.sha256("\n".join(params).encode()).hexdigest()


def privilege(e: Experiment, experiment: str) -> PrivilegeParams:
    """Return the parameters of the page of the study of labels."""
    study, method = e.study, e.method_in_question
    own = e.for_cell(study.primary.name)
    contest = summary(own, experiment).model_copy(
        update={"teachers": [UPPER_BOUND, prevalent_teacher(own.of_role("prevalent"))]}
    )
    return PrivilegeParams(
        contest=contest,
        question=Question(
            method=method,
            controls=[label for label, (name, _) in own.controls.items() if name == method],
            cells=study.cells,
            primary=study.primary,
            labelled_unit=own.splits.labelled_unit,
        ),
        cross=study.grid == "cross" and len(study.label_noise) > 1,
        steps=study.steps,
        candidates=study.candidates,
    )


def completion(e: Experiment, fold: FoldName) -> CompletionParams:
    """Return the parameters of one fold of the grid of missing modalities; that of all subjects has the main model."""
    e = e.for_fold(fold)
    contenders = e.missing_grid.contenders(e.task.kind == "regression")
    grid, roles = e.missing_grid, {role: e.of_role(role) for role in ("prevalent", "privileged")}
    return CompletionParams(
        **roles,
        contenders=contenders[:1] if fold == ALL else contenders,
        conditions=[(one.pattern, one.target) for one in conditions(grid.patterns, **roles)],
        rates=grid.rates,
        burst=grid.burst or max(2, -(-e.embedding.tokens // 2)),
        mask_seed=grid.seed,
        dim=e.teacher.dim,
        tnet=TNetParams(kind=e.tnet.kind, hidden=e.tnet.hidden),
        training=grid.training or e.teacher.training,
        unlabelled_ratio=e.students.unlabelled_ratio,
        task=e.task,
        fold=fold,
        seeds=e.seeds if fold == ALL else grid.seeds or e.seeds,
        compute=e.compute,
    )


def refit_any(e: Experiment, experiment: str) -> RefitAnyParams:
    """Return the parameters of the bundle of the model for whatever modalities are there."""
    shared = completion(e, ALL)
    _, options = shared.contenders[0].completion.load()
    return RefitAnyParams(
        experiment=experiment,
        options=options.plain(),
        modalities={name: Stream(source=one.source, feature=one.feature) for name, one in e.modalities.items()},
        task=e.task,
        seeds=shared.seeds,
    )


def missing(e: Experiment, experiment: str) -> GridParams:
    """Return the parameters of the page of missing modalities."""
    shared = completion(e, 0)
    return GridParams(
        experiment=experiment,
        task=e.task,
        contenders=[each.label for each in shared.contenders],
        prevalent=shared.prevalent,
        privileged=shared.privileged,
        conditions=shared.conditions,
        rates=shared.rates,
        burst=shared.burst,
        unlike=e.missing_grid.unlike,
        student=e.missing_grid.student_of(e.method_names, e.prevalent_only),
        contest_seeds=e.seeds,
        seeds=shared.seeds,
        evaluation=ResamplingParams(bootstrap=e.evaluation.bootstrap, seed=e.evaluation.seed),
    )


def refit(e: Experiment, experiment: str) -> RefitParams:
    """Return the parameters of the student that ships."""
    methods = [choice for choice in e.students.methods if e.student.method in (None, choice.name)]
    prevalent = {name: e.modalities[name] for name in e.of_role("prevalent")}
    return RefitParams(
        experiment=experiment,
        methods=methods,
        student=students(e, ALL, methods[0].name),
        modalities={name: Stream(source=one.source, feature=one.feature) for name, one in prevalent.items()},
        splits=e.splits,
        seeds=e.seeds,
    )


def mirror(e: Experiment, experiment: str) -> MirrorParams:
    """Return the parameters of the mirror in MLflow: what the results hold."""
    return MirrorParams(
        experiment=experiment,
        configuration=e.plain(),
        folds=e.splits.fold_count,
        modalities=list(e.modalities),
        teachers=e.teachers,
    )
