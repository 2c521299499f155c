"""Records tell what made a file; jobs leave whole files or nothing."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import REPO, World

from pkdot import provenance
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams
from pkdot.errors import DataError
from pkdot.features.extract import IndexParams
from pkdot.files import open_array, read_json, replacing, sha256, write_json, write_text
from pkdot.provenance import code_hash, fingerprint, job, record_of, verified
from pkdot.splits import SplitParams, make_splits
from pkdot.training.teacher import train_teachers

PARAMS = IndexParams(modality="eda")

EDITS = [
    ("distillation/kd.py", {"kd"}),  # a plug-in by its name
    ("fusion/gated_cross_attention.py", {"kd", "feature_mse", "teachers"}),
    ("training/student.py", {"kd", "feature_mse"}),
    ("training/fold.py", {"kd", "feature_mse", "teachers"}),  # imported inside a function
    ("tasks.py", {"kd", "feature_mse", "teachers"}),  # imported by an import
    ("encoders/cnn1d.py", set()),
    ("evaluation/summary.py", set()),
    ("distillation/sp.py", set()),
]
HASHES = """
import json, sys
from pathlib import Path
from pkdot import provenance
package = Path(provenance.__file__).parent
assert package.parent == Path.cwd()
sys.path.insert(0, sys.argv[1])
from synthetic import World
world = World(Path("world"))
def hashes():
    for cached in (provenance._source, provenance._source_hash, provenance._imports, provenance._hash_of):
        cached.cache_clear()  # a job is a process of its own
    told = {name: world.student_params(name) for name in ("kd", "feature_mse")}
    students = {name: provenance.code_hash("pkdot.training.student", params) for name, params in told.items()}
    return {**students, "teachers": provenance.code_hash("pkdot.training.teacher", world.teacher_params())}
plain, met = hashes(), {}
for name in sys.argv[2:]:
    path = package / name
    text = path.read_text()
    path.write_text(text + "\\nEDITED = 1\\n")
    met[name] = [job for job, value in hashes().items() if value != plain[job]]
    path.write_text(text)
assert hashes() == plain
print(json.dumps(met))
"""


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """Edits of files in a copy of the package -> the jobs whose hash they change."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPO / "pkdot", root / "pkdot", ignore=shutil.ignore_patterns("__pycache__"))
    line = [sys.executable, "-c", HASHES, str(REPO / "tests"), *(name for name, _ in EDITS)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    return json.loads(subprocess.run(line, env=env, cwd=root, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(("name", "jobs"), EDITS)
def test_the_hash_of_a_job_changes_with_the_code_that_it_runs_and_no_other(met, name, jobs):
    assert set(met[name]) == jobs


def test_the_imports_of_a_module_are_those_that_its_syntax_has():
    for path in Path(provenance.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        modules = {name for name in names if name.split(".")[0] == "pkdot" and provenance._source(name)}
        assert {name for name in provenance._imports(path) if provenance._source(name)} == modules


def test_the_hash_follows_the_plug_ins_that_the_parameters_name():
    def of(name):
        return code_hash("pkdot.datasets.ingest", IngestParams(dataset=DatasetChoice(name=name), root="x", sources={}))

    assert of("arrays") != of("watch")
    assert of("arrays") == of("arrays")


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_record_says_what_made_the_files(tmp_path):
    write(tmp_path, source="in")
    with job("pkdot.splits", tmp_path / "out", PARAMS, inputs=[tmp_path / "source.txt"]) as scratch:
        write(scratch, a="1")
        write(scratch / "deep" / "er", b="2")
    record = read_json(tmp_path / "out" / "run.json")
    assert record["stage"] == "pkdot.splits"
    assert record["params"] == {"modality": "eda"}
    assert record["code"] == code_hash("pkdot.splits", PARAMS)
    assert record["inputs"] == {str(tmp_path / "source.txt"): sha256(tmp_path / "source.txt")}
    assert record["outputs"] == {"a.txt": sha256(tmp_path / "out" / "a.txt")}
    assert record["versions"]["python"] == sys.version.split()[0]
    assert {"numpy", "torch", "pandas"} <= record["versions"].keys()
    assert record["seconds"] >= 0
    assert record["peak_memory_mb"] > 1
    below = read_json(tmp_path / "out" / "deep" / "er" / "run.json")
    assert below["outputs"].keys() == {"b.txt"}
    assert below["folders"] == record["folders"] == 2
    assert below["marker"] == record["marker"] == str(tmp_path / "out" / "a.txt")
    assert verified(tmp_path / "out" / "deep" / "er" / "b.txt")


def test_a_stage_that_raises_leaves_nothing(tmp_path):
    def failing():
        with job("pkdot.splits", tmp_path / "out", PARAMS) as scratch:
            write(scratch, a="half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match=r"stop"):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_raises_leaves_the_files_of_the_run_before(tmp_path):
    with job("pkdot.splits", tmp_path / "out", PARAMS) as scratch:
        write(scratch, a="whole")

    def failing():
        with job("pkdot.splits", tmp_path / "out", PARAMS) as scratch:
            write(scratch, a="half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert (tmp_path / "out" / "a.txt").read_text() == "whole"
    assert verified(tmp_path / "out" / "a.txt")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "run.json"]


def test_what_killed_jobs_left_is_removed_and_what_others_do_is_kept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [tmp_path / f".out.run.partial-{name}" for name in (dead.pid, "odd")]
    kept = [tmp_path / f".out.run.partial-{os.getppid()}", tmp_path / f".out.other.partial-{dead.pid}"]
    for folder in (*left, *kept):
        write(folder, a="half")
    with job("pkdot.splits", tmp_path / "out", PARAMS) as scratch:
        write(scratch, a="1")
    assert not any(folder.exists() for folder in left)
    assert all(folder.exists() for folder in kept)


def test_several_jobs_share_a_folder_with_a_record_each(tmp_path):
    for name in ("kd", "kd_2"):
        with job("pkdot.splits", tmp_path, PARAMS, record=name) as scratch:
            write_text(scratch / f"{name}.json", name)
            write_text(scratch / f"{name}.ledger.csv", name)
            write_text(scratch / "seed_0" / name / "weights.txt", name)
    for name in ("kd", "kd_2"):
        assert record_of(tmp_path / f"{name}.json") == tmp_path / f"{name}.run.json"
        assert record_of(tmp_path / f"{name}.ledger.csv") == tmp_path / f"{name}.run.json"
        assert record_of(tmp_path / "seed_0" / name / "weights.txt") == tmp_path / "seed_0" / name / "run.json"


def test_a_damaged_input_is_told_with_what_to_delete(tmp_path):
    with job("pkdot.splits", tmp_path, PARAMS, record="ingest") as scratch:
        write(scratch, manifest="1", dataset="2")
    (tmp_path / "manifest.txt").write_text("damaged")

    def reading():
        with job("pkdot.splits", tmp_path / "out", PARAMS, inputs=[tmp_path / "manifest.txt"]):
            raise AssertionError("the job ran")

    with pytest.raises(DataError, match=rf"damaged or replaced. Delete {tmp_path}/manifest.txt and run again"):
        reading()
    assert not (tmp_path / "out").exists()


def test_the_marker_of_stand_in_data_is_never_to_be_deleted_alone(tmp_path):
    """Without it they would pass for real data."""
    root = tmp_path / "root"
    with job("pkdot.simulation.prepare", root, PARAMS) as scratch:
        write(scratch, SIMULATED="1")
    (root / "SIMULATED.txt").write_text("edited")
    with pytest.raises(DataError, match=rf"Delete {root} and run again"):
        verified(root / "SIMULATED.txt")


def test_a_job_that_fails_after_its_files_were_cleared_away_leaves_no_record(tmp_path):
    def run(fail):
        with job("pkdot.splits", tmp_path / "out", PARAMS, record="splits") as scratch:
            write(scratch, a="1")
            if fail:
                raise RuntimeError("stop")

    run(fail=False)
    (tmp_path / "out" / "a.txt").unlink()
    with pytest.raises(RuntimeError, match=r"stop"):
        run(fail=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_is_read_once_and_then_known_by_its_size_and_time(tmp_path, monkeypatch):
    """What was changed, touched or copied is read again, and a file that is too young is never trusted."""
    read = []
    monkeypatch.setattr("pkdot.provenance.sha256", lambda path: read.append(path.name) or sha256(path))
    with job("pkdot.splits", tmp_path / "out", PARAMS) as scratch:
        write(scratch, old="1", young="2")
        os.utime(scratch / "old.txt", ns=(10**18, 10**18))
    old, young = tmp_path / "out" / "old.txt", tmp_path / "out" / "young.txt"
    assert [name for name in read if name.endswith(".txt")] == ["old.txt", "young.txt"]
    read.clear()
    assert verified(old) == sha256(old)
    assert read == []
    assert verified(young) == sha256(young)
    assert read == ["young.txt"]
    read.clear()
    os.utime(old, ns=(10**18 + 1, 10**18 + 1))
    assert verified(old) == verified(old) == sha256(old)
    assert read == ["old.txt"]
    old.write_text("3")
    os.utime(old, ns=(10**18 + 2, 10**18 + 2))
    with pytest.raises(DataError, match=r"damaged or replaced"):
        verified(old)
    old.write_text("4")
    os.utime(old, ns=(10**18, 10**18))
    assert provenance.damaged([tmp_path])[1], "a full check trusts neither size nor time"


def test_a_missing_input_is_told(tmp_path):
    with pytest.raises(DataError, match=r"no such file"):
        verified(tmp_path / "nothing.json")


def test_stages_notice_damage_before_they_read(tmp_path):
    """A damaged table is a sentence, not an error of the library that reads it."""
    world = World(tmp_path)
    with job("pkdot.splits", tmp_path, PARAMS, record="ingest") as scratch:
        for name in ("manifest.parquet", "dataset.json"):
            shutil.copy(tmp_path / name, scratch / name)
    about = json.loads((tmp_path / "dataset.json").read_text())
    write_json(tmp_path / "dataset.json", {**about, "title": "another"})
    with pytest.raises(DataError, match=r"dataset.json: its content is not what ingest.run.json says"):
        make_splits(world.manifest, tmp_path / "out", SplitParams())
    write_json(tmp_path / "dataset.json", about)
    world.manifest.write_bytes(world.manifest.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"manifest.parquet: its content is not what"):
        make_splits(world.manifest, tmp_path / "out", SplitParams())
    with pytest.raises(DataError, match=r"manifest.parquet: its content is not what"):
        train_teachers(world.manifest, world.splits, world.embeddings, tmp_path / "t", world.teacher_params())


def test_the_fingerprint_follows_code_parameters_and_inputs(tmp_path):
    write(tmp_path, a="1")
    inputs = [tmp_path / "a.txt"]
    known = {fingerprint("pkdot.splits", PARAMS, inputs)}
    known |= {fingerprint("pkdot.ledger", PARAMS, inputs)}
    known |= {fingerprint("pkdot.splits", IndexParams(modality="ecg"), inputs)}
    write(tmp_path, a="2")
    known |= {fingerprint("pkdot.splits", PARAMS, inputs)}
    assert len(known) == 4


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path):
    path = tmp_path / "deep" / "table.csv"

    def failing():
        with replacing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert list(path.parent.iterdir()) == []
    with pytest.raises(ValueError, match=r"JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert list(path.parent.iterdir()) == []
    path.write_text("{")
    with pytest.raises(DataError, match=r"not valid JSON"):
        read_json(path)


def test_only_arrays_of_real_numbers_are_opened(tmp_path):
    import numpy as np

    good = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "good.npy", good)
    np.testing.assert_array_equal(open_array(tmp_path / "good.npy"), good)
    np.save(tmp_path / "none.npy", good[:0])
    assert open_array(tmp_path / "none.npy").shape == (0, 2)
    np.save(tmp_path / "object.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "complex.npy", good * 1j)
    np.save(tmp_path / "scalar.npy", np.float64(3))
    np.savez(tmp_path / "zip.npy", good)
    os.replace(tmp_path / "zip.npy.npz", tmp_path / "zip.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-8])
    (tmp_path / "head.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:20])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "folder.npy").mkdir()
    whole = (tmp_path / "good.npy").read_bytes()
    (tmp_path / "odd.npy").write_bytes(whole.replace(b"(3, 2), }  ", b"(True,2), }"))
    names = ("odd", "object", "text", "complex", "scalar", "zip", "cut", "head", "empty", "folder", "missing")
    for name in names:
        with pytest.raises(DataError, match=rf"{name}.npy: "):
            open_array(tmp_path / f"{name}.npy")
