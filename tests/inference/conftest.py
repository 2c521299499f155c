"""A small bundle on disk, recordings that it predicts, and a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import CHANNELS, described, drawn
from serving import CHROMIUM

from pkdot.inference.bundle import write_bundle
from tests.features.conftest import clip

__all__ = ["bundle", "clip", "recordings"]


@pytest.fixture
def bundle(tmp_path) -> Path:
    """Its folder."""
    said = described()
    write_bundle(tmp_path / "student", said, drawn(said))
    return tmp_path / "student"


@pytest.fixture
def recordings(tmp_path) -> dict[str, Path]:
    """A recording of seven seconds of each modality."""
    rng = np.random.default_rng(0)
    paths = {}
    for name, channels in CHANNELS.items():
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], rng.normal(size=(7 * 16, channels)).astype(np.float32))
    return paths


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()
