"""Make a picture of the top of a report: python docs/screenshot.py results/biovid/report.html docs/report.png."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Open a report in Chromium and keep the top of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--height", type=int, default=1150, help="pixels of the page to show")
    chosen = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": chosen.height})
        page.goto(chosen.report.resolve().as_uri())
        page.screenshot(path=chosen.picture)
        browser.close()


if __name__ == "__main__":
    main()
