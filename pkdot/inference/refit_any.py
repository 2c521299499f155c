"""The bundle of the model that takes whatever modalities are there, trained on all subjects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from pkdot.answer import Answer
from pkdot.data import Samples
from pkdot.evaluation.metrics import label_of
from pkdot.evaluation.missing import MAIN
from pkdot.files import read_json, write_text
from pkdot.inference.bundle import write_bundle
from pkdot.inference.card import card_of
from pkdot.inference.gather import ensemble_of
from pkdot.inference.refit import Stream, describe
from pkdot.layout import ALL, CARD, NETWORK, WEIGHTS, trained
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.splits import Parts
from pkdot.tasks import Task, TaskParams

CASES = {
    "everything": "every modality is there",
    "no privileged": "the privileged ones are absent",
    "no prevalent": "the prevalent ones are absent",
    "nothing": "nothing is there",
}


class RefitAnyParams(Params):
    """What the bundle is made of."""

    experiment: str = Field(description="name of the experiment")
    options: dict[str, Any] = Field(description="options of the model")
    modalities: dict[str, Stream] = Field(description="all modalities")
    task: TaskParams = Field(description="what is predicted")
    seeds: list[int] = Field(min_length=1, description="seeds of its networks")


def refit_any(
    manifest: Path,
    splits: Path,
    embeddings: list[Path],
    networks: Path,
    missing: Path,
    out: Path,
    params: RefitAnyParams,
) -> None:
    """Write the bundle: ``student.json``, ``weights.safetensors`` and ``card.md``.

    Parameters
    ----------
    manifest, splits : Path
        The samples, and the subjects that train and that choose.
    embeddings : list of Path
        embeddings.npy of every modality, of the encoders of all subjects; their weights lie beside them.
    networks : Path
        What the stage ``completion`` wrote of all subjects; the networks lie below its folder.
    missing : Path
        missing.json: how good the model is on test subjects.
    out : Path
        The folder of the bundle.
    params : RefitAnyParams
        The model and its modalities.
    """
    encoders = {path.parent.name: path.parent for path in embeddings}
    folders = [trained(networks.parent, seed, MAIN) for seed in params.seeds]
    inputs = [manifest, splits, networks, missing]
    inputs += [folder / name for folder in (*encoders.values(), *folders) for name in (NETWORK, WEIGHTS)]
    with job(__name__, out, params, inputs=inputs) as scratch:
        samples, made = Samples.load(manifest), read_json(networks)
        temperature = made["temperatures"][MAIN] or 1.0
        network = ensemble_of(encoders, folders, Answer(**made["answer"]), temperature)
        parts = Parts.read(splits, ALL, samples)
        task = Task(params.task, samples)
        task.use_labels_of(parts)
        described = describe(
            samples,
            parts,
            task,
            network,
            params.modalities,
            experiment=params.experiment,
            method=MAIN,
            options=params.options,
            seeds=params.seeds[: len(network.students)],
            unlabelled=len(parts.unlabelled),
        )
        write_bundle(scratch, described, network)
        write_text(scratch / CARD, card_of(described, samples.about, {"How good it is": _figures(read_json(missing))}))


def _figures(numbers: dict[str, Any]) -> str:
    """Say how good the model is by what is there, on test subjects."""
    lines = []
    for case, words in CASES.items():
        row = next(row for row in numbers["left"][case]["rows"] if row["method"] == MAIN)
        lines.append(f"| {words} | {row['mean']:.3f} | {row['ci_low']:.3f} to {row['ci_high']:.3f} |")
    table = "\n".join(lines)
    return (
        "It predicts from any subset of its modalities, and gives the prior of its training part where there is none. "
        f"The {label_of(numbers['primary_metric'])} over {numbers['subjects']} test subjects of all folds, the mean of "
        f"single networks with a 95 % interval:\n\n| what is there | mean | interval |\n|---|---|---|\n{table}"
    )
