"""Which samples a shard of a modality holds, and what the manifest says of their raw files."""

from __future__ import annotations

import pandas as pd

# the columns of a modality, as <modality>_path and so on
SPAN = ("path", "start", "stop", "rate", "side", "part", "absent")


def samples_of_shard(manifest: pd.DataFrame, modality: str, shard: int = 0, shards: int = 1) -> pd.DataFrame:
    """Return what the manifest says of one modality of the samples of a shard; subjects are dealt to shards in turn.

    Returns
    -------
    DataFrame
        ``sample_id`` and the columns of ``SPAN``.
    """
    subjects = sorted(manifest["subject_id"].unique())[shard::shards]
    chosen = manifest[manifest["subject_id"].isin(subjects)]
    columns = {f"{modality}_{part}": part for part in SPAN}
    return chosen.rename(columns=columns).reindex(columns=["sample_id", *SPAN])
