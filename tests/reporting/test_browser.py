"""The report in a real browser, narrow and wide, light and dark."""

from __future__ import annotations

import shutil

import pytest

from pkdot.reporting.sections import SECTIONS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")], ids=str)
def view(request, browser):
    """A page; its ``complaints`` hold all that a clean report never causes."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.complaints = []
    page.scheme = scheme
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (page.complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda sent: _complain(page, sent.url))
    yield page
    context.close()


def _complain(page, address):
    if not address.startswith(("data:", "file:")):
        page.complaints.append(address)


@pytest.mark.parametrize("name", ["tiny", "sequences"])
def test_it_reads_well_and_stays_silent(view, ran, name):
    view.goto((ran / f"results/{name}/report.html").as_uri())
    for summary in view.locator("summary").all():
        summary.click()
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert view.locator("h1").is_visible()
    assert view.locator("section h2").count() == len(SECTIONS) - 1
    assert all(heading.is_visible() for heading in view.locator("section h2").all())
    assert view.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert view.evaluate(
        "[...document.querySelectorAll('main svg')].every(svg => svg.getBoundingClientRect().height > 40)"
    )
    assert view.complaints == []


def test_figures_follow_the_colours_of_the_page(view, ran):
    view.goto((ran / "results/tiny/report.html").as_uri())
    ink = view.evaluate("getComputedStyle(document.body).color")
    assert view.evaluate("getComputedStyle(document.querySelector('main svg text')).fill") in (ink, _muted(view))
    channels = [int(value) for value in ink[4:-1].split(",")]
    assert (sum(channels) > 384) == (view.scheme == "dark")


@pytest.mark.parametrize("name", ["tiny", "sequences"])
def test_a_phone_shows_the_contest_whole_and_text_that_can_be_read(browser, ran, name):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto((ran / f"results/{name}/report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for section in ("#contest", "#subjects", "#choices"):
        wide = f"document.querySelector('{section} figure .wide')"
        assert page.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth"), section
    scales = page.evaluate(
        "[...document.querySelectorAll('main svg')].map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
    )
    assert min(scales) > 0.69
    page.close()


@pytest.mark.parametrize("name", ["tiny", "sequences"])
def test_no_text_of_a_figure_is_cut_off(browser, ran, name):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((ran / f"results/{name}/report.html").as_uri())
    page.add_style_tag(content="figure svg text { font-family: 'DejaVu Sans' !important }")  # the widest that is likely
    cut = page.evaluate(
        """[...document.querySelectorAll('main svg')].flatMap(svg => {
            const whole = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < whole.left - 1 || box.right > whole.right + 1
                    || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
            }).map(text => text.textContent);
        })"""
    )
    assert cut == []
    page.close()


def _muted(view):
    return view.evaluate("getComputedStyle(document.querySelector('figcaption')).color")


def test_the_banner_stays_in_sight(view, ran):
    view.goto((ran / "results/tiny/report.html").as_uri())
    for place in (0, 3000):
        view.evaluate(f"scrollTo(0, {place})")
        box = view.locator(".simulated").bounding_box()
        assert box["y"] == 0
        assert box["height"] > 30
    view.goto((ran / "results/sequences/report.html").as_uri())
    assert view.locator(".simulated").count() == 0


def test_the_page_refuses_scripts(view, ran, tmp_path):
    page = (ran / "results/tiny/report.html").read_text(encoding="utf-8")
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(page.replace("</main>", "<script>document.title = 'run'</script></main>"), encoding="utf-8")
    view.goto(spoiled.as_uri())
    assert view.title() == "SIMULATED: tiny"
    assert "Content Security Policy" in view.complaints[0]
