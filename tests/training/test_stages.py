"""The trainings on frozen embeddings: what they write, that seeds decide, and that no test subject has a say."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from synthetic import World

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.provenance import verified
from pkdot.training.student import _Run, train_students
from pkdot.training.teacher import train_teachers

KINDS = {
    "two classes": {"classes": 2},
    "three ordered classes over tokens": {"kind": "ordinal", "classes": 3, "tokens": 2},
    "regression": {"kind": "regression", "tokens": 2},
}


def method_of(world):
    return "feature_mse" if world.kind == "regression" else "kd"


def run(world, method="", **changes):
    """Train teachers and students of a world into a folder of its own; return it."""
    out = world.folder / f"run_{len(list(world.folder.glob('run_*')))}"
    train_teachers(world.manifest, world.splits, world.embeddings, out / "teachers", world.teacher_params())
    method = method or method_of(world)
    params = world.student_params(method, **changes)
    train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / "students", params)
    return out


def content(out):
    """All files but the records, which tell the time."""
    files = [path for path in out.rglob("*") if path.is_file() and not path.name.endswith("run.json")]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), **KINDS[request.param])
    return world, run(world)


def test_all_that_is_promised_is_there(trained):
    world, out = trained
    method = method_of(world)
    rows = world.tokens if world.kind == "regression" else 1
    outputs = 8 if world.kind == "regression" else len(world.targets["level"])
    for seed in (0, 1):
        for name in ("teacher", "modality_face", "modality_eda"):
            folder = out / "teachers" / f"seed_{seed}" / name
            assert {name: value.shape for name, value in load_file(folder / "outputs.safetensors").items()} == {
                "features": (36, rows, 8),
                "logits": (36, rows, outputs),
            }
            assert len(pd.read_csv(folder / "history.csv")) == 3
            assert json.loads((folder / "metrics.json").read_text()).keys() == {"train", "validation"}
            assert load_file(folder / "weights.safetensors")
            assert verified(folder / "predictions.parquet")
        tnet = out / "teachers" / f"seed_{seed}" / "tnet"
        assert load_file(tnet / "outputs.safetensors")["privileged"].shape == (36, world.tokens, world.DIM)
        assert json.loads((tnet / "metrics.json").read_text()).keys() == {"train", "validation", "test"}
        student = out / "students" / f"seed_{seed}" / method
        for name in ("weights.safetensors", "predictions.parquet", "metrics.json", "history.csv"):
            assert verified(student / name)
            assert (student / "run.json").is_file()
    assert verified(out / "teachers" / "teachers.json")
    choice = json.loads((out / "students" / f"{method}.json").read_text())
    assert len(choice["candidates"]) == 2
    assert choice["chosen"] in [candidate["options"] for candidate in choice["candidates"]]
    best = max(choice["candidates"], key=lambda candidate: (candidate["score"], -candidate["loss"]))
    assert choice["chosen"] == best["options"]


def test_predictions_are_of_the_test_subjects_alone(trained):
    world, out = trained
    for path in out.rglob("predictions.parquet"):
        table = pd.read_parquet(path)
        assert set(table["subject_id"]) == set(world.fold["test"])
        assert set(table["sample_id"]) == set(world.table["sample_id"].iloc[world.rows("test")])
        if world.kind == "regression":
            assert len(table) == 12 * world.tokens * (3 + 4)  # one frame of four has no valence
            merged = table.merge(world.table[["sample_id", "arousal"]], on="sample_id")
            merged = merged[merged["output"] == "arousal"]
            truth = [
                np.concatenate(list(cell))[frame]
                for cell, frame in zip(merged["arousal"], merged["frame"], strict=True)
            ]
            np.testing.assert_allclose(merged["target"], truth)
        else:
            truth = world.table.set_index("sample_id").loc[table["sample_id"], "level"]
            assert (table["target"].to_numpy() == truth.to_numpy()).all()
            scores = table.filter(like="score_").to_numpy()
            np.testing.assert_allclose(scores.sum(axis=1), 1)
            assert (table["prediction"] == np.array(world.targets["level"])[scores.argmax(axis=1)]).all()


def test_equal_seeds_give_equal_bytes(trained):
    world, out = trained
    assert content(run(world)) == content(out)


def test_seeds_give_different_students(trained):
    _, out = trained
    students = [path.read_bytes() for path in sorted((out / "students").rglob("weights.safetensors"))]
    assert len(students) == len(set(students)) == 2


def garbled(folder, **kind):
    """The same world with other targets and embeddings of the test subjects."""
    world = World(folder, **kind)
    rows = world.rows("test")
    rng = np.random.default_rng(5)
    for values in world.values.values():
        values[rows] = 100 * rng.normal(size=values[rows].shape)
    for name, classes in world.targets.items():
        shuffled = list(world.table[name])
        for row in rows:
            if classes is None:
                shuffled[row] = [list(-np.array(token)) for token in shuffled[row]]
            else:
                shuffled[row] = classes[rng.integers(len(classes))]
        world.table[name] = shuffled
    world.write()
    return world


def chosen_by(metrics):
    """What metrics.json says without the quality of T-Net, which is measured on the test part."""
    return {key: value for key, value in json.loads(metrics).items() if key != "tnet"}


def test_no_test_subject_has_a_say_in_training(trained, tmp_path, request):
    _, out = trained
    kind = next(kind for name, kind in KINDS.items() if name in request.node.name)
    before, after = content(out), content(run(garbled(tmp_path, **kind)))
    assert before.keys() == after.keys()
    different = {name.rsplit("/", 1)[-1] for name in before if before[name] != after[name]}
    assert "predictions.parquet" in different, "the test part was not garbled at all"
    same = ("weights.safetensors", "history.csv", "kd.json", "feature_mse.json", "teachers.json")
    assert not different & set(same[:-1])
    fitted = {name for name in before if name.endswith(("teacher/metrics.json", "kd/metrics.json", "eda/metrics.json"))}
    assert fitted
    assert all(chosen_by(before[name]) == chosen_by(after[name]) for name in fitted)


def lacking(folder, **samples):
    """A world in which some samples lack a modality."""
    world = World(folder)
    for name, rows in samples.items():
        world.values[name][rows] = np.nan
    world.write()
    return world


def test_a_sample_without_privileged_modality_is_still_predicted_by_students(tmp_path):
    test = World(tmp_path / "plain").rows("test")
    world = lacking(tmp_path / "lacking", eda=test[:5], face=test[5:6])
    out = run(world, "pkdot")
    student = pd.read_parquet(out / "students" / "seed_0" / "pkdot" / "predictions.parquet")
    teacher = pd.read_parquet(out / "teachers" / "seed_0" / "teacher" / "predictions.parquet")
    names = world.table["sample_id"]
    assert set(student["sample_id"]) == set(names[np.setdiff1d(test, test[5:6])])
    assert set(teacher["sample_id"]) == set(names[test[6:]])
    assert student.notna().all().all()
    for outputs in load_file(out / "teachers" / "seed_0" / "teacher" / "outputs.safetensors").values():
        assert np.isnan(outputs[test[:6]]).all()
        assert np.isfinite(np.delete(outputs, test[:6], axis=0)).all()


def test_training_leaves_out_samples_that_lack_a_modality(tmp_path):
    train = World(tmp_path / "plain").rows("train")
    world = lacking(tmp_path / "lacking", eda=train[:2], face=train[4:6])
    out = run(world)
    for path in out.rglob("weights.safetensors"):
        assert all(np.isfinite(value).all() for value in load_file(path).values())


def test_a_test_part_without_privileged_modalities_does_not_stop_training(tmp_path):
    test = World(tmp_path / "plain").rows("test")
    out = run(lacking(tmp_path / "lacking", eda=test))
    quality = json.loads((out / "teachers" / "seed_0" / "tnet" / "metrics.json").read_text())
    assert quality["test"] == {"explained_variance": None, "cosine": None, "retrieval_rank": None}
    assert pd.read_parquet(out / "teachers" / "seed_0" / "teacher" / "predictions.parquet").empty
    assert len(pd.read_parquet(out / "students" / "seed_0" / "kd" / "predictions.parquet")) == len(test)


@pytest.mark.parametrize(("part", "modality"), [("train", "eda"), ("validation", "eda"), ("test", "face")])
def test_a_part_without_a_usable_sample_is_refused(tmp_path, part, modality):
    rows = World(tmp_path / "plain").rows(part)
    with pytest.raises(DataError, match=rf"no sample of the {part} part of fold 0"):
        run(lacking(tmp_path / "lacking", **{modality: rows}))


def test_t_net_is_fitted_on_the_training_part_alone(tmp_path):
    """Garbled privileged embeddings of all others leave it as it was, up to the choice of its step."""
    params = {"tnet_training": {"steps": 3, "evaluate_every": 3, "batch_size": 8}}
    weights = []
    for name, garble in (("plain", False), ("garbled", True)):
        world = World(tmp_path / name)
        if garble:
            rows = world.rows("validation", "test")
            world.values["eda"][rows] = np.random.default_rng(0).normal(size=world.values["eda"][rows].shape)
            world.write()
        out = tmp_path / name / "out"
        train_teachers(world.manifest, world.splits, world.embeddings, out, world.teacher_params(**params))
        weights.append((out / "seed_0" / "tnet" / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_t_net_learns_what_the_prevalent_modality_tells(tmp_path):
    world = World(tmp_path)
    world.values["eda"] = (world.values["face"] @ np.random.default_rng(0).normal(size=(5, 5))).astype(np.float32)
    world.values["eda"] -= world.values["eda"][world.rows("train")].mean(axis=(0, 1))
    world.write()
    params = world.teacher_params(tnet_training={"steps": 180, "batch_size": 8, "learning_rate": 0.02})
    train_teachers(world.manifest, world.splits, world.embeddings, tmp_path / "out", params)
    quality = json.loads((tmp_path / "out" / "seed_0" / "tnet" / "metrics.json").read_text())
    assert quality["train"]["explained_variance"] > 0.7
    assert quality["test"]["cosine"] > 0.5


def test_a_frozen_t_net_stays_as_the_teachers_left_it_and_a_random_one_does_not_know_it(tmp_path):
    world = World(tmp_path)
    kept = run(world, tnet={"hidden": [6], "finetune": False})
    tnet = load_file(kept / "teachers" / "seed_0" / "tnet" / "weights.safetensors")
    student = load_file(kept / "students" / "seed_0" / "kd" / "weights.safetensors")
    assert all(np.array_equal(student[f"student.tnet.{name}"], value) for name, value in tnet.items())
    random = run(world, tnet={"hidden": [6], "finetune": False, "state": "random"})
    student = load_file(random / "students" / "seed_0" / "kd" / "weights.safetensors")
    assert not all(np.array_equal(student[f"student.tnet.{name}"], value) for name, value in tnet.items())


def test_candidates_that_differ_by_rounding_alone_are_told_apart_by_their_loss(tmp_path, monkeypatch):
    world = World(tmp_path)
    train = _Run.train

    def rounded(run):
        train(run)
        return {1.0: (0.7125, 0.8), 0.3: (0.7124999999999999, 0.6)}[run.distiller.options.weight]

    monkeypatch.setattr(_Run, "train", rounded)
    choice = json.loads((run(world, "kd") / "students" / "kd.json").read_text())
    assert [candidate["options"]["weight"] for candidate in choice["candidates"]] == [1.0, 0.3]
    assert choice["chosen"]["weight"] == 0.3
    assert {candidate["score"] for candidate in choice["candidates"]} == {0.7125}


def test_a_weight_that_is_given_is_not_chosen(tmp_path):
    out = run(World(tmp_path), method={"name": "kd", "weight": 0.5, "temperature": 2.0})
    choice = json.loads((out / "students" / "kd.json").read_text())
    assert choice["chosen"] == {"weight": 0.5, "temperature": 2.0}
    assert len(choice["candidates"]) == 1


def test_damaged_outputs_of_a_teacher_are_noticed(tmp_path):
    world = World(tmp_path)
    out = run(world)
    path = out / "teachers" / "seed_1" / "modality_eda" / "outputs.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(
        DataError,
        match=r"modality_eda/outputs.safetensors: its content .* Delete .*eda/outputs.safetensors and run again",
    ):
        train_students(
            world.manifest, world.splits, world.embeddings, out / "teachers", out / "again", world.student_params()
        )
    assert not (out / "again").exists()


def test_samples_know_their_rows(tmp_path):
    world = World(tmp_path)
    samples = Samples.load(world.manifest)
    np.testing.assert_array_equal(samples.rows(["s5", "s1"], "subject"), [*range(6, 12), *range(30, 36)])
    np.testing.assert_array_equal(samples.rows(["c07", "c01"], "sample"), [1, 7])
    assert samples.classes == ["k0", "k1"]


def scores_at_start(out, method):
    return [pd.read_csv(out / "students" / f"seed_{seed}" / method / "history.csv").iloc[0]["score"] for seed in (0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_students_begin_where_the_head_of_the_encoder_is(tmp_path, kind):
    """What they are kept at can only be better on validation subjects; a random start is an option."""
    world = World(tmp_path, **KINDS[kind])
    out = run(world, "encoder_head")
    for method in ("student_only", "tnet_only", "pkdot", "zero_imputation"):
        params = world.student_params(method)
        train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / "students", params)
        assert scores_at_start(out, method) == scores_at_start(out, "encoder_head")
    chosen = [json.loads((out / "students" / f"{name}.json").read_text()) for name in ("pkdot", "encoder_head")]
    best, start = (max(candidate["score"] for candidate in choice["candidates"]) for choice in chosen)
    assert best >= start
    assert chosen[1]["candidates"][0]["kept_steps"] == [0, 0]
    random = world.student_params("student_only", start="random", label="random")
    train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / "students", random)
    losses = [
        pd.read_csv(out / "students" / "seed_0" / name / "history.csv")["val_loss"][0] for name in ("random", "pkdot")
    ]
    assert losses[0] != losses[1]


def test_the_head_of_the_encoder_predicts_as_the_encoder_did(tmp_path):
    world = World(tmp_path)
    head = world.heads["face"]
    head["standard.mean"] += 0.3
    head["standard.deviation"] *= 2
    world.write()
    out = run(world, "encoder_head")
    table = pd.read_parquet(out / "students" / "seed_0" / "encoder_head" / "predictions.parquet")
    raw = world.values["face"][world.rows("test")].mean(axis=1) * 2 + 0.3
    logits = raw @ head["head.weight"].T + head["head.bias"]
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(table["score_1"], expected, rtol=1e-4)


def test_the_linear_probe_is_the_model_of_scikit_learn(tmp_path):
    from sklearn.linear_model import LogisticRegression

    world = World(tmp_path, classes=3)
    out = run(world, {"name": "linear_probe", "strength": 2.0})
    table = pd.read_parquet(out / "students" / "seed_1" / "linear_probe" / "predictions.parquet")
    x, rows = world.values["face"][:, 0].astype(float), world.rows("train")
    model = LogisticRegression(C=0.5, max_iter=1000).fit(x[rows], world.table["level"].iloc[rows])
    expected = model.predict_proba(x[world.rows("test")])
    np.testing.assert_allclose(table.filter(like="score_").to_numpy(), expected, atol=1e-3)


def test_teachers_are_calibrated_and_their_heads_explain_their_predictions(tmp_path):
    from sklearn.metrics import log_loss

    world = World(tmp_path)
    out = tmp_path / "out"
    params = world.teacher_params(training={"steps": 120, "batch_size": 8, "learning_rate": 0.01})
    train_teachers(world.manifest, world.splits, world.embeddings, out, params)
    folder = out / "seed_0" / "teacher"
    held, weights = load_file(folder / "outputs.safetensors"), load_file(folder / "weights.safetensors")
    logits = held["features"] @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(held["logits"], logits, atol=1e-5)
    rows = world.rows("validation")
    target = world.table["level"].iloc[rows].str[1:].astype(int)

    def loss(temperature):
        odds = (logits[rows, 0, 1] - logits[rows, 0, 0]) / temperature
        return log_loss(target, 1 / (1 + np.exp(-odds.astype(float))))

    assert loss(1.0) <= min(loss(1.06), loss(0.94)) + 2e-3


def test_students_imitate_the_teachers_of_all_seeds_together(tmp_path):
    world = World(tmp_path)
    out = run(world, "kd")
    alone = run(world, "kd", ensemble=False)
    first, second = (load_file(path / "students" / "seed_0" / "kd" / "weights.safetensors") for path in (out, alone))
    assert any(not np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_no_label_of_an_unlabelled_sample_can_reach_anything(tmp_path, kind):
    """Labels that are hidden may be any other, or missing: every file of teachers and students is the same."""
    written = []
    for change in ("kept", "flipped", "missing"):
        world = World(tmp_path / change, **KINDS[kind])
        rows = world.rows("train")[::2]
        world.labels["hidden"] = list(world.table["sample_id"].iloc[rows])
        for name, classes in world.targets.items() if change != "kept" else ():
            cells = list(world.table[name])
            for row in rows:
                if classes is None:
                    cells[row] = [
                        list((np.nan if change == "missing" else -1) * np.array(token)) for token in cells[row]
                    ]
                else:
                    other = classes[(classes.index(cells[row]) + 1) % len(classes)]
                    cells[row] = None if change == "missing" else other
            world.table[name] = cells
        world.write()
        written.append(content(run(world)))
    assert written[0] == written[1] == written[2]


def test_unlabelled_samples_teach_and_are_counted(tmp_path):
    whole, few = World(tmp_path / "whole"), World(tmp_path / "few")
    few.labels["hidden"] = list(few.table["sample_id"].iloc[few.rows("train")[::2]])
    few.write()
    samples = [
        json.loads((run(world, method) / "students" / f"{method}.json").read_text())["samples"]
        for world, method in ((whole, "kd"), (few, "kd"), (few, "student_only"))
    ]
    assert samples == [
        {"labelled": 18, "unlabelled": 0},
        {"labelled": 9, "unlabelled": 9},
        {"labelled": 9, "unlabelled": 0},
    ]
    few.values["eda"][few.rows("train")[::2]] += 1  # of unlabelled samples only
    few.write()
    first, second = content(run(few)), few.folder / "run_0"
    assert first != content(second)
