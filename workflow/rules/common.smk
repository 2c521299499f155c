"""What the rules share: the experiment of a wildcard, its folds, its files."""

import re
from contextlib import contextmanager
from types import SimpleNamespace

from snakemake.io import regex_from_filepattern


@cache
def experiment(name):
    """The experiment that config/<name>.yaml describes."""
    path = Path(f"config/{name}.yaml")
    try:
        if not workflow.is_main_process:
            return load(path, Layout.of(name).manifest)
        described = load(path)
        require_foreign(path, described)
        return described
    except PkdotError as error:
        raise WorkflowError(str(error)) from None


@contextmanager
def configuration(name):
    """Tell an error of what stands inside as one of config/<name>.yaml."""
    try:
        yield
    except PkdotError as error:
        raise WorkflowError(f"config/{name}.yaml: {error}") from None


def number(value):
    """The number that a wildcard stands for; a word, such as `all`, stays one."""
    return int(value) if value.isdigit() else value


def job_params(verb, *names):
    """A function of the wildcards: the parameters of a job as one line of JSON.

    ``names`` are the wildcards that cut them out of the experiment, beside ``experiment`` itself.
    """

    def params(wildcards):
        chosen = {name: number(getattr(wildcards, name)) for name in names}
        described = experiment(wildcards.experiment)
        with configuration(wildcards.experiment):
            return jobs.job_params(
                verb, STAGES[verb].make_params()(described, **chosen)
            )

    return params


def compute_threads(wildcards):
    """CPU threads of a training."""
    return experiment(wildcards.experiment).compute.threads


def by_fold(pattern):
    """A function of the wildcards: one file a fold."""
    return lambda wildcards: expand(
        pattern,
        fold=range(experiment(wildcards.experiment).splits.fold_count),
        **wildcards,
    )


def by_modality(pattern):
    """A function of the wildcards: one file a modality."""
    return lambda wildcards: expand(
        pattern, modality=experiment(wildcards.experiment).modalities, **wildcards
    )


def of_all(pattern):
    """A function of the wildcards: one file a modality, made from all subjects."""
    return lambda wildcards: expand(
        pattern,
        fold=ALL,
        modality=experiment(wildcards.experiment).modalities,
        **wildcards,
    )


def by_shard(pattern):
    """A function of the wildcards: one file a shard."""
    return lambda wildcards: expand(
        pattern, shard=range(experiment(wildcards.experiment).shards), **wildcards
    )


def teachers_of_students(wildcards):
    """Return the last file of the teachers of a student; some control arms have teachers of their own."""
    e = experiment(wildcards.experiment)
    return expand(
        rules.teachers.output.marker, arm=jobs.arm(e, wildcards.method), **wildcards
    )


def tnets_of_students(wildcards):
    """Return the last file of the T-Nets of a variant of the ablation; nothing for students who have the contest's."""
    e, files = experiment(wildcards.experiment), Layout.of(wildcards.experiment)
    with configuration(wildcards.experiment):
        label = jobs.tnet_label(e, wildcards.method)
    return [] if label == TNET else [str(files.tnets(wildcards.fold, label))]


def features_of_students(wildcards):
    """Return the arrays that students read who train their encoders; nothing for all others."""
    e = experiment(wildcards.experiment)
    with configuration(wildcards.experiment):
        encoder = jobs.students(e, number(wildcards.fold), wildcards.method).encoder
    if encoder == "frozen":
        return []
    files = Layout.of(wildcards.experiment)
    shards = range(e.shards)
    return [
        str(path)
        for name in e.of_role("prevalent")
        for path in (
            files.index(name),
            *(files.shard(name, shard, ".npy") for shard in shards),
        )
    ]


def cells_of(pattern):
    """A function of the wildcards: one file a cell and a fold."""

    def files(wildcards):
        e = experiment(wildcards.experiment)
        with configuration(wildcards.experiment):
            names = [cell.name for cell in e.study.cells]
        return expand(pattern, cell=names, fold=range(e.splits.fold_count), **wildcards)

    return files


def whole(*makers):
    """A function of the wildcards: every file that rules make for an experiment and its contest."""

    def files(wildcards):
        e = experiment(wildcards.experiment)
        values = {
            "experiment": wildcards.experiment,
            "contest": "",
            "arm": "",
            "shard": range(e.shards),
            "modality": e.modalities,
            "fold": range(e.splits.fold_count),
            "method": jobs.contestants(e),
        }
        return [file for maker in makers for file in expand(maker.output, **values)]

    return files


def foreign_file(wildcards):
    """Return the file of the predictions of a model from elsewhere; nothing where the configuration has no such."""
    files = experiment(wildcards.experiment).evaluation.foreign
    return files.get(wildcards.method, [])


def maker_of(root):
    """The experiment whose data the project makes itself in this root; all that share it must want the same data."""
    named = [
        path.stem
        for path in sorted(Path("config").glob("*.yaml"))
        if mentions(path, root)
    ]
    makers = [name for name in named if experiment(name).dataset.root == root]
    if not makers:
        raise WorkflowError(f"{root}: no file in config/ has this as its dataset.root.")
    for other in makers[1:]:
        if jobs.prepare(experiment(other)) != jobs.prepare(experiment(makers[0])):
            raise WorkflowError(
                f"config/{other}.yaml and config/{makers[0]}.yaml share {root}, but want it prepared differently. "
                "Make dataset.prepare the same, or give one of them a root of its own."
            )
    return experiment(makers[0])


def marker_of_root(wildcards):
    """Return the marker of data that the project makes itself; nothing for a user's own copy."""
    dataset = experiment(wildcards.experiment).dataset
    if not dataset.is_prepared:
        return []
    kind = datasets.load(dataset.name)
    return [f"{dataset.root}/{preparations.load(kind.preparation).marker}"]


@cache
def marks(name):
    """Return the parameters of ingestion and the folder of the marks of the raw files, brought up to date once a run."""
    with configuration(name):
        params = jobs.ingest(experiment(name))
        job = jobs.job_params("ingest", params)
        if workflow.is_main_process:
            changes.refresh(changes.folder_of(job), params)
    return job, changes.folder_of(job)


def mark_of_manifest(wildcards):
    """Return the file that changes when other samples would be read."""
    _, folder = marks(wildcards.experiment)
    return str(folder / changes.MANIFEST)


def mark_of_shard(wildcards):
    """Return the file that changes when the raw files of a shard change."""
    _, folder = marks(wildcards.experiment)
    return str(changes.mark_of(folder, wildcards.modality, int(wildcards.shard)))


def manifest_of_shard(wildcards):
    """Return the manifest; a new one does not concern a shard whose samples and raw files are what they were."""
    files = Layout.of(wildcards.experiment)
    array = files.shard(wildcards.modality, wildcards.shard, ".npy")
    mark = Path(mark_of_shard(wildcards))
    job, _ = marks(wildcards.experiment)
    same = changes.is_current(array, mark, files.ingest_record, job)
    return ancient(str(files.manifest)) if same else str(files.manifest)


SHOWN = 8  # lines on files that are due
DUE = {}  # jobs that are due by the records of their files, each by one of them -> why


def force(*roots):
    """Return a function of the wildcards, an input without files: jobs below these folders that are due run again.

    Snakemake can be asked to force files, but then makes them all. So these are named to it while it looks for the
    jobs that a target needs: it forces those that are among them, and all that is made of their files.
    """

    @cache
    def show(below):
        files = [file for file in DUE if Path(file).is_relative_to(below)]
        for file in files[:SHOWN]:
            print(
                f"{file}: {DUE[file]}. A target that needs it has it made again.",
                file=sys.stderr,
            )
        if len(files) > SHOWN:
            print(
                f"{below}: so it is with {len(files) - SHOWN} more files.",
                file=sys.stderr,
            )

    def nothing(wildcards):
        workflow.dag.forcefiles.update(DUE)
        for root in roots:
            show(str(root).format(**wildcards))
        return []

    return nothing


GONE = (
    WorkflowError,
    KeyError,
)  # an experiment, a modality or a method that is no more


def parameters_of(file):
    """Return the parameters of the job that makes a file, as they are now; None where no rule makes it."""
    for maker in workflow.rules:
        for pattern in maker.output if "cfg" in maker.params.keys() else ():
            match = re.fullmatch(regex_from_filepattern(str(pattern)), file)
            if match:
                try:
                    return maker.params.cfg(SimpleNamespace(**match.groupdict()))
                except GONE:
                    return None
