"""The command line: what a user can mend is one sentence and an exit code, never a traceback."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from synthetic import REPO, arrays_config, make_arrays, write_config

from pkdot import jobs
from pkdot.cli import main
from pkdot.experiment import load
from pkdot.params import Params
from pkdot.stages import STAGES, params_class, path_arguments

STUDENTS = ["--manifest", "m", "--splits", "s", "--embeddings", "e", "--teachers", "t", "--out", "o"]
SPLITS = ["splits", "--manifest", "m.parquet", "--out", "o"]


def final_sentence(*arguments):
    """Return the sentence that the command line ends with."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, str), f"exit code {ended.value.code}"
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["student"], "pkdot student: there is no verb 'student'. Did you mean 'students'?"),
        (["chek", "config/watch.yaml"], "pkdot chek: there is no verb 'chek'. Did you mean 'check'?"),
        (["students", *STUDENTS, "--params", "garbage"], '--params is not JSON of the form {"params": {...}}'),
        ([*SPLITS, "--params", "[]"], '--params is not JSON of the form {"params": {...}}'),
        ([*SPLITS, "--params", "{}"], '--params is not JSON of the form {"params": {...}}'),
        ([*SPLITS, "--params", '{"params": 3}'], '--params is not JSON of the form {"params": {...}}'),
        ([*SPLITS, "--params", '{"params": {"fold": 2}}'], "there is no option 'fold'. Did you mean 'folds'?"),
        (
            [*SPLITS, "--params", '{"params": {"folds": 1}}'],
            "folds: Input should be greater than or equal to 2 (it is 1).",
        ),
        (
            [*SPLITS, "--params", '{"params": {"scheme": "given"}}'],
            "--params: splits.test_subjects goes with scheme: given",
        ),
        ([*SPLITS, "--params", '{"params": {}}'], "m.parquet: no such file. Run the stage that writes it first."),
        (["check", "config/nothing.yaml"], "config/nothing.yaml: no such configuration."),
        (["simulate", "biovd"], "there is no preparation 'biovd'. Did you mean 'biovid'?"),
        (["simulate", "arrays"], "there is no preparation 'arrays'. Known: affwild2, biovid, digits, watch."),
        (["simulate", "biovid", "subjects=[1"], "'subjects=[1': the value is not valid YAML"),
        (["simulate", "biovid", "subjects=.inf"], "subjects: Input should be a finite number (it is inf)."),
        (["simulate", "biovid", "face_strength=.nan"], "face_strength: Input should be a finite number (it is nan)."),
        (["simulate", "biovid", "--workers", "0"], "--workers is 0; it takes one or more"),
        (["simulate", "biovid", "subjects"], "'subjects' is not KEY=VALUE"),
        (["simulate", "biovid", "subjcts=3"], "there is no option 'subjcts'. Did you mean 'subjects'?"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    message = final_sentence(*arguments)
    assert sentence in message
    assert message.startswith(f"pkdot {arguments[0]}: ")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"pkdot \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_process_ends_with_a_code_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "pkdot", *SPLITS, "--params", "{}"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == 'pkdot splits: --params is not JSON of the form {"params": {...}}\n'


def test_every_stage_declares_its_arguments():
    for verb, stage in STAGES.items():
        assert "out" in path_arguments(stage), verb
        assert issubclass(params_class(stage), Params)
        assert stage.function().__doc__


def test_a_data_set_is_checked_before_anything_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = make_arrays(tmp_path / "own")
    config = write_config(tmp_path / "config" / "tiny.yaml", arrays_config())
    before = sorted(tmp_path.rglob("*"))
    main(["check", str(config)])
    printed = capsys.readouterr().out
    assert "the configuration is valid" in printed
    assert "own: 48 samples of 6 subjects, 0 problems" in printed
    (root / "signals" / "s0a_pulse.npy").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["check", str(config)])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "s0a: own/signals/s0a_pulse.npy: no such file (dropped)" in printed
    assert "44 samples of 6 subjects, 1 problems" in printed
    assert sorted(tmp_path.rglob("*")) == [path for path in before if path.name != "s0a_pulse.npy"]


def test_a_full_check_reads_every_file_that_was_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_arrays(tmp_path / "own")
    config = write_config(tmp_path / "config" / "tiny.yaml", arrays_config())
    params = jobs.job_params("ingest", jobs.ingest(load(config)))
    main(["ingest", "--out", "data/processed/tiny", "--params", params])
    main(["check", "--full", str(config)])
    assert "data/processed/tiny, results/tiny: 7 files, 0 problems." in capsys.readouterr().out
    manifest = tmp_path / "data/processed/tiny/manifest.parquet"
    content, times = bytearray(manifest.read_bytes()), manifest.stat()
    content[len(content) // 2] ^= 1
    manifest.write_bytes(content)
    os.utime(manifest, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither its size nor its time tells
    (tmp_path / "data/processed/tiny/ingest.ledger.csv").unlink()
    main(["check", str(config)])
    with pytest.raises(SystemExit) as ended:
        main(["check", "--full", str(config)])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "manifest.parquet: its content is not what ingest.run.json says; it was damaged or replaced." in printed
    assert "ingest.ledger.csv: no such file, but ingest.run.json speaks of it." in printed
    assert "7 files, 2 problems." in printed


def test_what_the_configuration_leaves_out_is_no_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = make_arrays(tmp_path / "own") / "recordings.csv"
    table.write_text(table.read_text().replace("s0a,s0,a", "s0a,s0,rest"))
    main(["check", str(write_config(tmp_path / "config" / "tiny.yaml", arrays_config()))])
    assert "own: 44 samples of 6 subjects, 0 problems" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (
            "s1",
            "fold 1: no labelled sample of the test part has the modality pulse; name the test subjects of each fold",
        ),
        ("s[^1]", "part has the modality pulse"),
    ],
)
def test_a_fold_without_a_sample_of_every_modality_is_found_by_the_check(
    tmp_path, monkeypatch, capsys, lacking, sentence
):
    monkeypatch.chdir(tmp_path)
    table = make_arrays(tmp_path / "own") / "recordings.csv"
    table.write_text(re.sub(rf"signals/{lacking}._pulse\.npy", "", table.read_text()))
    values = arrays_config() | {"splits": {"scheme": "leave_one_subject_out"}}
    with pytest.raises(SystemExit):
        main(["check", str(write_config(tmp_path / "config" / "tiny.yaml", values))])
    printed = capsys.readouterr().out
    assert sentence in printed
    assert "1 problems" in printed


CLASSES = {**arrays_config()["dataset"], "classes": ["a", "b", "c"]}
CHANNELS = {"name": "window", "channels": 5, "length": 32}


def everyone(scheme="given"):
    return {"scheme": scheme, "test_subjects": [f"s{number}" for number in range(6)]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"splits": {"folds": 1000}}, "splits.folds is 1000, but there are 6 subjects"),
        ({"splits": {"scheme": "given", "test_subjects": ["s9"]}}, "splits.test_subjects names 's9'"),
        ({"splits": everyone()}, "the training part of a fold has no subject"),
        ({"splits": {"scheme": "official"}}, "this data set has no owners' split"),
        ({"splits": {"scheme": "leave_one_subject_out", "folds": 4}}, "but the manifest has 6 subjects"),
        ({"dataset": CLASSES}, "own: the training part of fold 0 has no sample of class c"),
        ({"feature": CHANNELS}, "s0a-0000: own/signals/s0a_motion.npy: has shape (128, 2), not (time, 5)"),
        (
            {"splits": {"folds": 2, "labelled": 1}, "embedding": {"dim": 8, "cross_fit": 2}},
            "embedding.cross_fit needs two",
        ),
        ({"protocols": ["tinyy"]}, "config/tinyy.yaml: no such configuration. Did you mean config/tiny.yaml?"),
    ],
)
def test_what_no_run_could_do_is_found_by_the_check(tmp_path, monkeypatch, capsys, changes, sentence):
    monkeypatch.chdir(tmp_path)
    make_arrays(tmp_path / "own")
    values = arrays_config()
    if feature := changes.get("feature"):
        values["modalities"]["motion"]["feature"] = feature
        changes = {}
    write_config(tmp_path / "config" / "tiny.yaml", values | changes)
    with pytest.raises(SystemExit) as ended:
        main(["check", "config/tiny.yaml"])
    assert ended.value.code != 0
    assert sentence in f"{capsys.readouterr().out}{ended.value.code}"


def test_a_program_that_reads_the_output_may_stop_early(tmp_path):
    nobody, pipe = os.pipe()
    os.close(nobody)
    command, env = [sys.executable, "-m", "pkdot", "reference"], {**os.environ, "PYTHONPATH": str(REPO)}
    ended = subprocess.run(command, cwd=tmp_path, env=env, stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (ended.stderr, ended.returncode) == ("", 141)


def test_too_little_memory_is_a_sentence(monkeypatch):
    monkeypatch.setattr("pkdot.reference.reference", lambda: np.zeros(2**50))
    assert "there is not enough memory (Unable to allocate" in final_sentence("reference")


ODD = [
    *(None, True, 0, -1, 2**70, 1e308, float("nan"), float("inf"), "", "all", "../..", "/", "x" * 300, "\u202e", "1e3"),
    *([], {}, [[]], [None], [0, 1], ["s0"], {"a": 1}, {"": 1}, {"name": "mlp"}, {"name": None}, {"name": []}),
    *({"options": 3}, {"name": "cnn1d", "options": {"a": 1}}),
]
MARKS = ["\t", ":", "{", "}", "[", "&a ", "*a", "!!x ", "%", "#", "'", '"', "- ", "|", ">", "? ", "<<: "]


def places_of(values, place=()):
    """Yield the place of every value in a configuration."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places_of(value, (*place, key))


def mutated(rng):
    """Return a configuration in which one value is odd, missing or misspelt, or the text is damaged."""
    values = copy.deepcopy(arrays_config())
    *steps, last = rng.choice(list(places_of(values)))
    section = values
    for step in steps:
        section = section[step]
    if rng.random() < 0.7:
        section[last] = copy.deepcopy(rng.choice(ODD))
    elif rng.random() < 0.5:
        del section[last]
    elif isinstance(section, dict):
        section[rng.choice(["x", "name", "options", "extends", "training", "__class__"])] = rng.choice(ODD)
    text = list(yaml.safe_dump(values, allow_unicode=True))
    for _ in range(rng.choice([0, 0, 0, 3])):
        text[rng.randrange(len(text))] = rng.choice(MARKS)
    return "".join(text)


def test_no_configuration_ends_in_a_traceback(tmp_path, monkeypatch, capsys):
    """Two hundred odd ones: each is accepted, or refused with sentences."""
    monkeypatch.chdir(tmp_path)
    make_arrays(tmp_path / "own")
    for seed in range(200):
        text = mutated(random.Random(seed))
        (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
        code = 0
        try:
            main(["check", "odd.yaml"])
        except SystemExit as ended:
            code = ended.code
        except Exception as error:
            pytest.fail(f"{error!r} with\n{text}")
        assert code in (0, 1) or code.startswith("pkdot check: "), text
        assert len(str(code)) < 2000, text
        assert capsys.readouterr().err == ""


def test_a_stage_runs_from_the_command_line(tmp_path):
    root = make_arrays(tmp_path / "own")
    dataset = {"name": "arrays", "streams": ["motion"], "classes": ["a", "b"], "seconds": 1, "step": 1}
    params = {"dataset": dataset, "root": str(root), "sources": {"face": "motion"}}
    main(["ingest", "--out", str(tmp_path / "out"), "--params", json.dumps({"params": params, "code": "x"})])
    main(["splits", "--manifest", str(tmp_path / "out" / "manifest.parquet"), "--out", str(tmp_path / "out"),
          "--params", '{"params": {"folds": 3}}'])  # fmt: skip
    assert len(json.loads((tmp_path / "out" / "splits.json").read_text())["folds"]) == 3
    record = json.loads((tmp_path / "out" / "ingest.run.json").read_text())
    assert record["params"]["dataset"] == dataset


def test_lists_for_people(capsys):
    main(["methods"])
    printed = capsys.readouterr().out
    assert "kd: Knowledge distillation" in printed
    assert "temperature = 4.0: softness of the predictions" in printed
    main(["reference"])
    assert capsys.readouterr().out.startswith("# Configuration\n")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "stages, run by the workflow" in capsys.readouterr().out
