"""A small student over windows of arrays, with weights drawn at random: two seeds, two prevalent modalities."""

from __future__ import annotations

import torch

from pkdot.answer import Answer
from pkdot.assembly import Ensemble, build_ensemble
from pkdot.descriptions import (
    CompletionDescription,
    EmbedderDescription,
    FusedDescription,
    NetworkDescription,
    PluginDescription,
)
from pkdot.inference.bundle import SCHEMA, BundleDescription, ModalityDescription

CHANNELS = {"motion": 2, "pulse": 1}


def described(regression: bool = False) -> BundleDescription:
    """A description of a student with a T-Net and fusion."""
    encoder = PluginDescription(name="cnn1d", options={"width": 4, "kernel": 3})
    tokens = 2
    return BundleDescription(
        schema_version=SCHEMA,
        experiment="tiny",
        title="waves",
        simulated=True,
        method="kd",
        options={},
        seeds=[0, 1],
        answer=Answer(kind="regression", targets=["valence", "arousal"], frames=4)
        if regression
        else Answer(kind="classification", targets=["speed"], classes=["slow", "fast", "none"]),
        units={},
        ranges={},
        modalities={
            name: ModalityDescription(
                source=name,
                feature=PluginDescription(name="window", options={"channels": channels, "length": 32}),
                shape=[channels, 32],
                dtype="float32",
                seconds=2.0,
                rate=16.0,
            )
            for name, channels in CHANNELS.items()
        },
        encoders={
            name: EmbedderDescription(encoder=encoder, shape=[channels, 32], dim=6, tokens=tokens)
            for name, channels in CHANNELS.items()
        },
        network=NetworkDescription(
            student=FusedDescription(
                kind="hallucinating",
                prevalent=12,
                privileged=5,
                dim=8,
                fusion=PluginDescription(name="gated_cross_attention", options={"heads": 2}),
                tnet=[7],
                start=True,
            ),
            modalities=list(CHANNELS),
        ),
        temperature=1.7,
        subjects={"train": 3, "validation": 1},
        unlabelled=0,
        weights_sha256="",
        code="",
        versions={},
    )


def whatever() -> BundleDescription:
    """The description of a bundle of two modalities that takes any subset of them."""
    student = CompletionDescription(
        model=PluginDescription(name="any_subset", options={}),
        modalities=list(CHANNELS),
        prevalent=["motion"],
        width=6,
        tokens=2,
        dim=8,
    )
    network = NetworkDescription(student=student, modalities=list(CHANNELS))
    return described().model_copy(update={"network": network, "method": "any_subset"})


def drawn(said: BundleDescription) -> Ensemble:
    """Its network with random weights."""
    torch.manual_seed(0)
    network = build_ensemble(said.encoders, said.network, len(said.seeds), said.answer, said.temperature)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape) / 3)
    return network
