"""What a network is, in JSON: kinds, widths and options, from which ``pkdot.networks`` builds it again.

No teacher, method or data is needed for that, and nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pkdot.params import Params

Kind = Literal["hallucinating", "imputing", "prevalent", "linear"]


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


class StudentDescription(Params):
    """What turns the prevalent embeddings, side by side, into logits."""

    kind: Kind = Field(
        description="hallucinating (T-Net, fusion, head), imputing (zeros for privileged embeddings, fusion, head), "
        "prevalent (a perceptron and a head) or linear (a head alone)"
    )
    prevalent: int = Field(ge=1, description="width of a prevalent token, modalities side by side")
    privileged: int | None = Field(None, description="width of a privileged token, where there is fusion")
    dim: int | None = Field(None, description="width of the fused features, where there are such")
    hidden: int | None = Field(None, description="hidden width of the perceptron")
    fusion: PluginDescription | None = Field(None, description="how modalities are fused")
    tnet: list[int] | None = Field(None, description="hidden widths of the T-Net")
    start: bool = Field(False, description="whether a linear head over the prevalent embeddings is added to its own")


class NetworkDescription(Params):
    """A student with the encoders that belong to it."""

    student: StudentDescription = Field(description="the student")
    modalities: list[str] = Field(
        min_length=1, description="the prevalent modalities, in the order of their embeddings"
    )
    encoders: dict[str, EmbedderDescription] = Field(
        {}, description="modality -> its encoder, where the student's weights hold it"
    )
