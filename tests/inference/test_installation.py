"""A light installation: a wheel of the tree, without the packages of the workflow, loads a student and predicts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from synthetic import REPO

import pkdot
from pkdot.extras import IMPORTED_BY
from pkdot.simulation.video import write_h264

LEFT_OUT = sorted({name for names in IMPORTED_BY.values() for name in names} | {"pytest", "skimage"})

START = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LEFT_OUT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.path.append({sysconfig.get_paths()["purelib"]!r})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment that holds the wheel, and of our packages those of the core alone."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((REPO / name).read_bytes())
    for path in (REPO / "pkdot").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(REPO)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    wheel = [sys.executable, "-m", "pip", "wheel", *quiet, "--no-build-isolation", "-w", folder, source]
    subprocess.run(wheel, check=True, cwd=folder)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", *quiet, *folder.glob("*.whl")]
    subprocess.run(install, check=True, cwd=folder)
    (site,) = (folder / "env").rglob("site-packages")
    (site / "start.py").write_text(START)
    (site / "start.pth").write_text("import start\n")
    return python


def call(installed, *words, cwd, **how):
    environment = {"PATH": str(installed.parent), "HOME": str(cwd)}
    return subprocess.run([installed, *words], cwd=cwd, env=environment, capture_output=True, text=True, **how)


def test_a_bundle_is_loaded_and_predicts_without_the_workflow(installed, bundle, recordings, tmp_path):
    code = """
import json, sys, pkdot
student = pkdot.load_student(sys.argv[1])
table = student.predict(json.loads(sys.argv[2]))
print(pkdot.__file__)
print(table.to_json(orient="records", double_precision=10))
"""
    raw = json.dumps({name: str(path) for name, path in recordings.items()})
    done = call(installed, "-c", code, bundle, raw, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, said = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed.parent.parent)
    expected = pkdot.load_student(bundle).predict(recordings)
    found = np.array([[row["p_slow"], row["p_fast"], row["p_none"]] for row in json.loads(said)])
    np.testing.assert_allclose(found, expected.filter(like="p_").to_numpy(dtype=float), atol=1e-6)


def test_a_table_is_predicted_without_the_workflow(installed, bundle, recordings, tmp_path):
    table = tmp_path / "recordings.csv"
    table.write_text(f"recording_id,motion,pulse\nr1,{recordings['motion'].name},{recordings['pulse'].name}\n")
    done = call(installed, "-m", "pkdot", "predict", bundle, table, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["source", "r1", "r1", "r1"]


def test_faces_are_found_without_the_workflow(installed, tmp_path):
    face = cv2.resize(astronaut()[20:260, 100:340], (160, 160))
    frames = np.stack([np.pad(face, ((8, 8), (8 + step, 40 - step), (0, 0))) for step in range(8)])
    write_h264(tmp_path / "clip.mp4", frames, 8)
    code = """
from pathlib import Path
from pkdot.features.base import FeatureChoice, Source
cls, options = FeatureChoice(name="faces", options={"frames": 4, "window": None, "size": 32}).load()
print(cls(options).extract(Source("a", Path("clip.mp4"), None, None)).array.shape)
"""
    done = call(installed, "-c", code, cwd=tmp_path)
    assert done.stdout == "(4, 32, 32, 3)\n", done.stderr


def test_a_verb_of_the_workflow_says_what_to_install(installed, tmp_path):
    done = call(installed, "-m", "pkdot", "splits", "--help", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.endswith("Run: pip install 'pkdot[workflow]'\n")
    assert len(done.stderr.splitlines()) == 1
    assert call(installed, "-m", "pkdot", "--help", cwd=tmp_path).returncode == 0


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import pkdot; print(sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO).stdout
    assert not re.search("numpy|torch|pandas|pydantic", said)


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    imported = {"pot": "ot", "scikit-learn": "sklearn", "python-multipart": "multipart"}
    for extra, modules in IMPORTED_BY.items():
        names = [re.split("[<>=]", line)[0] for line in extras[extra]]
        brought = {"starlette", "python_multipart"} & set(modules)  # by fastapi, and a new name of python-multipart
        wanted = {imported.get(name, name) for name in names} - {"snakemake-executor-plugin-slurm"}
        assert set(modules) - brought == wanted
