"""The feature stage: all samples of one shard of one modality, then one index a modality."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, FeatureChoice, Source, checked, gaps_of
from pkdot.layout import INDEX, INDEX_LEDGER, LEDGER, shard_ledger, shard_name
from pkdot.ledger import Entry, Ledger
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.shards import samples_of_shard


class FeatureParams(Params):
    """One modality's feature, and the shard of its samples."""

    modality: str = Field(description="name of the modality")
    feature: FeatureChoice = Field(description="what turns its raw files into arrays")
    shard: int = Field(ge=0, description="which shard")


class IndexParams(Params):
    """Nothing to choose: the shards of one modality become one index."""

    modality: str = Field(description="name of the modality")


def extract_features(samples: Path, out: Path, params: FeatureParams) -> None:
    """Write ``shard_<i>.npy``, ``shard_<i>.parquet`` (sample_id, shard, row, valid, coverage, gaps) and a ledger.

    ``samples`` lists the samples of the shard with what the manifest says of their raw files. A sample whose file
    cannot be used keeps a row of zeros that is not valid, and a line in the ledger.
    """
    from tqdm import tqdm

    cls, options = params.feature.load()
    feature = cls(options)
    name = shard_name(params.shard)
    ledger = Ledger()
    rows = []
    with job(__name__, out, params, inputs=[samples], record=name) as scratch:
        table = pd.read_parquet(samples)
        shape = (len(table), *feature.shape)
        arrays = np.lib.format.open_memmap(scratch / f"{name}.npy", mode="w+", dtype=feature.dtype, shape=shape)
        bar = tqdm(
            table.itertuples(index=False),
            total=len(table),
            desc=f"{params.modality} {name}",
            file=sys.stderr,
        )
        for row, sample in enumerate(bar):
            got = _extract(feature, sample, params.modality, ledger)
            if got is not None:
                arrays[row] = got.array
            coverage = 0.0 if got is None else 1.0 if got.mask is None else float(np.mean(got.mask))
            gaps = [] if got is None or got.mask is None else gaps_of(got.mask)
            rows.append((sample.sample_id, name, row, got is not None, coverage, gaps))
        arrays.flush()
        index = pd.DataFrame(rows, columns=["sample_id", "shard", "row", "valid", "coverage", "gaps"])
        index = index.astype({"row": int, "valid": bool, "coverage": float})  # also where the shard is empty
        index.to_parquet(scratch / f"{name}.parquet", index=False)
        ledger.write(shard_ledger(scratch / f"{name}.npy"))


def first_problems(manifest: Path, params: FeatureParams) -> list[Entry]:
    """Extract the first sample that has the modality, whatever the shard, and return what keeps it from being used."""
    cls, options = params.feature.load()
    samples = samples_of_shard(pd.read_parquet(manifest), params.modality)
    samples = samples[samples["path"].notna()]
    ledger = Ledger()
    if samples.empty:
        ledger.add("all samples", params.modality, "features", f"there is no file of the modality {params.modality}")
    elif _extract(cls(options), next(samples.itertuples(index=False)), params.modality, ledger) is not None:
        return []  # a note on what was masked is no problem
    return ledger.entries


def _extract(feature: Feature, sample: Any, modality: str, ledger: Ledger) -> Extracted | None:
    """Extract one row of the table of samples; write into the ledger what is wrong with it."""
    if sample.path is None or pd.isna(sample.path):
        return None  # ingestion has said why
    start, stop, rate = (None if pd.isna(value) else float(value) for value in (sample.start, sample.stop, sample.rate))
    try:
        side, part = (None if pd.isna(value) else value for value in (sample.side, sample.part))
        absent = tuple(sample.absent) if isinstance(sample.absent, np.ndarray) else ()
        source = Source(sample.sample_id, Path(sample.path), start, stop, rate, side, part, absent)
        got = checked(feature, source, feature.extract(source))
    except DataError as problem:
        ledger.add(sample.sample_id, modality, "features", str(problem))
        return None
    if got.note:
        ledger.add(sample.sample_id, modality, "features", got.note, "kept" if got.mask is None else "kept with mask")
    return got


def index_features(shards: list[Path], out: Path, params: IndexParams) -> None:
    """Write ``index.parquet`` and ``index.ledger.csv`` of a modality from those of its shards."""
    ledgers = [shard_ledger(path) for path in shards]
    with job(__name__, out, params, inputs=[*shards, *ledgers], record="index") as scratch:
        index = pd.concat([pd.read_parquet(path) for path in shards], ignore_index=True)
        index.to_parquet(scratch / INDEX, index=False)
        Ledger.read(ledgers).write(scratch / INDEX_LEDGER)


class LedgerParams(Params):
    """Nothing to choose: the parts of the ledger become one."""


def merge_ledgers(ledgers: list[Path], out: Path, params: LedgerParams) -> None:
    """Write ``ledger.csv``: what ingestion and every modality left out or masked."""
    with job(__name__, out, params, inputs=ledgers, record="ledger") as scratch:
        Ledger.read(ledgers).write(scratch / LEDGER)
