"""Pictures of pages for the documentation.

python docs/screenshot.py results/biovid/report.html docs/report.png       the top of a report
python docs/screenshot.py http://127.0.0.1:8000 docs/serve.png --clip clip.mp4       `pkdot serve` with an answer
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Open a page in Chromium and keep the top of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", help="a file, or the address of a server")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--height", type=int, default=1150, help="pixels of the page to show")
    parser.add_argument("--clip", type=Path, help="what to send to a server; the picture is taken when it has answered")
    chosen = parser.parse_args()
    address = chosen.page if "://" in chosen.page else Path(chosen.page).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": chosen.height})
        page.goto(address)
        if chosen.clip:
            page.set_input_files("#file", chosen.clip)
            page.wait_for_selector("#progress[value='1']", timeout=600_000)
            page.wait_for_timeout(500)  # the video has moved to the last window
        page.screenshot(path=chosen.picture)
        browser.close()


if __name__ == "__main__":
    main()
