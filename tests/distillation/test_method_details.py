"""What single methods do beside their loss function."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from worlds import BATCH, DIM, SPARE, TOKENS, make_run, make_world, train

import pkdot.distillation
from pkdot.distillation.base import register
from pkdot.distillation.rkd import drawn_rows, rkd_angle_loss, rkd_distance_loss
from pkdot.distillation.transport import transport_loss
from pkdot.networks import Outputs


def test_pkdot_starts_from_the_released_setting():
    world = make_world("four classes")
    distiller, network = make_run("pkdot", world)
    outputs = world.outputs(network)
    expected = transport_loss(outputs.features, world.teacher.features, anchors=30, blur=0.1, p=2)
    assert distiller.options.weight == 0.6
    assert_close(distiller.distill(outputs, world.teacher), expected)


def test_pkdot_passes_every_option_on():
    world = make_world("four classes")
    options = {"anchors": 5, "blur": 0.3, "p": 1.5, "similarity": "rbf", "anchor_rule": "shared"}
    more = {"alignment": "permutation_invariant", "transport": "entropic"}
    distiller, network = make_run("pkdot", world, **options, **more)
    outputs = world.outputs(network)
    expected = transport_loss(outputs.features, world.teacher.features, **options, **more)
    assert_close(distiller.distill(outputs, world.teacher), expected)
    kept = register.load("pkdot").candidates(distiller.options.model_copy(update={"weight": None}), 6)
    assert {(c.anchors, c.blur, c.p, c.transport) for c in kept} == {(5, 0.3, 1.5, "entropic")}


def test_mt_pkdot_learns_from_the_teacher_with_the_lowest_task_loss():
    world = make_world("four classes")
    distiller, network = make_run("mt_pkdot", world, weight=1.0, centroid=0.0)
    outputs = world.outputs(network)
    right = 9 * torch.nn.functional.one_hot(world.target, 4).float()
    seen = []
    distiller.distill = lambda student, teacher: seen.append(teacher.features) or student.features.sum() * 0
    world.teacher.logits = right
    distiller.loss(outputs, world.teacher)
    assert_close(seen[-1], world.teacher.features)
    world.teacher.logits = -right
    with torch.no_grad():
        distiller.heads["emg"].weight.copy_(torch.eye(DIM)[:4])
        distiller.heads["emg"].bias.zero_()
        distiller.adapters["emg"].weight.copy_(torch.eye(DIM))
        distiller.adapters["emg"].bias.zero_()
    world.teacher.modalities["emg"].features = torch.nn.functional.pad(right, (0, DIM - 4))
    distiller.loss(outputs, world.teacher)
    assert_close(seen[-1], world.teacher.modalities["emg"].features)
    assert not seen[-1].requires_grad  # the student does not train the adapters


def test_crd_draws_negatives_of_other_classes_from_rows_that_it_has_seen():
    world = make_world("four classes")
    distiller, network = make_run("crd", world)
    outputs, teacher = world.outputs(network), world.teacher
    torch.manual_seed(5)
    value = distiller.distill(outputs, teacher)
    unseen = sorted(set(range(BATCH + SPARE)) - set(world.rows.tolist()))
    assert len(unseen) == SPARE
    assert distiller.kind[unseen].tolist() == [-1] * SPARE
    assert distiller.memory[:, unseen].abs().sum() == 0
    assert_close(distiller.kind[world.rows], world.target)
    torch.manual_seed(5)
    drawn = world.rows.sort().values[torch.randint(BATCH, (1024,))]
    s, t = (
        nn.functional.normalize(e(x), dim=1)
        for e, x in zip(distiller.embed, (outputs.features, teacher.features), strict=True)
    )
    place = {int(row): i for i, row in enumerate(world.rows)}
    negatives = torch.tensor([place[int(row)] for row in drawn])
    other = world.target[:, None] != world.target[negatives]
    expected = 0
    for anchor, partner in ((s, t), (t, s)):
        odds = (anchor @ partner.T / 0.07).exp()
        wrong = odds[:, negatives]
        bound = 1024 * wrong[other].mean()
        hit = (odds.diagonal() / (odds.diagonal() + bound)).log()
        expected -= (hit + ((bound / (wrong + bound)).log() * other).sum(dim=1)).mean()
    assert_close(value, expected)


def test_wkd_l_adds_the_part_of_the_target_without_a_weight():
    world = make_world("four classes")
    distiller, network = make_run("wkd_l", world, weight=0.0)
    outputs = world.outputs(network)
    log_s = outputs.logits.log_softmax(dim=1)[torch.arange(BATCH), world.target]
    p_t = world.teacher.logits.softmax(dim=1)[torch.arange(BATCH), world.target]
    assert_close(distiller(outputs, world.teacher), -log_s.mean() - (p_t * log_s).mean())


@pytest.mark.parametrize("kind", ["four classes", "regression"])
def test_generalized_distillation_goes_from_the_labels_to_the_teacher(kind):
    world = make_world(kind)
    outputs = world.outputs(make_run("logit_mse", world)[1])
    labels, _ = make_run("generalized_distillation", world, weight=0.0)
    assert_close(labels(outputs, world.teacher), world.context.task.loss(outputs.logits, outputs.target))
    teacher, _ = make_run("generalized_distillation", world, weight=1.0, temperature=1.0)
    if kind == "regression":
        expected = (outputs.logits - world.teacher.logits).square().mean()
    else:
        expected = -(world.teacher.logits.softmax(dim=1) * outputs.logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert_close(teacher(outputs, world.teacher), expected)


def test_modality_hallucination_draws_the_t_net_to_the_truth():
    world = make_world("four classes")
    distiller, network = make_run("modality_hallucination", world, weight=1000.0)

    def distance():
        return (world.outputs(network).privileged - world.teacher.privileged).detach().square().mean()

    before = distance()
    train(distiller, network, world, 40)
    assert distance() < before


@pytest.mark.parametrize(("kind", "tokens"), [("regression", TOKENS), ("four classes", 1)])
def test_imputation_trains_with_the_truth_and_tests_with_zeros(kind, tokens):
    world = make_world(kind, tokens)
    distiller, network = make_run("zero_imputation", world)
    network.eval()
    zeros = torch.zeros_like(world.privileged)
    outputs = world.outputs(network)
    assert_close(outputs.logits, network.teacher(world.prevalent, zeros).logits)
    true = network.teacher(world.prevalent, world.privileged).logits
    assert_close(distiller(outputs, world.teacher), world.context.task.loss(true, world.target))
    distiller, network = make_run("modality_dropout", world, dropped=1.0)
    outputs = world.outputs(network.eval())
    assert_close(distiller(outputs, world.teacher), world.context.task.loss(outputs.logits, world.target))


def test_learnable_parts_start_as_published():
    world = make_world("four classes")
    vid = make_run("vid", world)[0]
    assert_close(nn.functional.softplus(vid.spread) + 1e-5, torch.full((DIM,), 5.0))
    srd, network = make_run("srd", world)
    outputs = world.outputs(network)
    s, t = (x.detach().numpy() for x in (srd.projector(outputs.features), world.teacher.features))
    s, t = ((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-4) for x in (s, t))
    assert float(srd.distill(outputs, world.teacher).detach()) == pytest.approx(
        np.log((np.abs(s - t) ** 4).sum()), rel=1e-4
    )


def test_mfh_finds_the_features_that_both_networks_share():
    """The student follows the first half of the teacher's features; those are to teach it."""
    world = make_world("four classes")
    distiller, _ = make_run("mfh", world)
    weight = torch.randn(4, DIM, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        distiller.head.weight.copy_(weight)
        distiller.head.bias.zero_()
    features = torch.randn(400, DIM, generator=torch.Generator().manual_seed(1))
    half = DIM // 2
    student = Outputs(features[:, :half] @ weight[:, :half].T, features)
    distiller.distill(student, Outputs(features @ weight.T, features))
    strength = weight.square().sum(dim=0)
    assert_close(distiller.effect[:half] * 10, 2 * strength[:half], rtol=0.3, atol=0)
    assert (distiller.effect[half:].abs() * 10 < 0.5 * strength[half:]).all()


def test_the_method_of_the_documentation_works(tmp_path, monkeypatch):
    """Copied out of docs/own-method.md into a file of its own, it is found and trained."""
    page = (Path(__file__).parents[2] / "docs" / "own-method.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "centred_cosine.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(pkdot.distillation, "__path__", [*pkdot.distillation.__path__, str(tmp_path)])
    monkeypatch.setattr(register, "module", lambda name: f"pkdot.distillation.{name}")
    losses = train(*make_run("centred_cosine", make_world("four classes")), make_world("four classes"), 25)
    assert losses[-1] < losses[0]


def test_the_angles_of_a_large_batch_are_those_of_a_random_part_of_it():
    assert drawn_rows(5, 8).tolist() == [0, 1, 2, 3, 4]
    torch.manual_seed(0)
    drawn = [drawn_rows(512, 128) for _ in range(2)]
    assert all(len(set(rows.tolist())) == 128 for rows in drawn)
    assert not torch.equal(*drawn)
    world = make_world("four classes")
    student, teacher = torch.randn(9, 4), torch.randn(9, 4)
    whole, part = (make_run("rkd", world, weight=1.0, rows=rows)[0] for rows in (9, 3))
    outputs = [Outputs(torch.zeros(9, 4), features) for features in (student, teacher)]
    full = rkd_distance_loss(student, teacher) + 2 * rkd_angle_loss(student, teacher)
    assert_close(whole.distill(*outputs), full)
    assert part.distill(*outputs) != full


def test_methods_teach_with_the_true_heads_of_the_teachers():
    """With masks that let everything through, MST-Distill's lessons are what the teachers predict."""
    world = make_world("four classes")
    distiller, _ = make_run("mst_distill", world)
    teachers = [world.teacher, *world.teacher.modalities.values()]
    for specialist, teacher in zip(distiller.specialists, teachers, strict=True):
        specialist.mask[-2].bias.data.fill_(50.0)
        assert_close(specialist(teacher.features), teacher.logits)
    mfh, _ = make_run("mfh", world)
    assert mfh.head is world.context.heads["teacher"]
