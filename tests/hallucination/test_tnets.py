"""What every T-Net must be, whichever are registered; and what some kinds promise beside that."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from pkdot.errors import DataError
from pkdot.hallucination.adversarial import gradient_penalty
from pkdot.hallucination.base import Lesson, TNetChoice, build_tnet, pairs, register
from pkdot.hallucination.recovery import CHANCE, recovery, retrieval_rank
from pkdot.hallucination.shared_private import canonical, shared_count

BATCH, TOKENS, PREVALENT, PRIVILEGED, HIDDEN = 5, 4, 6, 7, [12, 9]
KINDS = register.names()


def made(kind, privileged=PRIVILEGED, hidden=HIDDEN, **options):
    torch.manual_seed(0)
    return build_tnet(TNetChoice(name=kind, options=options), PREVALENT, privileged, hidden)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def none(prevalent, hallucinated, privileged):
    return hallucinated.new_zeros(())


class Linear:
    """Privileged tokens of which a part follows from the prevalent ones, the rest is noise: a truth in closed form."""

    def __init__(self, noise=0.5, count=400):
        generator = torch.Generator().manual_seed(7)
        self.prevalent = torch.randn(count, 2, PREVALENT, generator=generator)
        self.map = torch.zeros(PREVALENT, PRIVILEGED)
        self.map[:3, :3] = torch.eye(3)
        self.privileged = self.prevalent @ self.map + noise * torch.randn(count, 2, PRIVILEGED, generator=generator)
        self.privileged[..., 3:] = torch.randn(count, 2, PRIVILEGED - 3, generator=generator)
        self.subjects = torch.arange(count) // 20


def trained(kind, world, steps, rate=0.01, disagreement=none, **options):
    """Train a T-Net as the stage does; return it and its companion."""
    tnet = made(kind, **options)
    companion = tnet.companion()
    tnet.fit(world.prevalent, world.privileged, world.subjects)
    optimiser = torch.optim.AdamW([*tnet.parameters(), *companion.parameters()], rate)
    generator = torch.Generator().manual_seed(3)
    for step in range(steps):
        rows = torch.arange(step * 50, step * 50 + 50) % len(world.prevalent)
        optimiser.zero_grad()
        tnet.loss(Lesson(world.prevalent[rows], world.privileged[rows], disagreement, companion, generator)).backward()
        optimiser.step()
    return tnet.eval(), companion


@pytest.mark.parametrize("kind", KINDS)
def test_a_t_net_gives_one_privileged_token_a_token_and_says_what_it_is(kind):
    tnet = made(kind)
    assert tnet(draw(BATCH, TOKENS, PREVALENT)).shape == (BATCH, TOKENS, PRIVILEGED)
    assert tnet(draw(BATCH, 1, PREVALENT)).shape == (BATCH, 1, PRIVILEGED)
    assert made(kind, privileged=3)(draw(2, 2, PREVALENT)).shape == (2, 2, 3)
    assert sys.modules[type(tnet).__module__].__doc__.splitlines()[0].endswith(".")
    assert all(field.description for field in type(tnet).Options.model_fields.values())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_see_its_batch_mates(kind, training):
    tnet, batch = made(kind).train(training), draw(BATCH, TOKENS, PREVALENT)
    together = tnet(batch)
    for i in range(BATCH):
        assert_close(tnet(batch[i : i + 1]), together[i : i + 1], atol=1e-6, rtol=1e-5)
    assert_close(tnet(torch.cat((batch[:1], 100 * batch[1:].flip(0))))[:1], together[:1], atol=1e-6, rtol=1e-5)
    spoilt = batch.clone()
    spoilt[2] = torch.nan
    found = tnet(spoilt)
    assert_close(found[[0, 1, 3, 4]], together[[0, 1, 3, 4]], atol=1e-6, rtol=1e-5)
    assert found.isfinite().all(), "of nothing it says something"
    assert tnet.hallucinate(spoilt)[2].isnan().all(), "which does not count"


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_that_are_absent_might_as_well_not_exist(kind):
    world = Linear(count=60)
    tnet, _ = trained(kind, world, 2)
    batch = draw(BATCH, TOKENS, PREVALENT)
    batch[:, -1] = torch.nan
    assert_close(tnet(batch)[:, :-1], tnet(batch[:, :-1]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("side", ["prevalent", "privileged"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_absent_teaches_nothing(kind, side):
    """The second token of all samples is absent on one side: loss and gradients are those of the first."""
    world = Linear(count=60)
    if side == "prevalent":
        world.prevalent[:, 1] = torch.nan
    world.privileged = pairs(world.prevalent, world.privileged)
    if side == "privileged":
        world.privileged[:, 1] = torch.nan
    tnet, companion = trained(kind, world, 3)
    assert all(value.isfinite().all() for value in [*tnet.parameters(), *tnet.buffers(), *companion.parameters()])
    if kind in ("adversarial", "generative"):
        return  # they draw for each token, also for those that do not count
    lesson = Lesson(world.prevalent, world.privileged, none, companion, torch.Generator())
    if side == "prevalent" or kind != "attention":  # of which every token sees all that is prevalent
        first = Lesson(world.prevalent[:, :1], world.privileged[:, :1], none, companion, torch.Generator())
        losses = [tnet.loss(each) for each in (lesson, first)]
        assert_close(*losses)
        assert_close(*(torch.autograd.grad(loss, list(tnet.layers.parameters())) for loss in losses))


def test_recovery_counts_what_is_known():
    guess, truth = draw(6, 2, 3), draw(6, 2, 3, seed=2)
    truth[:, 1] = torch.nan
    found, first = recovery(guess, truth), recovery(guess[:, :1], truth[:, :1])
    assert found["explained_variance"] == pytest.approx(first["explained_variance"])
    assert found["cosine"] == pytest.approx(first["cosine"])
    assert found["retrieval_rank"] is None, "no sample has all tokens"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_at_prediction_and_weights_hold_all_of_it(kind):
    world = Linear(count=60)
    tnet, _ = trained(kind, world, 2)
    first = tnet(world.prevalent)
    torch.manual_seed(5)
    assert torch.equal(tnet(world.prevalent), first)
    torch.manual_seed(6)
    other = build_tnet(TNetChoice(name=kind), PREVALENT, PRIVILEGED, HIDDEN)
    other.load_state_dict(tnet.state_dict())
    assert torch.equal(other(world.prevalent), first)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_train_equal_bits(kind):
    one, other = (trained(kind, Linear(count=100), 3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_predictable_is_learnt(kind):
    """Three of seven dimensions follow from what is prevalent, up to noise of a fifth of their variance."""
    world, unseen = Linear(), Linear(count=800)
    tnet, _ = trained(kind, world, 500 if kind == "generative" else 250)
    with torch.no_grad():
        guess = tnet(unseen.prevalent[400:])[..., :3]
    found = recovery(guess, unseen.privileged[400:, :, :3])
    assert found["explained_variance"] > 0.55, "0.8 is what there is"
    assert found["retrieval_rank"] < 0.12


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_that_a_student_may_train_gets_a_gradient(kind):
    tnet = made(kind)
    for name, value in tnet.named_parameters():
        if value.eq(0).all() and name.startswith("layers"):  # corrections that begin at zero
            torch.nn.init.normal_(value, generator=torch.Generator().manual_seed(0))
    tnet(draw(BATCH, TOKENS, PREVALENT)).square().sum().backward()
    assert not [name for name, value in tnet.named_parameters() if value.grad is None]


def test_attention_asks_all_tokens_of_a_sample_and_knows_their_order():
    tnet, batch = made("attention"), draw(2, TOKENS, PREVALENT)
    before = tnet(batch)
    batch[0, 3] = batch[0, 3].flip(0)
    after = tnet(batch)
    assert not torch.allclose(before[0, 0], after[0, 0], atol=1e-4)
    assert_close(before[1], after[1])
    order = torch.tensor([2, 0, 3, 1])
    assert not torch.allclose(tnet(batch[:, order]), after[:, order], atol=1e-4)


def test_consistent_prefers_what_the_teacher_reads():
    """The teacher reads one direction alone; with a weight, that one is told better than without."""
    world = Linear(noise=0.2)

    def disagreement(prevalent, hallucinated, privileged):
        return (hallucinated[..., 0] - privileged[..., 0]).square().mean()

    errors = []
    for weight in (0.0, 30.0):
        tnet, _ = trained("consistent", world, 60, disagreement=disagreement, weight=weight)
        with torch.no_grad():
            errors.append(float(mse_loss(tnet(world.prevalent)[..., 0], world.privileged[..., 0])))
    assert errors[1] < 0.8 * errors[0]


def test_the_gradient_of_a_linear_critic_is_known():
    critic = torch.nn.Linear(PREVALENT + PRIVILEGED, 1)
    norm = critic.weight[0, PREVALENT:].norm()
    tokens = [draw(3, 2, PRIVILEGED, seed=seed) for seed in (1, 2)]
    found = gradient_penalty(critic, draw(3, 2, PREVALENT), *tokens, draw(3, 2, 1))
    assert_close(found, (norm - 1).square())


@pytest.mark.parametrize(("penalty", "lives"), [(10.0, True), (1e-6, False)])
def test_the_adversarial_t_net_does_not_collapse_thanks_to_the_penalty(penalty, lives):
    """Its tokens vary over samples as the true ones do, in every dimension that is predictable."""
    world = Linear()
    tnet, critic = trained("adversarial", world, 300, weight=0.3, penalty=penalty)
    with torch.no_grad():
        tokens = tnet(world.prevalent)
        both = [critic(torch.cat((world.prevalent, side), dim=-1)).mean() for side in (tokens, world.privileged)]
    spread = tokens[..., :3].std(dim=(0, 1)) / world.privileged[..., :3].std(dim=(0, 1))
    values = torch.linalg.svdvals(tokens[..., :3].flatten(0, 1))
    assert bool((spread > 0.6).all() and values[2] > 0.5 * values[0]) == lives
    if lives:
        assert spread.max() < 1.5
        assert abs(both[0] - both[1]) < 3, "a critic without slope 1 could tell any difference"


def test_the_flow_gives_the_mean_over_its_draws():
    """With a velocity that leads straight from every start to one token, that token comes out."""
    tnet = made("generative", steps=3, draws=4)
    token = draw(PRIVILEGED)
    tnet.velocity = lambda given, here, time: (token - here) / (1 - time)
    assert_close(tnet(draw(2, 3, PREVALENT)), token.expand(2, 3, -1))
    assert_close(tnet.starts.sum(dim=0), torch.zeros(PRIVILEGED))


def test_canonical_correlation_is_that_of_the_closed_form():
    """Of y = x + noise the correlation is 1 / sqrt(1 + noise variance); independent sides have none."""
    one = draw(20_000, 4).double()
    other = torch.cat((one[:, :2] + 0.75 * draw(20_000, 2, seed=2), draw(20_000, 3, seed=3)), dim=1)
    found = canonical(one, other, 1e-6)
    rho = found.correlations(one, other)
    assert_close(rho[:2], torch.full((2,), 0.8).double(), atol=0.02, rtol=0)
    assert (rho[2:] < 0.05).all()
    subjects = torch.arange(20_000) // 100
    assert shared_count(one, other, subjects, least=0.1, ridge=1e-6) == 2
    assert shared_count(one, other[:, 2:], subjects, least=0.1, ridge=1e-6) == 1, "one is kept"


def test_shared_private_needs_tokens_of_which_all_is_known():
    """Half of the samples lack one privileged modality, and half the other."""
    world = Linear(count=60)
    world.privileged[::2, :, :3], world.privileged[1::2, :, 3:] = torch.nan, torch.nan
    with pytest.raises(DataError, match="0 tokens of the training part have all of them; take another"):
        made("shared_private").fit(world.prevalent, world.privileged, world.subjects)
    world = Linear(count=60)
    world.privileged[1:, :, :3] = torch.nan
    tnet = made("shared_private")
    tnet.fit(world.prevalent, world.privileged, world.subjects)
    assert all(buffer.isfinite().all() for buffer in tnet.buffers()), "two tokens of one sample"


def test_shared_private_leaves_what_nobody_can_predict_at_its_mean():
    world = Linear()
    world.privileged += 5
    tnet, _ = trained("shared_private", world, 100)
    with torch.no_grad():
        tokens = tnet(world.prevalent)
    assert tokens[..., 3:].std(dim=(0, 1)).max() < 0.25 < 0.7 < tokens[..., :3].std(dim=(0, 1)).min()
    assert_close(tokens.mean(dim=(0, 1)), world.privileged.mean(dim=(0, 1)), atol=0.15, rtol=0)


def test_retrieval_rank_is_none_nearer_half_or_all():
    truth = draw(600, 2, 3)
    assert retrieval_rank(truth, truth) == 0
    assert retrieval_rank(torch.zeros_like(truth), truth) == pytest.approx(CHANCE)
    assert retrieval_rank(torch.zeros_like(truth), torch.ones_like(truth)) == CHANCE
    assert retrieval_rank(draw(600, 2, 3, seed=9), truth) == pytest.approx(CHANCE, abs=0.05)
    line = torch.arange(5.0)[:, None, None]
    # for four of five the next one is nearer, for three the one behind that as near; each has four others
    assert retrieval_rank(line + 1, line) == pytest.approx((4 + 0.5 * 3) / (5 * 4))


def test_recovery_of_nothing_is_none():
    empty = torch.zeros(0, 1, 3)
    assert recovery(empty, empty) == {"explained_variance": None, "cosine": None, "retrieval_rank": None}
