"""The made-up predictions by which the memory of the evaluation is measured are still what its stages read."""

import importlib.util

from synthetic import REPO

from pkdot.files import read_json


def test_the_benchmark_of_memory_runs_both_stages_of_the_evaluation(tmp_path):
    spec = importlib.util.spec_from_file_location("benchmark_of_evaluation", REPO / "benchmarks" / "evaluation.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.SUBJECTS, benchmark.FRAMES = 4, 10
    benchmark.write_world(tmp_path, 2000)
    benchmark.run_fold(tmp_path)
    benchmark.run_summary(tmp_path)
    rows = {row["method"]: row for row in read_json(tmp_path / "out" / "summary.json")["rows"]}
    assert set(benchmark.STUDENTS) < rows.keys()
    assert all(row["n_subjects"] == 4 for row in rows.values())
    assert all(0.5 < row["mean"] < 0.9 for row in rows.values() if row["metric"] == "ccc_mean")
