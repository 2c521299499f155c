"""What the networks see: a contact sheet of pictures, and signals, from the test part of the first fold."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from pkdot.data import Features
from pkdot.reporting.formatting import short
from pkdot.reporting.plotting import BASELINE, STUDENT, THIRD, UPPER_BOUND, WIDTH, canvas, coloured, picture, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

COLUMNS = 8  # samples of a class that are shown
FRAMES = 8  # of one sample


def content(results: Results) -> dict[str, Any]:
    """Return role, shape, coverage and some samples of each modality."""
    shown = _shown(results)
    return {"rows": [_modality(results, name, shown) for name in results.experiment.modalities]}


def _modality(results: Results, name: str, shown: list[tuple[str, np.ndarray]]) -> dict[str, Any]:
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
    if arrays.shape == (1,):
        return entry
    if len(arrays.shape) == 1:
        firsts = [(title, array[None]) for title, array in firsts]
    if len(arrays.shape) <= 2:
        return entry | {"signals": _signals(firsts, f"{name} of one sample of each class")}
    return entry | {"spectrograms": [_spectrogram(title, array) for title, array in firsts]}


def _shown(results: Results) -> list[tuple[str, np.ndarray]]:
    """Return rows of the test part for each class (or for all samples): first one of each subject, then the rest."""
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


def _sheet(results: Results, arrays: Features, rows: list[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """Return a row of middle frames for each class, and one sample through time."""
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
    """Return pictures side by side, grey where there are fewer than ``width``."""
    height, side = tiles[0].shape[:2]
    strip = np.full((height, side * width, 3), 128, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        strip[:, number * side : (number + 1) * side] = tile[..., :3]
    return picture(strip, ".jpg")


def _spectrogram(title: str, array: np.ndarray) -> dict[str, str]:
    plane = array.reshape(-1, array.shape[-1])[::-1]
    low, high = np.percentile(plane, [1, 99])
    return {"title": title, "picture": picture(coloured(plane, float(low), float(high)))}


def _signals(panels: list[tuple[str, np.ndarray]], label: str) -> str:
    """Draw arrays of shape (channels, time) as lines, each under its title."""
    columns = len(panels) if len(panels) <= 5 else 4
    rows = -(-len(panels) // columns)
    with canvas(WIDTH, 0.2 + 1.5 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes, (title, array) in zip(grid, panels, strict=False):
            for channel, colour in zip(array, cycle((STUDENT, UPPER_BOUND, THIRD, BASELINE)), strict=False):
                axes.plot(channel, color=colour, linewidth=0.9)
            axes.set_title(short(title, 16), fontsize=9)
            axes.set_xticks([])
            axes.tick_params(labelsize=7)
        return svg(figure, label)


MODALITIES = Section("modalities", link="Modalities", title="Modalities", content=content)
