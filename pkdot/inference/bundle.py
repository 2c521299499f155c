"""The bundle: one folder with a student that ships. What its student.json says, and how it is read and checked.

Nothing heavy is imported here: a server or an exported network reads the same description without torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from pkdot.answer import Answer
from pkdot.descriptions import EmbedderDescription, NetworkDescription, PluginDescription
from pkdot.errors import DataError
from pkdot.files import sha256, write_json
from pkdot.layout import CARD, STUDENT, WEIGHTS
from pkdot.params import Params, sentences

if TYPE_CHECKING:
    from pkdot.assembly import Ensemble

PREDICTING = (  # the code that makes features and predictions
    "features/*.py", "encoders/*.py", "fusion/*.py", "hallucination/*.py", "networks.py", "assembly.py", "answer.py",
    "recordings.py", "missing/*.py",
)  # fmt: skip
SCHEMA = 1  # version of student.json; a newer one is refused


class ModalityDescription(Params):
    """Where the arrays of a prevalent modality come from."""

    source: str = Field(description="the stream of the data set that it was trained on, such as video")
    feature: PluginDescription = Field(description="what turns raw files into arrays")
    shape: list[int] = Field(description="shape of the array of one sample")
    dtype: Literal["uint8", "float32"] = Field(description="type of the arrays")
    seconds: float | None = Field(description="length of a sample; null: a sample is a whole file, however long")
    shortest: float | None = Field(None, description="length of the shortest sample of the training; null: as seconds")
    rate: float | None = Field(description="rate of the recordings in Hz, where their files do not say it; else null")
    part: str | None = Field(None, description="the array or the columns of a file that holds more; null: all of it")


class BundleDescription(Params):
    """The content of student.json."""

    schema_version: int = Field(ge=1, description="version of this list of entries")
    experiment: str = Field(description="name of the experiment")
    title: str = Field(description="how reports call the data that it was trained on")
    simulated: bool = Field(description="whether those data are stand-ins, so that its predictions mean nothing")
    method: str = Field(description="the method that trained it")
    options: dict = Field(description="the options of the method")
    seeds: list[int] = Field(min_length=1, description="a network each; their predictions are averaged")
    answer: Answer = Field(description="what is predicted")
    units: dict[str, str] = Field(description="target -> its unit, where it has one")
    ranges: dict[str, tuple[float, float]] = Field(description="target -> smallest and largest value in training")
    modalities: dict[str, ModalityDescription] = Field(min_length=1, description="the prevalent modalities")
    encoders: dict[str, EmbedderDescription] = Field(description="modality -> the encoder that all networks share")
    network: NetworkDescription = Field(description="the network of every seed")
    temperature: float = Field(gt=0, description="what logits are divided by before they become probabilities")
    subjects: dict[str, int] = Field(
        description="number of subjects that it was trained on, and that chose when to stop"
    )
    unlabelled: int = Field(ge=0, description="samples without a label that took part in the training")
    weights_sha256: str = Field(description="SHA-256 of weights.safetensors")
    code: str = Field(description="hash of the code of features and networks that it was made with; empty: not known")
    versions: dict[str, str] = Field(description="versions of Python and of packages that made the bundle")


def takes_any(described: BundleDescription) -> bool:
    """Return whether a bundle predicts from whatever modalities it is given."""
    return described.network.student.kind == "completion"


def folder_of(path: Path | str) -> Path:
    """Return the folder of a bundle that is named by itself or by one of its files.

    Raises
    ------
    DataError
        There is no bundle.
    """
    path = Path(path)
    folder = path.parent if path.name in (STUDENT, WEIGHTS, CARD) else path
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Name the folder of a bundle, such as results/biovid/student.")
    if not (folder / STUDENT).is_file():
        raise DataError(
            f"{folder}: has no {STUDENT}, so it is no bundle. Name a folder such as results/biovid/student."
        )
    return folder


def read_bundle(path: Path | str, weights: bool = True) -> BundleDescription:
    """Read and check what a bundle says of itself.

    Parameters
    ----------
    path : Path or str
        Its folder, or its student.json.
    weights : bool
        Compare the weights with their hash too; False where they are not used, as by an exported network.

    Raises
    ------
    DataError
        A file is missing or damaged, or a newer version of pkdot wrote the bundle.
    """
    folder = folder_of(path)
    described = parse((folder / STUDENT).read_text(encoding="utf-8", errors="replace"), folder / STUDENT)
    if weights:
        _check_weights(folder / WEIGHTS, described.weights_sha256)
    return described


def parse(text: str, file: Path) -> BundleDescription:
    """Read the content of a student.json that stands in a file.

    Raises
    ------
    DataError
        It is none, or a newer version of pkdot wrote it.
    """
    try:
        values = json.loads(text)
        newer = int(values["schema_version"]) > SCHEMA
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file}: is not the description of a student. Copy or make the bundle again.") from error
    if newer:
        raise DataError(
            f"{file}: has schema {values['schema_version']}, but this version of pkdot reads up to {SCHEMA}. "
            "Install a newer pkdot."
        )
    try:
        return BundleDescription(**values)
    except ValidationError as error:
        raise DataError(f"{sentences(file, error, BundleDescription)} Copy or make the bundle again.") from error


def _check_weights(file: Path, expected: str) -> None:
    if not file.is_file():
        raise DataError(f"{file}: no such file. Copy the whole folder of the bundle.")
    if sha256(file) != expected:
        raise DataError(
            f"{file}: its content is not what {STUDENT} says; it was damaged or replaced. "
            "Copy or make the bundle again."
        )


def code_of() -> str:
    """Return a hash of the code of this package that makes features of raw files and predictions of features."""
    root = Path(__file__).parents[1]
    files = sorted(file for name in PREDICTING for file in root.glob(name))
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()[:16]


def other_code(described: BundleDescription, path: Path | str) -> str:
    """Return a sentence where the code that predicts is not the one that the bundle was made with; else nothing."""
    if described.code in ("", code_of()):
        return ""
    made = described.versions.get("pkdot", "another version")
    return (
        f"{path}: the code of its features or networks has changed since it was made (by pkdot {made}), so that "
        "predictions may differ from those that its card speaks of; make the bundle again, or use that version."
    )


def write_bundle(folder: Path, described: BundleDescription, network: Ensemble) -> None:
    """Write student.json and weights.safetensors of a student; its hash is filled in.

    Parameters
    ----------
    folder : Path
    described : BundleDescription
        All but the hash of the weights.
    network : Ensemble
        The network that it describes.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    hashed = described.model_copy(update={"weights_sha256": sha256(folder / WEIGHTS)})
    write_json(folder / STUDENT, hashed.plain())
