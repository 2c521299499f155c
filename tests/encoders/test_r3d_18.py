"""R3D-18 with weights of our own, in the two formats, and what is refused."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.video import R3D_18_Weights, r3d_18

from pkdot.encoders.r3d_18 import R3d18, R3d18Options
from pkdot.errors import ConfigError

SHAPE = (4, 32, 32, 3)


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(3)
    return r3d_18(weights=None).eval()


@pytest.fixture(scope="module")
def files(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_file(reference.state_dict(), folder / "own.safetensors")
    torch.save(reference.state_dict(), folder / "own.pth")
    return folder


def encoder(**options):
    return R3d18(SHAPE, 512, 1, R3d18Options(**options)).eval()


@pytest.mark.parametrize("name", ["own.safetensors", "own.pth"])
def test_features_are_those_of_torchvision_on_its_own_transforms(reference, files, name):
    """The embedding is made the identity, and the last layer of torchvision's network is taken off."""
    net = encoder(weights=str(files / name))
    net.embed = torch.nn.Identity()
    clip = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    presets = R3D_18_Weights.KINETICS400_V1.transforms(crop_size=SHAPE[1:3], resize_size=SHAPE[1:3])
    body = torch.nn.Sequential(*list(reference.children())[:-1])
    with torch.no_grad():
        expected = body(presets(clip.permute(0, 1, 4, 2, 3))).flatten(1)
        torch.testing.assert_close(net(clip)[:, 0], expected, atol=1e-4, rtol=1e-3)


def test_torchvisions_file_is_found_in_the_folder_that_is_given(reference, tmp_path, monkeypatch):
    """A file of the right name is used as it is; nothing is fetched."""
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("it was fetched"))
    torch.save(reference.state_dict(), tmp_path / R3D_18_Weights.KINETICS400_V1.url.rpartition("/")[2])
    body = encoder(weights_folder=str(tmp_path)).body
    torch.testing.assert_close(body.stem[0].weight, reference.stem[0].weight)


def test_weights_that_cannot_be_fetched_are_named_with_what_to_do(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ConfigError, match=r"Put r3d_18-\w+\.pth there, or set r3d_18's weights to random"):
        encoder(weights_folder=str(tmp_path))


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    torch.save({"stem.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="no state dict of tensors alone"):
        encoder(weights=str(tmp_path / "trap.pth"))
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(ConfigError, match="no state dict of tensors alone"):
        encoder(weights=str(tmp_path / "bare.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("damage", ["missing", "other", "empty", "garbage"])
def test_weights_of_something_else_are_refused(files, tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    if damage == "other":
        save_file({"layer.weight": torch.zeros(3)}, path)
    elif damage != "missing":
        path.write_bytes(b"" if damage == "empty" else b"not tensors" * 9)
    with pytest.raises(ConfigError, match=r"r3d_18\.weights is"):
        encoder(weights=str(path))


def test_the_mirror_image_is_drawn_with_the_given_probability():
    net = encoder(weights="random")
    clips = torch.arange(32, dtype=torch.uint8).expand(4000, 1, 1, 32)[..., None].expand(-1, -1, -1, -1, 3)
    mirrored = net.augment(clips, torch.Generator().manual_seed(0))[:, 0, 0, 0, 0] == 31
    assert mirrored.float().mean() == pytest.approx(0.2, abs=0.03)
