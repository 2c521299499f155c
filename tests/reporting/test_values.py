"""The report of real numbers of whole samples: a run of all stages on rows of tables, two targets in odd units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tree

from pkdot.config import Experiment
from pkdot.files import read_json

COUNT = 60


def make_rows(root: Path) -> None:
    """One table of samples of twelve subjects; the last rows have no target."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=COUNT)
    table = pd.DataFrame({f"motion{i}": hidden + 2 * rng.normal(size=COUNT) for i in range(3)})
    for i in range(2):
        table[f"pulse{i}"] = hidden + 0.2 * rng.normal(size=COUNT)
    table["who"] = [f"s{row // 5:02d}" for row in range(COUNT)]
    table["height"], table["debt"] = 170 + 10 * hidden, -1e6 + 1e5 * hidden
    table.loc[COUNT - 4 :, ["height", "debt"]] = np.nan
    root.mkdir(parents=True)
    table.to_csv(root / "all.csv", index=False)
    cells = {"recording_id": "all", "subject_id": "all.csv[who]", "height": "all.csv[height]", "debt": "all.csv[debt]"}
    cells |= {"motion": "all.csv[motion0,motion1,motion2]", "pulse": "all.csv[pulse0,pulse1]"}
    pd.DataFrame([cells]).to_csv(root / "recordings.csv", index=False)


def experiment(root: Path) -> Experiment:
    values = tree.arrays_config(str(root))
    rows = {"sample": "row", "labels": "file", "subjects": "file", "target": ["height", "debt"], "classes": None}
    values["dataset"] |= rows
    for name, size in (("motion", 3), ("pulse", 2)):
        values["modalities"][name] |= {"feature": {"name": "vector", "size": size}, "encoder": "mlp"}
    values["students"] |= {"methods": ["student_only", "feature_mse"]}
    return Experiment(**values | {"shards": 1, "task": {"kind": "regression", "loss": "mse"}})


def test_values_of_samples_are_reported_in_their_own_units(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_rows(Path("own"))
    e = experiment(Path("own"))
    results = tree.run("values", e)
    page = tree.report("values", e).read_text(encoding="utf-8")
    table = pd.read_parquet(results / "predictions.parquet")
    truth = pd.read_csv("own/all.csv")
    tested = table[(table["method"] == "student_only") & (table["output"] == "debt")]
    assert len(tested) == COUNT - 4, "each labelled sample once"
    wanted = truth["debt"].iloc[tested["sample_id"].str[-4:].astype(int)]
    np.testing.assert_allclose(tested["target"], wanted, rtol=1e-6)
    assert abs(tested["prediction"].mean() + 1e6) < 1e5, "predictions are in the unit of the table"
    rows = read_json(results / "summary.json")["rows"]
    means = {row["metric"]: row["mean"] for row in rows if row["method"] == "teacher"}
    assert means.keys() == {f"{metric}_{of}" for metric in ("ccc", "mae", "rmse") for of in ("mean", "height", "debt")}
    assert means["mae_debt"] > 100 * means["mae_height"]
    assert "for all test samples; on the line they are equal" in page
    assert "ridge regression" in page
    encoder = read_json(results / "encoders/fold_0/pulse/metrics.json")
    assert encoder["sanity"]["logistic_regression"]["test"] > 0.8, "a ridge regression sees what was put in"
