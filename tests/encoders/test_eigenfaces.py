"""Components of moving faces, on clips whose components are known."""

import numpy as np
import pytest
import torch

from pkdot.encoders.eigenfaces import DESCRIBED, Eigenfaces, EigenfacesOptions, described

SIDE, FRAMES = 16, 12
OPTIONS = EigenfacesOptions(margin=0.0, side=SIDE, components=2)


def patterns():
    """Two pictures that change in time: an upper and a lower band, the first twice as much as the second."""
    upper, lower = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    upper[2:5, 3:13], lower[11:14, 4:12] = 1, 1
    return upper, lower


def clips(count=40, light=1.0, seed=0):
    rng = np.random.default_rng(seed)
    upper, lower = patterns()
    courses = rng.standard_normal((count, 2, FRAMES)) * np.array([[10.0], [5.0]])
    faces = 120 + 20 * rng.standard_normal((count, 1, SIDE, SIDE))
    moved = faces + np.einsum("nt,yx->ntyx", courses[:, 0], upper) + np.einsum("nt,yx->ntyx", courses[:, 1], lower)
    pictures = np.clip(np.round(light * moved), 0, 255).astype(np.uint8)
    return torch.from_numpy(np.repeat(pictures[..., None], 3, axis=-1)), courses


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Eigenfaces((FRAMES, SIDE, SIDE, 3), 4, 1, OPTIONS)


def seen(encoder, batch):
    return (encoder._changes(batch).flatten(2) @ encoder.basis).transpose(1, 2).numpy()


def test_the_components_are_what_changes_and_not_who_it_is(encoder):
    batch, courses = clips()
    encoder.fit_scale([batch[:25], batch[25:]])
    for found, true in zip(seen(encoder, batch).transpose(1, 0, 2), courses.transpose(1, 0, 2), strict=True):
        together = [abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(found, true, strict=True)]
        assert np.median(together) > 0.9


def test_components_have_deviation_one_whatever_the_batches(encoder):
    batch, _ = clips()
    encoder.fit_scale([batch])
    whole = encoder.basis.clone()
    np.testing.assert_allclose(seen(encoder, batch).std(axis=(0, 2)), 1, atol=0.1)
    encoder.fit_scale([batch[:7], batch[7:]])
    torch.testing.assert_close(encoder.basis, whole, atol=1e-4, rtol=1e-4)


def test_the_light_changes_nothing(encoder):
    encoder.fit_scale([clips()[0]])
    encoder.eval()
    with torch.no_grad():
        bright, dim = (encoder(clips(light=light)[0]) for light in (1.2, 0.8))
    torch.testing.assert_close(bright, dim, atol=0.25, rtol=0.1)


def test_a_course_is_described_by_hand():
    course = torch.tensor([[[1.0, 3.0, 5.0, 3.0]]])
    found = described(course, 1)[0, :, 0]
    assert found[:4].tolist() == pytest.approx([np.sqrt(2), 1, 5, 1.5])
    middles = (np.arange(4) + 0.5) * np.pi / 4
    assert found[4:].tolist() == pytest.approx(
        [(course[0, 0].numpy() * np.cos(k * middles)).sum() / 2 for k in (1, 2, 3)]
    )


def test_parts_of_the_time_are_described_apart():
    courses = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    parts = described(courses, 2)
    assert parts.shape == (2, 3 * DESCRIBED, 2)
    torch.testing.assert_close(parts[:, :, 1], described(courses[:, :, 4:], 1)[:, :, 0])
