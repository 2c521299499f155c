"""What the networks see: a contact sheet of pictures, and signals, from the test part of the first fold."""

from __future__ import annotations

import numpy as np

from pkdot.reporting import figures, plotting
from pkdot.reporting.results import Results

COLUMNS = 8
FRAMES = 8


def modalities(results: Results) -> list[dict]:
    """One entry a modality: its role, shape, coverage, and some samples of it."""
    shown = _shown(results)
    return [_modality(results, name, shown) for name in results.experiment.modalities]


def _modality(results: Results, name: str, shown: list[tuple[str, np.ndarray]]) -> dict:
    arrays, index = results.arrays(name), results.index(name)
    chosen = results.experiment.modalities[name]
    entry = {
        "name": name,
        "role": chosen.role,
        "feature": chosen.feature.name,
        "encoder": chosen.encoder.name,
        "shape": " × ".join(map(str, arrays.shape)),
        "valid": int(index["valid"].sum()),
        "masked": int((index["valid"] & (index["coverage"] < 1)).sum()),
        "samples": len(index),
    }
    rows = [(title, candidates[arrays.valid[candidates]]) for title, candidates in shown]
    rows = [(title, candidates) for title, candidates in rows if len(candidates)]
    if not rows:
        return entry
    if len(arrays.shape) == 4:
        return entry | _sheet(results, arrays, rows)
    firsts = [(title, arrays[candidates[:1]][0]) for title, candidates in rows[:COLUMNS]]
    if len(arrays.shape) == 2:
        return entry | {"signals": figures.signals(firsts, f"{name} of one sample of each class")}
    return entry | {"spectrograms": [_spectrogram(title, array) for title, array in firsts]}


def _shown(results: Results) -> list[tuple[str, np.ndarray]]:
    """For each class (or, without classes, for all samples) rows of the test part, one a subject."""
    table = results.samples.table
    test = results.samples.rows(results.splits["folds"][0]["test"], results.splits["unit"])
    name, classes = next(iter(results.samples.about["targets"].items()))
    groups = (
        [(each, test[(table[name].iloc[test] == each).to_numpy()]) for each in classes] if classes else [("", test)]
    )
    shown = []
    for title, rows in groups:
        subjects = table["subject_id"].iloc[rows]
        firsts = rows[~subjects.duplicated().to_numpy()]
        rest = rows[subjects.duplicated().to_numpy()]
        shown.append((title, np.concatenate([firsts, rest])))
    return shown


def _sheet(results: Results, arrays, rows: list[tuple[str, np.ndarray]]) -> dict:
    """A row of middle frames for each class, and one sample through time."""
    middle = arrays.shape[0] // 2
    sheet = []
    for title, candidates in rows[:8]:
        tiles = [arrays[np.array([row])][0][middle] for row in candidates[:COLUMNS]]
        sheet.append({"title": title, "picture": _strip(tiles, COLUMNS), "count": len(tiles)})
    row = rows[-1][1][0]
    clip = arrays[np.array([row])][0]
    frames = np.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().astype(int)
    return {
        "sheet": sheet,
        "clip": {
            "sample": str(results.samples.table["sample_id"].iloc[row]),
            "title": rows[-1][0],
            "picture": _strip([clip[frame] for frame in frames], len(frames)),
        },
    }


def _strip(tiles: list[np.ndarray], width: int) -> str:
    """Pictures side by side, grey where there are fewer than ``width``."""
    height, side = tiles[0].shape[:2]
    strip = np.full((height, side * width, 3), 128, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        strip[:, number * side : (number + 1) * side] = tile[..., :3]
    return plotting.picture(strip, ".jpg")


def _spectrogram(title: str, array: np.ndarray) -> dict:
    plane = array.reshape(-1, array.shape[-1])[::-1]
    low, high = np.percentile(plane, [1, 99])
    return {"title": title, "picture": plotting.picture(plotting.coloured(plane, float(low), float(high)))}
