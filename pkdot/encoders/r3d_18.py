"""R3D-18 (Tran et al., CVPR 2018) with Kinetics weights, the visual backbone of PKDOT (arXiv 2401.15489)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, by_token, flip, register
from pkdot.errors import ConfigError
from pkdot.params import Params

STATISTICS = {  # mean and deviation of red, green and blue
    "kinetics": ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class R3d18Options(Params):
    """Options of ``r3d_18``."""

    weights: str = Field(
        "kinetics",
        min_length=1,
        description="kinetics (torchvision's file, fetched once if not on disk), random, or the path of "
        "a state dict (.safetensors, .pth)",
    )
    weights_folder: str | None = Field(
        None, description="folder of the fetched file; null: the cache of torch (TORCH_HOME)"
    )
    normalisation: Literal["kinetics", "imagenet"] = Field(
        "kinetics", description="statistics of colours: those that the weights were made with, or as released"
    )
    trained_blocks: int = Field(
        5,
        ge=0,
        le=5,
        description="how many of its five blocks are trained, from the last one back; those before them keep the "
        "weights that they were given, and students that train their encoder read what these make of a clip, which is "
        "computed once and without flips",
    )
    flip: float = Field(0.2, ge=0, le=1, description="probability that a training clip is mirrored")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")


@register("r3d_18")
class R3d18(Encoder):
    """torchvision's R3D-18 over (frames, height, width, 3); each token's frames are a clip of its own."""

    Options = R3d18Options
    colour_mean: Tensor
    colour_deviation: Tensor

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: R3d18Options) -> None:
        from torchvision.models.video import r3d_18

        super().__init__(shape, dim, tokens, options)
        self.flip = options.flip
        self.body = r3d_18(weights=None)
        if options.weights != "random":
            load_weights(self.body, options)
        self.body.fc = nn.Identity()
        self.body.avgpool = nn.Identity()
        mean, deviation = (torch.tensor(values) for values in STATISTICS[options.normalisation])
        self.register_buffer("colour_mean", mean, persistent=False)
        self.register_buffer("colour_deviation", deviation, persistent=False)
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(512, dim))
        blocks = [self.body.stem, self.body.layer1, self.body.layer2, self.body.layer3, self.body.layer4]
        frozen = len(blocks) - options.trained_blocks
        self._frozen, self._trained = blocks[:frozen], blocks[frozen:]  # lists: the modules are registered in the body
        for block in self._frozen:
            block.requires_grad_(False)

    @classmethod
    def without_weights(cls, options: Params) -> Params:
        return options.model_copy(update={"weights": "random"})

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        return flip(batch, self.flip, generator)

    @property
    def has_frozen_part(self) -> bool:
        return bool(self._frozen)

    def train(self, mode: bool = True) -> R3d18:
        super().train(mode)
        for block in self._frozen:
            block.eval()  # or else its normalisation would follow the batches
        return self

    def frozen_part(self, batch: Tensor) -> Tensor:
        colours = (batch.float() / 255 - self.colour_mean) / self.colour_deviation
        maps = by_token(colours, self.tokens, dim=1).permute(0, 4, 1, 2, 3)
        for block in self._frozen:
            maps = block(maps)
        return maps.unflatten(0, (-1, self.tokens))

    def trained_part(self, maps: Tensor) -> Tensor:
        maps = maps.flatten(0, 1)
        for block in self._trained:
            maps = block(maps)
        # a plain mean: the gradient of the pooling layer differs from run to run on a GPU
        return self.embed(maps.mean(dim=(2, 3, 4))).unflatten(0, (-1, self.tokens))

    def forward(self, batch: Tensor) -> Tensor:
        return self.trained_part(self.frozen_part(batch))


def load_weights(body: nn.Module, options: R3d18Options) -> None:
    """Load all weights but those of the last layer, which is of the classes of Kinetics.

    Raises
    ------
    ConfigError
        The file does not exist, cannot be fetched, holds more than tensors, or is of another network.
    """
    fetch = options.weights == "kinetics"
    state = _fetched(options.weights_folder) if fetch else _read(Path(options.weights))
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    fitting = {name: value.shape for name, value in body.state_dict().items() if not name.startswith("fc.")}
    if {name: value.shape for name, value in state.items()} != fitting:
        different = sorted(state.keys() ^ fitting.keys()) or ["a tensor of another shape"]
        raise ConfigError(f"r3d_18.weights is {options.weights}, which is no state dict of R3D-18: {different[0]}")
    body.load_state_dict(state, strict=False)


def _fetched(folder: str | None) -> dict[str, Tensor]:
    """Return torchvision's Kinetics weights; the name of the file holds a part of its hash, which is checked."""
    from torchvision.models.video import R3D_18_Weights

    url = R3D_18_Weights.KINETICS400_V1.url
    folder = folder or f"{torch.hub.get_dir()}/checkpoints"
    try:
        return torch.hub.load_state_dict_from_url(
            url, model_dir=folder, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        name = url.rpartition("/")[2]
        raise ConfigError(
            f"r3d_18: the Kinetics weights are not in {folder} and could not be fetched ({error}). "
            f"Put {name} there, or set r3d_18's weights to random or to a file of yours"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """Return the state dict of plain tensors in a file; no code that a pickle holds is run."""
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ConfigError(f"r3d_18.weights is {path}, which is no file; give kinetics, random or a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(f"r3d_18.weights is {path}, which is no state dict of tensors alone") from error
