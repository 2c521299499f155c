"""Models for whatever is there: what a mask hides cannot matter, and a fold writes what it promises."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from synthetic import TRAINING, World

from pkdot.answer import Answer
from pkdot.assembly import build_network
from pkdot.descriptions import NetworkDescription
from pkdot.evaluation import completion
from pkdot.evaluation.completion import CompletionParams, train_completions
from pkdot.evaluation.missing import MissingSection
from pkdot.hallucination.base import TNetParams
from pkdot.missing.base import CompletionChoice, build_completion, described, register
from pkdot.missing.masks import PATTERNS, conditions
from pkdot.networks import Outputs
from pkdot.provenance import verified
from pkdot.training import student
from pkdot.training.fold import Fold
from pkdot.training.teacher import train_teachers
from tests.training.test_lacking import SHARED as LACKING
from tests.training.test_lacking import world_of

M, T, D = 3, 4, 6
RATES = [0.0, 0.5, 1.0]
ANSWERS = {
    "classes": Answer(kind="classification", targets=["level"], classes=["a", "b", "c"]),
    "sequence": Answer(kind="regression", targets=["valence"], frames=5),
}


def model(name, answer="classes"):
    torch.manual_seed(0)
    shape = described(CompletionChoice(name=name), ["eda", "emg", "face"], ["face"], D, T, 8, TNetParams(hidden=[7]))
    made = build_completion(shape, ANSWERS[answer])
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if name == "nearest_neighbour":
        made.memory = torch.randn(5, M, T, D)
    return made.eval()


def batch(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, M, T, D, generator=generator)
    present = torch.rand(count, M, T, generator=generator) < 0.5
    present[0], present[1] = True, False
    present[2, 1:] = False
    return tokens, present


def every_model(test):
    return pytest.mark.parametrize("answer", ANSWERS)(pytest.mark.parametrize("name", register.names())(test))


@every_model
@pytest.mark.parametrize("hidden", ["noise", "nan", "infinity"])
def test_what_a_mask_hides_cannot_change_anything(name, answer, hidden):
    tokens, present = batch()
    value = {
        "noise": 100 * torch.randn(tokens.shape),
        "nan": torch.tensor(torch.nan),
        "infinity": torch.tensor(torch.inf),
    }
    spoiled = torch.where(present[..., None], tokens, value[hidden])
    with torch.no_grad():
        whole, other = model(name, answer)(tokens, present), model(name, answer)(spoiled, present)
    assert torch.equal(whole.logits, other.logits)
    assert torch.equal(whole.features, other.features)
    assert whole.logits.isfinite().all()


@every_model
def test_what_is_present_matters(name, answer):
    tokens, present = batch()
    net = model(name, answer)
    with torch.no_grad():
        before, after = net(tokens, present).logits, net(tokens + present[..., None], present).logits
    rows = 1 if answer == "classes" else T
    changed = (before != after).reshape(6, rows, -1).any(dim=2).any(dim=1)
    assert changed[0]
    assert not changed[1], "a sample of which nothing is there"


@every_model
def test_a_sample_without_anything_gets_the_prior(name, answer):
    net = model(name, answer)
    net.prior.copy_(torch.arange(len(net.prior)).float())
    tokens, present = batch()
    with torch.no_grad():
        logits = net(tokens, present).logits.unflatten(0, (6, -1))
    assert (logits[1] == net.prior).all()
    assert not (logits[2] == net.prior).all()


@every_model
def test_samples_do_not_see_one_another(name, answer):
    tokens, present = batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    net = model(name, answer)
    with torch.no_grad():
        whole = net(tokens, present).logits.unflatten(0, (6, -1))
        turned = net(tokens[order], present[order]).logits.unflatten(0, (6, -1))
        alone = net(tokens[:1], present[:1]).logits
    torch.testing.assert_close(whole[order], turned)
    torch.testing.assert_close(whole[0], alone.unflatten(0, (1, -1))[0])


def test_attention_sees_no_learned_token_among_those_that_are_present():
    """The tokens that are there are refined without those that stand for what is absent."""
    net = model("any_subset")
    tokens, present = batch()
    seen = {}
    net.network.norm.register_forward_hook(lambda layer, given, got: seen.setdefault(len(seen), got))
    with torch.no_grad():
        net(tokens, present)
        net.network.absent.add_(1.0)
        net(tokens, present)
    shown = present.flatten(1)
    assert torch.equal(seen[0][shown], seen[1][shown])
    assert not torch.equal(seen[0][2], seen[1][2])


def test_neighbours_are_those_that_are_nearest_in_what_is_there():
    net = model("nearest_neighbour")
    tokens = net.memory[[3, 1]].clone()
    present = torch.ones(2, M, T, dtype=torch.bool)
    present[:, 1:] = False
    tokens[:, 1:] = 50.0
    assert net.nearest(torch.where(present[..., None], tokens, 0.0), present).tolist() == [3, 1]
    filled, shown = net.fill(torch.where(present[..., None], tokens, 0.0), present)
    assert shown.all()
    assert torch.equal(filled, net.memory[[3, 1]])


def test_means_are_those_of_the_sample_and_else_of_the_training_part():
    net = model("mean_imputation")
    net.mean.fill_(7.0)
    tokens, present = torch.zeros(1, M, T, D), torch.zeros(1, M, T, dtype=torch.bool)
    tokens[0, 0, 0], tokens[0, 0, 1], present[0, 0, :2] = 1.0, 3.0, True
    filled, _ = net.fill(tokens, present)
    assert (filled[0, 0, 2:] == 2.0).all()
    assert (filled[0, 1:] == 7.0).all()


def params_of(world, names=None, **changes):
    """The grid of a world."""
    models = [{"name": name} for name in names or []]
    section = MissingSection(models=models, rates=RATES)
    roles = {"prevalent": ["face"], "privileged": ["eda"]}
    values = {
        **roles,
        "contenders": section.contenders(world.kind == "regression"),
        "conditions": [(one.pattern, one.target) for one in conditions(PATTERNS, **roles)],
        "rates": RATES,
        "burst": 2,
        "mask_seed": 0,
        "dim": 8,
        "tnet": {"hidden": [6]},
        "training": {**TRAINING, "steps": 9},
        "task": world.task,
        "fold": 0,
        "seeds": [0, 1],
        "compute": {},
    }
    return CompletionParams(**{**values, **changes})


KINDS = {
    "classes": {"classes": 2, "tokens": 3},
    "ordered classes": {"kind": "ordinal", "classes": 3},
    "regression": {"kind": "regression", "tokens": 2},
}


def train(world, params, name="grid"):
    out = world.folder / name
    if not (world.folder / "teachers").exists():
        train_teachers(
            world.manifest, world.splits, world.embeddings, world.folder / "teachers", world.teacher_params()
        )
    train_completions(world.manifest, world.splits, world.embeddings, world.folder / "teachers", out, params)
    return out


@pytest.fixture(scope="module", params=KINDS)
def grid(request, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("grid"), **KINDS[request.param])
    params = params_of(world)
    return world, params, train(world, params)


def test_completions_learn_from_the_teachers_that_students_learn_from(grid):
    world, params, _ = grid
    folder = world.folder / "teachers"
    of_students = world.student_params(seeds=params.seeds)
    paths = {path.parent.name: path for path in world.embeddings}
    fold = Fold(world.manifest, world.splits, paths, params, torch.device("cpu"))
    taught, expected = completion._teachers(fold, folder, params), student._teachers(fold, folder, of_students)[0]
    torch.testing.assert_close(taught.logits, expected.joint[1], equal_nan=True)
    torch.testing.assert_close(taught.pooled, expected.pooled, equal_nan=True)
    assert not torch.allclose(taught.pooled, taught.logits)


@pytest.mark.parametrize(("kind", "imitated"), [("classification", "pooled"), ("regression", "logits")])
def test_soft_labels_are_those_of_all_teachers_and_values_those_of_the_joint_one(kind, imitated):
    net = model("any_subset")
    net.learn(SimpleNamespace(regression=kind == "regression", loss=lambda logits, target: torch.zeros(())))
    wanted, other = torch.randn(6, 3), torch.randn(6, 3)
    teacher = Outputs(wanted, torch.zeros(6, 8), pooled=other)
    given = {"logits": wanted, "pooled": other}
    lost = {name: float(net.loss(Outputs(values, torch.zeros(6, 8)), teacher, None)) for name, values in given.items()}
    assert lost.pop(imitated) == pytest.approx(0, abs=1e-6)
    assert min(lost.values()) > 0.1


def test_a_fold_writes_masks_sums_and_networks(grid):
    world, params, out = grid
    found = json.loads((out / "fold_0.json").read_text())
    labels = [each.label for each in params.contenders]
    assert set(labels) >= {"any_subset", "any_subset_unlike", "zero_imputation", "tnet", "shaspec"}
    assert ("mmanet" in labels) == (world.kind != "regression")
    assert found["units"] == world.fold["test"]
    assert found["samples"] == list(world.table["sample_id"].iloc[world.rows("test")])
    assert list(found["networks"]) == sorted(labels)
    masks, sums = load_file(out / "fold_0.masks.safetensors"), load_file(out / "fold_0.sums.safetensors")
    assert masks["whole.all"].shape == (3, 12, 2, world.tokens)
    assert [1 - mask.mean() for mask in masks["independent.all"]] == pytest.approx(RATES, abs=0.5 / (24 * world.tokens))
    assert len(sums) == len(labels) * 2 * len(params.conditions)
    inside = (2, 7) if world.kind == "regression" else (len(world.targets["level"]),) * 2
    assert all(each.shape == (3, 2, *inside) for each in sums.values())
    assert verified(out / "seed_1" / "tnet" / "weights.safetensors")


def loaded(folder, out):
    """A network from its files alone."""
    network = NetworkDescription(**json.loads((folder / "network.json").read_text()))
    answer = Answer(**json.loads((out / "fold_0.json").read_text())["answer"])
    net = build_network(network, answer)
    net.load_state_dict({name: torch.from_numpy(v) for name, v in load_file(folder / "weights.safetensors").items()})
    return net.eval()


def masked(side_by_side, present):
    """Embeddings (B, T, M * D) that are NaN where a mask (B, M, T) says that they are absent."""
    width = side_by_side.shape[-1] // present.shape[1]
    return side_by_side.masked_fill(~present.transpose(1, 2).repeat_interleave(width, dim=2), torch.nan)


def test_sums_are_those_of_the_predictions_of_the_network_on_disk(grid):
    """A model that is loaded predicts what the fold counted."""
    world, _, out = grid
    if world.kind == "regression":
        pytest.skip("sums of a regression are the moments of `MomentSums`")
    masks, sums = load_file(out / "fold_0.masks.safetensors"), load_file(out / "fold_0.sums.safetensors")
    rows = world.rows("test")
    tokens = torch.from_numpy(np.stack([world.values[name][rows] for name in ("eda", "face")], axis=1))
    side_by_side = tokens.transpose(1, 2).flatten(2)
    truth = world.table["level"].iloc[rows].str[1:].astype(int).to_numpy()
    for label in ("any_subset", "nearest_neighbour", "mmanet"):
        net = loaded(out / "seed_0" / label, out)
        for place in range(len(RATES)):
            with torch.no_grad():
                present = torch.from_numpy(masks["mostly.eda"][place]).bool()
                predicted = net.student(masked(side_by_side, present)).logits.argmax(dim=1).numpy()
            confusion = sums[f"{label}.0.mostly.eda"][place]
            assert confusion.sum() == len(rows)
            assert np.trace(confusion.sum(axis=0)) == (predicted == truth).sum()


def test_nothing_left_is_the_prior_and_everything_is_the_same_in_all_conditions(grid):
    _, params, out = grid
    sums = load_file(out / "fold_0.sums.safetensors")
    first = sums["any_subset.0.whole.all"]
    assert all((sums[f"any_subset.0.{p}.{t}"][0] == first[0]).all() for p, t in params.conditions)
    for each in params.contenders:
        assert (sums[f"{each.label}.1.whole.all"][2] == first[2]).all()


def test_seeds_decide_and_nothing_else(grid):
    world, _, out = grid
    again = train(world, params_of(world, ["any_subset", "tnet", "zero_imputation"]), "again")
    for label in ("any_subset", "any_subset_unlike", "tnet"):
        for seed in (0, 1):
            place = f"seed_{seed}/{label}/weights.safetensors"
            assert (out / place).read_bytes() == (again / place).read_bytes()
    first, second = (load_file(out / f"seed_{seed}/any_subset/weights.safetensors") for seed in (0, 1))
    assert any(not np.array_equal(first[name], second[name]) for name in first)


def test_what_the_features_found_absent_is_absent_under_every_mask(tmp_path):
    """A model on embeddings of which some are NaN counts what it predicts with these tokens hidden."""
    world = World(tmp_path, tokens=2)
    rows = world.rows("test")
    face = np.ones((len(world.table), 2), dtype=bool)
    face[rows[0], 0] = face[rows[1], 1] = face[world.rows("train")[0], 0] = False
    world.values["face"][~face] = np.nan
    world.write()
    train_teachers(world.manifest, world.splits, world.embeddings, tmp_path / "teachers", world.teacher_params())
    params, out = params_of(world, ["any_subset", "zero_imputation", "tnet"], seeds=[0]), tmp_path / "grid"
    train_completions(world.manifest, world.splits, world.embeddings, tmp_path / "teachers", out, params)
    found = json.loads((out / "fold_0.json").read_text())
    assert found["absent_tokens"] == pytest.approx(2 / (12 * 2 * 2))
    present = np.stack([np.ones_like(face[rows]), face[rows]], axis=1)
    tokens = torch.from_numpy(np.stack([world.values[name][rows] for name in ("eda", "face")], axis=1))
    with torch.no_grad():
        net = loaded(out / "seed_0" / "any_subset", out)
        side_by_side = tokens.transpose(1, 2).flatten(2)
        assert torch.equal(masked(side_by_side, torch.from_numpy(present)).isnan(), side_by_side.isnan())
        predicted = net.student(side_by_side).logits.argmax(dim=1)
    truth = world.table["level"].iloc[rows].str[1:].astype(int).to_numpy()
    sums = load_file(out / "fold_0.sums.safetensors")["any_subset.0.whole.all"][0]
    assert np.trace(sums.sum(axis=0)) == (predicted.numpy() == truth).sum()


def test_test_samples_that_lack_a_modality_of_either_role_are_counted(tmp_path):
    world = World(tmp_path)
    rows = world.rows("test")
    world.values["face"][rows[:2]] = world.values["eda"][rows[2]] = np.nan
    world.write()
    out = train(world, params_of(world, ["any_subset", "zero_imputation"], seeds=[0]))
    found = json.loads((out / "fold_0.json").read_text())
    assert found["samples"] == list(world.table["sample_id"].iloc[rows[3:]])
    assert found["left_out"] == 3


def test_test_subjects_and_hidden_labels_have_no_say(tmp_path):
    world = World(tmp_path)
    world.labels = {"hidden": [str(world.table["sample_id"][world.rows("train")[0]])], "wrong": {}}
    world.write()
    names = ["any_subset", "zero_imputation", "nearest_neighbour"]
    first = train(world, params_of(world, names), "first")
    rows = world.rows("test")
    world.table.loc[rows, "level"] = world.table["level"].iloc[rows[::-1]].to_numpy()
    for values in world.values.values():
        values[rows] += 1.0
    hidden = world.rows("train")[0]
    world.table.loc[hidden, "level"] = {"k0": "k1", "k1": "k0"}[world.table["level"][hidden]]
    world.write()
    second = train(world, params_of(world, names), "second")
    for path in first.rglob("weights.safetensors"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path


@pytest.mark.parametrize("name", register.names())
def test_it_is_exported_with_its_mask(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = model(name)
    tokens, present = batch()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, tokens, present):
            return self.net(tokens, present).logits

    path = tmp_path / "completion.onnx"
    size = torch.export.Dim("batch", min=1, max=1024)
    torch.onnx.export(
        Logits().eval(), (tokens, present), path, dynamo=True, verbose=False,
        input_names=["tokens", "present"], dynamic_shapes=({0: size}, {0: size}),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path)
    with torch.no_grad():
        expected = net(tokens, present).logits.numpy()
    spoiled = torch.where(present[..., None], tokens, torch.nan)
    for values in (tokens, spoiled):
        (found,) = session.run(None, {"tokens": values.numpy(), "present": present.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5)
    (few,) = session.run(None, {"tokens": tokens[:2].numpy(), "present": present[:2].numpy()})
    np.testing.assert_allclose(few, expected[:2], atol=1e-5)


def test_samples_that_lack_a_modality_teach_models_that_are_trained_on_masks(tmp_path):
    """And no others: those are trained with everything, and remember nothing else."""
    world = world_of(tmp_path, tokens=2)
    train_teachers(
        world.manifest, world.splits, world.embeddings, tmp_path / "teachers", world.teacher_params(**LACKING)
    )
    roles = {"prevalent": ["face"], "privileged": LACKING["privileged"]}
    masks = [(one.pattern, one.target) for one in conditions(PATTERNS, **roles)]
    out = train(world, params_of(world, **roles, conditions=masks, seeds=[0]))
    for model in ("any_subset", "mean_imputation", "nearest_neighbour", "mmanet", "shaspec", "tnet"):
        weights = load_file(out / "seed_0" / model / "weights.safetensors")
        assert all(np.isfinite(value).all() for value in weights.values()), model
    neighbour = load_file(out / "seed_0/nearest_neighbour/weights.safetensors")
    (memory,) = (value for name, value in neighbour.items() if name.endswith("memory"))
    kept = np.setdiff1d(world.rows("train"), world.lost)
    np.testing.assert_array_equal(memory, np.stack([world.values[name][kept] for name in sorted(world.values)], axis=1))
