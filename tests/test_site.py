"""The site of the documentation: every page is in it and reachable, and nothing of it comes from the network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from synthetic import REPO

from pkdot.distillation.transport import transport_loss

DOCS = REPO / "docs"
SOURCES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def listed(page):
    """The pages that the tables of contents of a page name."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    names = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    return [page.parent / f"{name}.md" for name in names]


def test_every_page_is_in_the_table_of_contents():
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        assert page not in reached, f"{page} is listed twice"
        reached.add(page)
        waiting += listed(page)
    assert sorted(reached) == SOURCES


class Loaded(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.links = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "object"):
            self.loads += [given.get("src") or given.get("data") or ""]
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.loads.append(given.get("href", ""))
        if tag == "a":
            self.links.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it: a warning is an error."""
    pytest.importorskip("sphinx")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "cache")]
    built = subprocess.run([*command, str(DOCS), str(out / "html")], cwd=REPO, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    return out / "html"


def test_it_is_built_without_a_warning_and_loads_nothing_from_the_network(site):
    pages = sorted(site.rglob("*.html"))
    assert {page.relative_to(site).with_suffix(".md") for page in pages} > {p.relative_to(DOCS) for p in SOURCES}
    for page in pages:
        found = Loaded(page.read_text(encoding="utf-8"))
        assert [address for address in found.loads if "//" in address] == [], page
        lost = [link for link in found.links if "://" not in link and not _leads_somewhere(page, link)]
        assert lost == [], page
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?https?:|@import ['\"]?https?:", styles)


def _leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_file():
        return False
    return not anchor or target.suffix != ".html" or f'id="{anchor}"' in target.read_text(encoding="utf-8")


def test_the_reference_is_of_what_is_public(site):
    losses = (site / "reference" / "losses.html").read_text(encoding="utf-8")
    first = transport_loss.__doc__.split(";")[0].split("\n")[0]
    assert first in losses
    pages = " ".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    assert not re.search(r'id="pkdot[\w.]*\._\w+"', pages)
    assert 'src="_images/method.svg"' in (site / "concepts.html").read_text(encoding="utf-8").replace("../", "")
