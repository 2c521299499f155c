"""How well the encoders do on subjects whom they were trained on, and on others."""

from __future__ import annotations

from typing import Any

from pkdot.reporting.formatting import number
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

GAP = 0.1  # of a score between 0 and 1, or of the range of levels


def content(results: Results) -> dict[str, Any]:
    """Return the scores of each modality's encoders, mean over folds."""
    rows = [_row(results, modality) for modality in results.experiment.modalities]
    return {"rows": rows, "warnings": [_warning(row) for row in rows if row["wide"]]}


def _row(results: Results, modality: str) -> dict[str, Any]:
    classes = results.samples.classes or []
    limit = GAP * (len(classes) - 1) if results.experiment.task.kind == "ordinal" else GAP
    scores = results.encoder_scores(modality)
    train, validation = (float(scores[part].mean()) for part in ("train", "validation"))
    return {"modality": modality, "train": train, "validation": validation, "wide": train - validation > limit}


def _warning(row: dict[str, Any]) -> str:
    return (
        f"The encoder of {row['modality']} scores {number(row['train'])} on its training subjects and "
        f"{number(row['validation'])} on validation subjects. Teacher and students learn from embeddings of people "
        "that the encoder was trained on, which are easier than those of new people."
    )


ENCODERS = Section("encoders", link="Encoders", title="Encoders", content=content)
