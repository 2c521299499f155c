"""Ingestion: a root in its owners' layout -> manifest.parquet, dataset.json and the first part of the ledger."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from pkdot.datasets.base import Dataset, DatasetChoice
from pkdot.errors import DataError
from pkdot.files import write_json
from pkdot.layout import ABOUT, INGEST_LEDGER, MANIFEST, shard_samples
from pkdot.ledger import Ledger
from pkdot.markers import PACKAGED, SIMULATED
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.shards import SPAN, samples_of_shard


class IngestParams(Params):
    """What is read, and from where."""

    dataset: DatasetChoice = Field(description="the data set and its options")
    root: str = Field(description="folder that holds the data set in its owners' layout")
    sources: dict[str, str] = Field(description="modality -> the source that it is taken from")
    shards: int = Field(1, ge=1, description="jobs that the features of a modality are shared out to, by subject")


@dataclass(frozen=True)
class Ingested:
    """What a data set holds.

    Attributes
    ----------
    manifest : DataFrame
        A row a sample, in the order of their ids.
    about : dict
        Title, targets and numbers of samples and subjects, and whether the data are simulated.
    ledger : Ledger
        What was left out, and why.
    """

    manifest: pd.DataFrame
    about: dict[str, Any]
    ledger: Ledger


def read_dataset(params: IngestParams) -> Ingested:
    """Read a data set without writing anything.

    Samples that lack a source stay in the manifest, without a path; the feature stage masks them.

    Raises
    ------
    DataError
        The root is not this data set, or no sample is left.
    """
    cls, options = params.dataset.load()
    root = Path(params.root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Point dataset.root at your copy of {cls.title}.")
    dataset, ledger = cls(root, options), Ledger()
    table = _without_unreadable_names(dataset.read(ledger), ledger)
    if table.empty:
        dropped = [entry for entry in ledger.entries if entry.action == "dropped"] or ledger.entries
        raise DataError(
            f"{root}: no sample can be used; the first reason of {len(dropped)}: "
            f"{dropped[0].problem if dropped else 'no file of this data set was found'}."
        )
    twice = table["sample_id"].duplicated()
    if twice.any():
        raise DataError(f"{root}: the sample_id '{table.loc[twice, 'sample_id'].iloc[0]}' occurs twice; rename one.")
    _keep_similar_subjects_together(table, ledger)
    manifest = _manifest(table.sort_values("sample_id", ignore_index=True), dataset, params.sources)
    about = {
        "title": dataset.title,
        "licence": dataset.licence,
        "units": dict(dataset.units),
        "simulated": (root / SIMULATED).is_file(),
        "targets": dataset.targets(),
        "samples": len(manifest),
        "subjects": int(manifest["subject_id"].nunique()),
    }
    return Ingested(manifest, about, ledger)


def _without_unreadable_names(table: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Leave out samples with a name or a path that is no text in UTF-8: neither manifest nor report could show it."""
    broken = [
        any(isinstance(value, str) and not _is_text(value) for value in row)
        for row in table.itertuples(index=False, name=None)
    ]
    for sample in table.loc[broken, "sample_id"] if any(broken) else ():
        problem = "the name of the sample or of one of its files is not valid UTF-8; rename it"
        ledger.add(sample, "", "ingest", problem)
    return table[[not is_broken for is_broken in broken]]


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _keep_similar_subjects_together(table: pd.DataFrame, ledger: Ledger) -> None:
    """Give subjects with names that differ only in capitals, spaces or spelling of accents one group, and say so.

    Where the owners split the data themselves, their word counts, and similar names are different subjects.
    """
    if "official" in table:
        return
    spellings: dict[str, list[str]] = {}
    for subject in sorted(table["subject_id"].unique()):
        key = "".join(unicodedata.normalize("NFKC", subject).casefold().split())
        spellings.setdefault(key, []).append(subject)
    for names in spellings.values():
        if len(names) > 1:
            problem = f"the subjects {' and '.join(map(repr, names))} may be one person, by their names"
            advice = "they stay on one side of every split; give them one name, or names that differ more"
            ledger.add("", "", "ingest", f"{problem}; {advice}", "kept")
            groups = table.loc[table["subject_id"].isin(names), "group_id"].unique()
            table.loc[table["group_id"].isin(groups), "group_id"] = min(groups)


def _manifest(table: pd.DataFrame, dataset: Dataset, sources: dict[str, str]) -> pd.DataFrame:
    """Return the columns of all samples, and those of the sources that modalities use, by the modality's name."""
    columns = ["sample_id", "subject_id", "group_id", *dataset.targets()]
    columns += [name for name in ("official", "fold") if name in table]
    manifest = table[columns].copy()
    for modality, source in sources.items():
        for part in SPAN:
            if f"{source}_{part}" in table:
                manifest[f"{modality}_{part}"] = table[f"{source}_{part}"]
    return manifest


def ingest(out: Path, params: IngestParams) -> None:
    """Write the manifest, what the data set is, the samples of every shard of every modality, and a ledger.

    The files are ``manifest.parquet`` (a row a sample), ``dataset.json``, ``<modality>.shard_<i>.parquet`` (what the
    extraction of features reads, so that it is not due again when other samples change) and ``ingest.ledger.csv``.

    Raises
    ------
    DataError
        The root is not this data set, or no sample is left.
    """
    ingested = read_dataset(params)
    markers = [path for name in (SIMULATED, PACKAGED) if (path := Path(params.root, name)).is_file()]
    with job(__name__, out, params, inputs=markers, record="ingest") as scratch:
        ingested.manifest.to_parquet(scratch / MANIFEST, index=False)
        for modality in params.sources:
            for shard in range(params.shards):
                samples = samples_of_shard(ingested.manifest, modality, shard, params.shards)
                samples.to_parquet(scratch / shard_samples(modality, shard), index=False)
        ingested.ledger.write(scratch / INGEST_LEDGER)
        write_json(scratch / ABOUT, ingested.about)
