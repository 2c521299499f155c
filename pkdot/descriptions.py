"""What a network is, in JSON: kinds, widths and options, from which ``pkdot.assembly`` builds it again.

No teacher, method or data is needed for that, and nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pkdot.params import Params

Start = Annotated[bool, Field(description="whether a linear head over the prevalent embeddings is added to its own")]


class PluginDescription(Params):
    """A plug-in with all of its options, those at their defaults too: a default may change in a later version."""

    name: str = Field(description="name of the plug-in")
    options: dict[str, Any] = Field(description="all of its options")


class EmbedderDescription(Params):
    """What turns the arrays of a modality into standardised embeddings."""

    encoder: PluginDescription = Field(description="the encoder")
    shape: list[int] = Field(description="shape of the array of one sample")
    dim: int = Field(ge=1, description="width of an embedding")
    tokens: int = Field(ge=1, description="embeddings in time that a sample gets")


class LinearDescription(Params):
    """A head alone."""

    kind: Literal["linear"] = Field("linear", description="what the student is")
    prevalent: int = Field(ge=1, description="width of a prevalent token, modalities side by side")


class PrevalentDescription(Params):
    """A perceptron and a head."""

    kind: Literal["prevalent"] = Field("prevalent", description="what the student is")
    prevalent: int = Field(ge=1, description="width of a prevalent token, modalities side by side")
    hidden: int = Field(ge=1, description="hidden width of the perceptron")
    dim: int = Field(ge=1, description="width of the features before the head")
    start: Start = False


class FusedDescription(Params):
    """Fusion and a head; T-Net, or zeros, stand in for the privileged embeddings."""

    kind: Literal["hallucinating", "imputing"] = Field(description="what stands in: T-Net, or zeros")
    prevalent: int = Field(ge=1, description="width of a prevalent token, modalities side by side")
    privileged: int = Field(ge=1, description="width of a privileged token, modalities side by side")
    dim: int = Field(ge=1, description="width of the fused features")
    fusion: PluginDescription = Field(description="how modalities are fused")
    tnet: list[int] = Field([], description="hidden widths of the T-Net")
    tnet_kind: PluginDescription = Field(
        PluginDescription(name="mlp", options={}), description="what the T-Net is; bundles of old do not say it"
    )
    start: Start = False


class CompletionDescription(Params):
    """A network that predicts from whatever modalities are there."""

    kind: Literal["completion"] = Field("completion", description="what the student is")
    model: PluginDescription = Field(description="the completion and its options")
    modalities: list[str] = Field(min_length=1, description="all modalities, in the order of their names")
    prevalent: list[str] = Field(min_length=1, description="those of them that are expected to be there")
    width: int = Field(ge=1, description="width of an embedding")
    tokens: int = Field(ge=1, description="embeddings in time that a sample gets")
    dim: int = Field(ge=1, description="width of the features before the head")
    hidden: list[int] = Field([], description="hidden widths of the T-Net, where it has one")
    tnet_kind: PluginDescription = Field(PluginDescription(name="mlp", options={}), description="what the T-Net is")


StudentDescription = Annotated[
    LinearDescription | PrevalentDescription | FusedDescription | CompletionDescription,
    Field(discriminator="kind"),
]


class NetworkDescription(Params):
    """A student with the encoders that belong to it."""

    student: StudentDescription = Field(description="what turns the prevalent embeddings, side by side, into logits")
    modalities: list[str] = Field(min_length=1, description="prevalent modalities in the order of their embeddings")
    encoders: dict[str, EmbedderDescription] = Field(
        {}, description="modality -> its encoder, where the student's weights hold it"
    )
