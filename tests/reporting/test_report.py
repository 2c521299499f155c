"""The report of experiments that were really run: safe, offline, the same bytes, and only of what belongs together."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tree
from synthetic import TRAINING

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.files import read_json, sha256, write_json
from pkdot.reporting.formatting import number
from pkdot.reporting.results import Results
from pkdot.reporting.sections import SECTIONS, data
from pkdot.reporting.sections.contest import CONTEST
from pkdot.reporting.sections.encoders import lost_to
from pkdot.reporting.sections.steps import kept_warnings
from pkdot.reporting.sections.subjects import counts

REPORTING = Path(tree.__file__).parents[2] / "pkdot" / "reporting"


class Parsed(HTMLParser):
    """Elements with their attributes, and all text outside of styles."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def html(name="tiny") -> str:
    return Path(f"results/{name}/report.html").read_text(encoding="utf-8")


def test_a_section_is_a_module_a_fragment_and_a_line_of_the_list():
    names = [section.name for section in SECTIONS]
    assert len(set(names)) == len(names)
    modules = {path.stem for path in (REPORTING / "sections").glob("*.py")} - {"__init__"}
    fragments = {path.stem for path in (REPORTING / "sections").glob("*.html")}
    assert modules == fragments == set(names)


def test_it_opens_with_the_conclusion_and_has_all_sections(page):
    parsed = Parsed(page)
    assert next(tag for tag, _ in parsed.elements if tag in ("h1", "h2", "svg")) == "h1"
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert ("confusions" in ids) != ("trajectories" in ids)
    either = ("confusions", "trajectories")
    names = [section.name for section in SECTIONS if section.name not in either or section.name in ids]
    assert [name for name in ids if name in names] == names
    assert len(ids) == len(set(ids))
    links = [attributes["href"].removeprefix("#") for attributes in parsed.all("a")]
    assert links == ["conclusion", *names]


def test_names_from_the_data_are_text_and_nothing_else(page):
    parsed = Parsed(page)
    written = "".join(path.read_text(encoding="utf-8") for path in REPORTING.rglob("*.html"))
    allowed = set(re.findall(r"<([a-z0-9]+)", written))
    drawn = {"defs", "style", "g", "path", "use", "clippath", "rect", "text", "svg"}
    assert {tag for tag, _ in parsed.elements} <= allowed | drawn
    assert "script" not in allowed
    assert not [a for _, attributes in parsed.elements for a in attributes if a.startswith("on")]
    assert not [image for image in parsed.all("img") if not image["src"].startswith("data:image/")]
    for name in tree.SUBJECTS:
        assert name in parsed.text


def test_classes_and_the_ledger_are_text_too(ran):
    parsed = Parsed((ran / "results/tiny/report.html").read_text(encoding="utf-8"))
    for name in (*tree.CLASSES, "<i>r</i>", "<svg onload=alert(2)>"):
        assert name in parsed.text


def test_nothing_is_loaded(page):
    parsed = Parsed(page)
    first = next(attributes for attributes in parsed.all("meta") if "http-equiv" in attributes)
    assert first["http-equiv"] == "Content-Security-Policy"
    assert first["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    for tag, attributes in parsed.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert value.startswith(("#", "data:")), (tag, name, value)
            elif not name.startswith("xmlns"):
                assert "//" not in (value or "") or "base64" in value or name == "aria-label", (tag, name, value)
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page
    assert len(page) < 3e6


def test_pictures_have_words(page):
    parsed = Parsed(page)
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in parsed.all("svg"))
    assert all(image.get("alt") for image in parsed.all("img"))


def test_simulated_data_are_called_so_and_other_data_are_not(ran):
    simulated, other = ((ran / f"results/{name}/report.html").read_text() for name in ("tiny", "sequences"))
    assert "<strong>SIMULATED DATA</strong>" in simulated
    assert simulated.index("SIMULATED DATA") < simulated.index("<h1")
    assert "<title>SIMULATED: tiny</title>" in simulated
    assert "SIMULATED" not in other


def test_the_same_results_give_the_same_bytes(copy):
    again = tree.report("tiny", tree.tiny(copy), Path("elsewhere"))
    assert again.read_text(encoding="utf-8") == html()


def test_times_show_in_their_own_section_only(copy):
    before = html()
    record = Path("results/tiny/encoders/fold_0/motion/run.json")
    write_json(record, {**read_json(record), "seconds": 7200.0, "started": "2001-01-01T00:00:00Z"})
    after = tree.report("tiny", tree.tiny(copy), Path("elsewhere")).read_text(encoding="utf-8")

    def outside(text):
        start = text.index('<section id="costs">')
        return text[:start] + text[text.index("</section>", start) :]

    assert "2.0 h" in after
    assert outside(before) == outside(after)


def test_the_numbers_are_those_of_the_summary(ran):
    summary = json.loads((ran / "results/tiny/summary.json").read_text())
    text = Parsed((ran / "results/tiny/report.html").read_text(encoding="utf-8")).text
    for row in summary["rows"]:
        assert f"{row['mean']:.3f}" in text
    chosen = {options for fold in (0, 1) for options in _chosen(ran, fold, "pkdot")}
    assert all(value in text for value in chosen)


@pytest.mark.parametrize(("better", "metric"), [(1, "accuracy"), (-1, "mae")])
def test_methods_above_the_upper_bound_are_named(copy, better, metric):
    path = Path("results/tiny/summary.json")
    summary = read_json(path)
    means = {"teacher": 0.8, "modality_pulse": 0.9, "kd": 0.85}
    of = [row for row in summary["rows"] if row["metric"] == "accuracy"]
    others = [row for row in summary["rows"] if row["metric"] != metric]
    rows = [{**row, "metric": metric, "mean": better * means.get(row["method"], 0.6)} for row in of]
    write_json(path, {**summary, "primary_metric": metric, "rows": [*rows, *others]})
    found = CONTEST.content(Results(Path("data/processed/tiny"), Path("results/tiny"), tree.tiny(copy)))
    assert {row["method"] for row in found["above"]} == {"modality_pulse", "kd"}


def test_subjects_are_counted_by_what_they_gain():
    noise = 0.1 + 0.2 - 0.3
    found = counts(np.array([0.2, -0.1, -0.3, 0.0, noise, -noise, np.nan]))
    assert found == {"better": 1, "worse": 2, "equal": 3}


def test_choices_are_shown_with_the_loss_that_tells_ties_apart(ran):
    text = (ran / "results/tiny/report.html").read_text(encoding="utf-8")
    choice = json.loads((ran / "results/tiny/students/fold_0/student_only.json").read_text())
    assert "weight" in choice["chosen"]
    assert all(f"<small>{candidate['loss']:.3f}</small>" in text for candidate in choice["candidates"])
    assert "None" not in Parsed(text).text.partition("What was chosen")[2].partition("Configuration and versions")[0]


def _chosen(ran, fold, method):
    chosen = json.loads((ran / f"results/tiny/students/fold_{fold}/{method}.json").read_text())["chosen"]
    return [f"{name} {value}" for name, value in chosen.items()]


def test_pictures_are_shown_as_a_contact_sheet(copy):
    path = Path("data/processed/tiny/motion/shard_0.npy")
    frames = np.random.default_rng(0).integers(0, 255, (len(np.load(path)), 4, 16, 16, 3), dtype=np.uint8)
    np.save(path, frames)
    page = tree.report("tiny", tree.tiny(copy), Path("elsewhere")).read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == len(tree.CLASSES) + 1
    assert "4 × 16 × 16 × 3" in page


@pytest.mark.parametrize(
    "name", ["summary.json", "predictions.parquet", "folds/fold_1.json", "students/fold_0/kd.json"]
)
def test_a_changed_file_is_refused(copy, name):
    path = Path("results/tiny") / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match=rf"{name}: its content is not what"):
        tree.report("tiny", tree.tiny(copy))


def test_results_of_two_runs_are_not_mixed(copy):
    path = Path("results/tiny/encoders/fold_0/motion/embeddings.npy")
    np.save(path, np.load(path) + 1)
    record = path.with_name("run.json")
    known = read_json(record)
    write_json(record, {**known, "outputs": {**known["outputs"], path.name: sha256(path)}})
    with pytest.raises(DataError, match=r"was made from another results/tiny/encoders/fold_0/motion/embeddings.npy"):
        tree.report("tiny", tree.tiny(copy))


def test_results_of_another_configuration_are_refused(copy):
    changed = tree.tiny(copy, teacher={"fusion": "concat", "dim": 8, "training": {**TRAINING, "steps": 9}})
    with pytest.raises(DataError, match=r"was made with training.steps = 6, but the configuration says 9"):
        tree.report("tiny", changed)


def test_a_missing_file_and_another_experiment_are_refused(copy):
    Path("results/tiny").rename("results/other")
    Path("data/processed/tiny").rename("data/processed/other")
    with pytest.raises(DataError, match=r"of the experiment tiny"):
        tree.report("other", tree.tiny(copy))
    Path("results/other/summary.json").unlink()
    with pytest.raises(DataError, match=r"summary.json: no such file"):
        tree.report("other", tree.tiny(copy))


def test_the_steps_at_which_students_were_kept_are_counted(ran):
    text = Parsed((ran / "results/tiny/report.html").read_text(encoding="utf-8")).text
    e = tree.tiny(tree.ROOT)
    students = len(e.students.methods) * e.splits.fold_count * len(e.seeds)
    assert f"Of {students} students (methods, folds and seeds)" in text
    choice = read_json(ran / "results/tiny/students/fold_0/kd.json")
    assert all(0 <= step <= choice["budget"] for each in choice["candidates"] for step in each["kept_steps"])


def test_many_students_at_an_end_of_the_budget_are_a_warning():
    assert kept_warnings(25, 25, 100) == []
    assert "26 of 100 students (26 %) were kept at their first evaluation" in kept_warnings(26, 0, 100)[0]
    assert "30 of 100 students (30 %) were kept at the last step" in kept_warnings(0, 30, 100)[0]


def test_t_net_is_shown_as_trained_and_as_deployed(ran):
    text = Parsed((ran / "results/tiny/report.html").read_text(encoding="utf-8")).text.partition("as the students")[2]
    folders = [
        ran / f"results/tiny/students/fold_{fold}/seed_{seed}" for fold in (0, 1) for seed in tree.tiny(tree.ROOT).seeds
    ]
    for stage in ("trained", "deployed"):
        values = [read_json(folder / "pkdot/metrics.json")["tnet"][stage]["explained_variance"] for folder in folders]
        assert number(np.mean(values)) in text.partition("pkdot")[2]
    assert "tnet" not in read_json(folders[0] / "student_only/metrics.json")


def rewritten(path: Path, values: dict) -> None:
    """Write other values in place of a result that nothing but the report reads, as if its job had written them."""
    write_json(path, values)
    known = read_json(path.with_name("run.json"))
    write_json(path.with_name("run.json"), {**known, "outputs": {**known["outputs"], path.name: sha256(path)}})


def encoder_metrics(modality):
    return [read_json(Path(f"results/tiny/encoders/fold_{fold}/{modality}/metrics.json")) for fold in (0, 1)]


def test_encoders_stand_beside_simple_models_with_the_dimensions_they_use(ran, monkeypatch):
    monkeypatch.chdir(ran)
    table = Parsed(html()).text.partition("Beside simple models")[2].partition("±: standard error")[0]
    for modality in ("motion", "pulse"):
        row = table.partition(modality)[2]
        metrics = encoder_metrics(modality)
        values = [
            np.mean([each["test"]["score"] for each in metrics]),
            np.mean([each["probe"]["test"] for each in metrics]),
            *(np.mean([each["sanity"][m]["test"] for each in metrics]) for m in ("logistic_regression", "extra_trees")),
        ]
        for value in values:
            row = row.partition(number(value))[2]
        dimensions = np.mean([each["effective_dimensions"]["validation"] for each in metrics])
        assert number(dimensions, 1) in row


@pytest.mark.parametrize(
    ("scores", "warning", "sentence"),
    [
        ([0.5, 0.5], "stays at chance", "is no better than chance on validation subjects in 2 of 2 folds"),
        ([0.4, 0.5], None, "on plain features of the same samples scores 1.000: more than the standard error"),
        ([1.0, 1.0], None, ""),
    ],
)
def test_encoders_that_learned_nothing_or_lose_to_simple_models_are_a_warning(copy, scores, warning, sentence):
    for fold, score in enumerate(scores):
        values = encoder_metrics("pulse")[fold]
        values |= {"test": {"score": score, "loss": 1.0}, "warning": warning}
        values["sanity"]["extra_trees"]["test"] = 1.0
        rewritten(Path(f"results/tiny/encoders/fold_{fold}/pulse/metrics.json"), values)
    tree.report("tiny", tree.tiny(copy))
    found = re.findall("<li>(The encoder of pulse (?:is no better|scores .* on test subjects).*)</li>", html())
    assert (sentence in " ".join(found)) if sentence else not found


def test_one_fold_has_no_standard_error_and_no_verdict():
    lost, error = lost_to(np.array([0.9]), np.array([0.5]))
    assert lost == pytest.approx(0.4)
    assert not lost > error
    assert lost_to(np.array([0.9, 0.7]), np.array([0.5, 0.5])) == pytest.approx((0.3, 0.1))


def test_test_samples_that_no_method_predicts_are_counted():
    """Of five test samples one has no label, one is not predicted by every method, and one by none."""
    table = pd.DataFrame({"subject_id": ["a"] * 5 + ["b"], "level": ["x", "y", None, "x", "y", "x"]})
    about = {"title": "t", "samples": 6, "subjects": 2, "targets": {"level": ["x", "y"]}}
    results = SimpleNamespace(
        samples=Samples(table, about),
        splits={"unit": "subject", "scheme": "given", "folds": [{"train": [], "validation": ["b"], "test": ["a"]}]},
        scored=[{"fold": 0, "samples": 2, "methods": {}}],
        targets=["level"],
    )
    found = data.content(results)
    assert [(fold["samples"], fold["left_out"]) for fold in found["folds"]] == [(2, 2)]
    assert found["warnings"][0].startswith("2 test samples could not be predicted by every method")
