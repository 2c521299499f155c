"""Where every file of an experiment lies under data/ and results/, and how its networks are called.

The same functions give concrete paths and the workflow's patterns: a fold may be ``2`` or ``{fold}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SIMULATED, PACKAGED = Path("data/simulated"), Path("data/packaged")  # what the project makes itself
PROCESSED, RESULTS = Path("data/processed"), Path("results")
ROOTS = (PACKAGED, SIMULATED, PROCESSED, RESULTS)  # all that the workflow writes

UPPER_BOUND, TNET = "teacher", "tnet"
ALL: Literal["all"] = "all"  # in the place of a fold's number: all subjects, of whom none is tested
ABLATION = "ablation/"  # the contest of the variants; the main contest is called by the empty string

# Names of files that stages write into folders of their own.
MANIFEST, ABOUT, SPLITS, LEDGER = "manifest.parquet", "dataset.json", "splits.json", "ledger.csv"
INGEST_LEDGER, INGEST_RECORD = "ingest.ledger.csv", "ingest.run.json"
INDEX, INDEX_LEDGER = "index.parquet", "index.ledger.csv"
WEIGHTS, EMBEDDINGS, HISTORY, METRICS = "weights.safetensors", "embeddings.npy", "history.csv", "metrics.json"
MAPS = "maps.npy"  # of an encoder with a frozen part, beside its weights
OUTPUTS, PREDICTIONS, FEATURES = "outputs.safetensors", "predictions.parquet", "features.safetensors"
TEACHERS, NETWORK = "teachers.json", "network.json"
SUMMARY, MEANS, METRICS_TABLE = "summary.json", "means.json", "metrics.csv"
STUDENT, CARD, ONNX = "student.json", "card.md", "student.onnx"  # of a bundle, with WEIGHTS
REPORT, ABLATION_PAGE, TRACKING = "report.html", "ablation.html", "tracking.json"
PRIVILEGE, PRIVILEGE_PAGE = "privilege.json", "privilege.html"
MISSING, MISSING_PAGE = "missing.json", "missing.html"
MASKS, SUMS = "masks.safetensors", "sums.safetensors"


def teacher_of(modality: str) -> str:
    """Return the name of the teacher of a single modality."""
    return f"modality_{modality}"


def prevalent_teacher(prevalent: list[str]) -> str:
    """Return the name of the teacher that sees the prevalent modalities alone."""
    return teacher_of(prevalent[0]) if len(prevalent) == 1 else "prevalent_teacher"


def control_label(method: str, control: str) -> str:
    """Return the name of a method's control arm."""
    return f"{method}_{control}"


def arm_of(control: str | None) -> str:
    """Return the folder, below the results, of the teachers that a control arm has for itself."""
    return f"controls/{control}/" if control else ""


def teachers_of(modalities: Iterable[str], prevalent: list[str]) -> list[str]:
    """Return the names of the teachers: of all modalities, of single ones, and of the prevalent ones together."""
    return list(dict.fromkeys([UPPER_BOUND, *(teacher_of(name) for name in modalities), prevalent_teacher(prevalent)]))


def seed_name(seed: int | str) -> str:
    """Return the name of the folder of a seed."""
    return f"seed_{seed}"


def trained(folder: Path, seed: int | str, name: str) -> Path:
    """Return the folder of one network among the teachers or the students of a fold."""
    return folder / seed_name(seed) / name


def shard_name(shard: int | str) -> str:
    """Return the stem of the files of a shard."""
    return f"shard_{shard}"


def shard_ledger(shard: Path) -> Path:
    """Return the ledger beside the index or the array of a shard."""
    return shard.with_name(f"{shard.stem}.ledger.csv")


def shard_samples(modality: str, shard: int | str) -> str:
    """Return the name of the file, beside the manifest, that lists the samples of a shard of a modality."""
    return f"{modality}.{shard_name(shard)}.parquet"


def fold_name(fold: int | str) -> str:
    """Return the name of the folder, or the stem of the files, of a fold."""
    return f"fold_{fold}"


def choice_name(label: str) -> str:
    """Return the name of the file that says which options a method chose on a fold."""
    return f"{label}.json"


@dataclass(frozen=True)
class Layout:
    """The files of one experiment.

    Attributes
    ----------
    processed, results : Path
        The folders of its processed data and of its results.
    """

    processed: Path
    results: Path

    @classmethod
    def of(cls, experiment: str) -> Layout:
        """Return the layout of an experiment in the working folder."""
        return cls(PROCESSED / experiment, RESULTS / experiment)

    @property
    def manifest(self) -> Path:
        """The table of samples."""
        return self.processed / MANIFEST

    @property
    def about(self) -> Path:
        """What the data set is."""
        return self.processed / ABOUT

    @property
    def splits(self) -> Path:
        """The subjects of every fold."""
        return self.processed / SPLITS

    @property
    def ledger(self) -> Path:
        """What was left out, and why."""
        return self.processed / LEDGER

    @property
    def ingest_ledger(self) -> Path:
        """The part of the ledger that ingestion writes."""
        return self.processed / INGEST_LEDGER

    @property
    def ingest_record(self) -> Path:
        """The record of ingestion."""
        return self.processed / INGEST_RECORD

    def arrays(self, modality: str) -> Path:
        """Return the folder of a modality's arrays."""
        return self.processed / modality

    def shard(self, modality: str, shard: int | str, suffix: str) -> Path:
        """Return a file of a shard: its array (``.npy``), index (``.parquet``) or ledger (``.ledger.csv``)."""
        return self.arrays(modality) / f"{shard_name(shard)}{suffix}"

    def shard_samples(self, modality: str, shard: int | str) -> Path:
        """Return the list of the samples of a shard of a modality."""
        return self.processed / shard_samples(modality, shard)

    def index(self, modality: str) -> Path:
        """Return the index of a modality's shards."""
        return self.arrays(modality) / INDEX

    def index_ledger(self, modality: str) -> Path:
        """Return the ledger of a modality."""
        return self.arrays(modality) / INDEX_LEDGER

    def encoder(self, fold: int | str, modality: str) -> Path:
        """Return the folder of an encoder."""
        return self.results / "encoders" / fold_name(fold) / modality

    def teachers(self, fold: int | str, arm: str = "") -> Path:
        """Return the folder of a fold's teachers; ``arm`` is that of a control that has teachers of its own."""
        return self.results / f"{arm}teachers" / fold_name(fold)

    def teachers_summary(self, fold: int | str, arm: str = "") -> Path:
        """Return the metrics of a fold's teachers, the file that their job writes last."""
        return self.teachers(fold, arm) / TEACHERS

    def tnets(self, fold: int | str, label: str) -> Path:
        """Return the metrics of the T-Nets of another kind than the contest's, the file that their job writes last."""
        return self.teachers(fold) / choice_name(label)

    def students(self, fold: int | str) -> Path:
        """Return the folder of a fold's students."""
        return self.results / "students" / fold_name(fold)

    def choice(self, fold: int | str, label: str) -> Path:
        """Return the file that says which options a method chose on a fold."""
        return self.students(fold) / choice_name(label)

    @property
    def foreign(self) -> Path:
        """The folder of the predictions of models from elsewhere."""
        return self.results / "foreign"

    def foreign_marker(self, name: str) -> Path:
        """Return the file that says that the predictions of a model from elsewhere were checked."""
        return self.foreign / f"{name}.json"

    def fold(self, fold: int | str, contest: str = "") -> Path:
        """Return the metrics of a fold, of the main contest or of another."""
        return self.results / f"{contest}folds" / f"{fold_name(fold)}.json"

    def fold_predictions(self, fold: int | str, contest: str = "") -> Path:
        """Return the predictions of all methods on a fold."""
        return self.results / f"{contest}folds" / f"{fold_name(fold)}.predictions.parquet"

    def predictions(self, contest: str = "") -> Path:
        """Return the predictions of all methods on all folds."""
        return self.results / f"{contest}{PREDICTIONS}"

    def metrics(self, contest: str = "") -> Path:
        """Return the table of all metrics."""
        return self.results / f"{contest}{METRICS_TABLE}"

    def means(self, contest: str = "") -> Path:
        """Return the means of the primary metric."""
        return self.results / f"{contest}{MEANS}"

    def summary(self, contest: str = "") -> Path:
        """Return the comparison of all methods over all folds."""
        return self.results / f"{contest}{SUMMARY}"

    @property
    def report(self) -> Path:
        """The report."""
        return self.results / REPORT

    @property
    def ablation(self) -> Path:
        """The page of the ablation."""
        return self.results / ABLATION_PAGE

    def cell(self, cell: str, fold: int | str) -> Path:
        """Return the metrics of a fold in a cell of the study of labels; its predictions lie beside it."""
        return self.results / "privilege" / cell / f"{fold_name(fold)}.json"

    def cell_predictions(self, cell: str, fold: int | str) -> Path:
        """Return the predictions of all methods on a fold in a cell of the study of labels."""
        return self.results / "privilege" / cell / f"{fold_name(fold)}.{PREDICTIONS}"

    @property
    def privilege(self) -> Path:
        """The numbers of all cells of the study of labels."""
        return self.results / PRIVILEGE

    @property
    def privilege_page(self) -> Path:
        """The page that says when privilege pays."""
        return self.results / PRIVILEGE_PAGE

    def missing_fold(self, fold: int | str) -> Path:
        """Return what the models for missing modalities reach on a fold; masks and sums lie beside it."""
        return self.results / "missing" / fold_name(fold) / f"{fold_name(fold)}.json"

    @property
    def missing(self) -> Path:
        """The numbers of the grid of missing modalities."""
        return self.results / MISSING

    @property
    def missing_page(self) -> Path:
        """The page of the grid of missing modalities."""
        return self.results / MISSING_PAGE

    @property
    def student(self) -> Path:
        """The description of the student that ships; the other files of its bundle lie beside it."""
        return self.results / "student" / STUDENT

    @property
    def any_student(self) -> Path:
        """The description of the model for whatever modalities are there, which ships beside the student."""
        return self.results / "student_any" / STUDENT

    @property
    def tracking(self) -> Path:
        """What was mirrored to MLflow."""
        return self.results / TRACKING
