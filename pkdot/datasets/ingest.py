"""Ingestion: a root in its owners' layout -> manifest.parquet, dataset.json and the first part of the ledger."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pkdot.datasets.base import DatasetChoice
from pkdot.errors import DataError
from pkdot.files import write_json
from pkdot.layout import ABOUT, INGEST_LEDGER, MANIFEST
from pkdot.ledger import Ledger
from pkdot.markers import PACKAGED, SIMULATED
from pkdot.params import Params
from pkdot.provenance import job


class IngestParams(Params):
    """What is read, and from where."""

    dataset: DatasetChoice = Field(description="the data set and its options")
    root: str = Field(description="folder that holds the data set in its owners' layout")
    sources: dict[str, str] = Field(description="modality -> the source that it is taken from")


def ingest(out: Path, params: IngestParams) -> None:
    """Write ``manifest.parquet`` (a row a sample), ``dataset.json`` (what it is) and ``ingest.ledger.csv``.

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
    dataset = cls(root, options)
    ledger = Ledger()
    table = dataset.read(ledger)
    if table.empty:
        raise DataError(
            f"{root}: no sample can be used; the first reason of {len(ledger.entries)}: "
            f"{ledger.entries[0].problem if ledger.entries else 'no file of this data set was found'}."
        )
    twice = table["sample_id"].duplicated()
    if twice.any():
        raise DataError(f"{root}: the sample_id '{table.loc[twice, 'sample_id'].iloc[0]}' occurs twice; rename one.")
    table = table.sort_values("sample_id", ignore_index=True)
    columns = ["sample_id", "subject_id", "group_id", *dataset.targets()]
    columns += ["official"] if "official" in table else []
    manifest = table[columns].copy()
    for modality, source in params.sources.items():
        for part in ("path", "start", "stop", "rate", "side"):
            if f"{source}_{part}" in table:
                manifest[f"{modality}_{part}"] = table[f"{source}_{part}"]
    markers = [root / name for name in (SIMULATED, PACKAGED) if (root / name).is_file()]
    with job(__name__, out, params, inputs=markers, record="ingest") as scratch:
        manifest.to_parquet(scratch / MANIFEST, index=False)
        ledger.write(scratch / INGEST_LEDGER)
        write_json(
            scratch / ABOUT,
            {
                "title": dataset.title,
                "simulated": (root / SIMULATED).is_file(),
                "targets": dataset.targets(),
                "samples": len(manifest),
                "subjects": int(manifest["subject_id"].nunique()),
            },
        )
