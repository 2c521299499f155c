"""What figures share: size, colours, rows of methods, and the way into the page as SVG or as a picture."""

from __future__ import annotations

import base64
import math
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pkdot.layout import UPPER_BOUND as TEACHER
from pkdot.reporting.formatting import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

    from pkdot.reporting.results import Results

WIDTH = 7.6  # inches of a figure
ROWS_WIDTH = 6.2  # inches of a figure with one row a method: a phone shows it whole

# Colours to draw with; in the page they are variables of the style sheet, which knows light and dark.
INK, MUTED, RULE = "#101112", "#707172", "#d0d1d2"
STUDENT, BASELINE, UPPER_BOUND, THIRD = "#1f6f8b", "#8a8d91", "#b85c1e", "#6a4c93"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    STUDENT: "--student",
    BASELINE: "--baseline",
    UPPER_BOUND: "--upper-bound",
    THIRD: "--third",
}

MARGIN = 4  # characters that a line of a label may be longer than the others
SMALLEST, LARGEST = 0.7, 1.3  # pixels a point: where the page is narrower than a figure, it scrolls

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name from the data may hold a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of this size in inches, in the style of the report; matplotlib's global state stays as it is."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def colour_of(method: str, results: Results) -> str:
    """Return the colour of a method; baseline, upper bound and the student of the conclusion have their own."""
    return {results.baseline: BASELINE, TEACHER: UPPER_BOUND, results.chosen: STUDENT}.get(method, MUTED)


def name_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows of a figure with one row a method, the first one on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _arrange(figure: Figure) -> None:
    """Lay a figure out, for good: labels of axes that reach beyond it are broken into lines."""
    layout = cast("LayoutEngine", figure.get_layout_engine())  # a canvas has one
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        layout.execute(figure)
        if _break_long_labels(figure):
            layout.execute(figure)
    figure.set_layout_engine("none")


def _break_long_labels(figure: Figure) -> bool:
    """Break labels that reach beyond the figure into lines; return whether there were any."""
    whole, broken = figure.bbox, False
    for axes in figure.axes:
        x, y = axes.xaxis.label.get_window_extent(), axes.yaxis.label.get_window_extent()
        for label, low, high, length in (
            (axes.xaxis.label, x.x0, x.x1, whole.width),
            (axes.yaxis.label, y.y0, y.y1, whole.height),
        ):
            middle = (low + high) / 2
            lines = math.ceil((high - low) / (2 * min(middle, length - middle)))
            if lines > 1:
                text, broken = label.get_text(), True
                label.set_text(textwrap.fill(text, len(text) // lines + MARGIN))
    return broken


def svg(figure: Figure, label: str) -> str:
    """Return a figure as inline SVG that a screen reader calls ``label``, while its canvas is open."""
    from matplotlib import rc_context

    _arrange(figure)
    buffer = StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # the label salts the names inside, so that those of two figures on one page differ
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": label}):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts of its own
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", text)  # figure_1, axes_1: the page holds many figures
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable})")
    width, height = (round(side * 72, 1) for side in figure.get_size_inches())
    sizes = f"min-width: {round(width * SMALLEST)}px; max-width: {round(width * LARGEST)}px"
    return (
        f'<svg viewBox="0 0 {width} {height}" style="{sizes}" role="img" aria-label="{escape(label)}">'
        + text[text.index(">") + 1 :]
    )


def picture(pixels: np.ndarray, kind: str = ".png") -> str:
    """Return RGB pixels, shape (height, width, 3), uint8, as a ``data:`` address."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if kind == ".jpg" else []
    _, encoded = cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1]), options)
    name = "jpeg" if kind == ".jpg" else "png"
    return f"data:image/{name};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values, shape (height, width), as RGB pixels of the map viridis."""
    from matplotlib import colormaps

    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return (colormaps["viridis"](share)[..., :3] * 255).round().astype(np.uint8)
