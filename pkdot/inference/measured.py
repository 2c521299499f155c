"""How well students do on the samples of their own experiment, where its data are at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pkdot.layout import Layout

if TYPE_CHECKING:
    from pkdot.inference.student import Student

BATCH = 64


def primary_metric(students: list[Student]) -> tuple[str, list[float], int] | None:
    """Return the primary metric of students of one experiment on all its labelled samples.

    Most of them have trained the students, so that only differences between students tell something.

    Returns
    -------
    str
        The metric, in words.
    list of float
        Its value for each student.
    int
        Number of samples.

    None where the processed data of the experiment do not lie in the working folder, or are others by now.
    """
    from pkdot.data import Features, Samples, present_tokens
    from pkdot.evaluation.metrics import Metrics, label_of, metric_names
    from pkdot.tasks import Task, TaskParams
    from pkdot.training.predictions import IDS, class_table, frame_table

    said = students[0].description
    files = Layout.of(said.experiment)
    if not files.manifest.is_file() or not all(files.index(name).is_file() for name in said.modalities):
        return None
    samples = Samples.load(files.manifest)
    answer = said.answer
    task = Task(TaskParams(kind=answer.kind, loss="mse" if answer.regression else "cross_entropy"), samples)
    features = {name: Features(files.arrays(name), samples) for name in said.modalities}
    same = all(features[name].shape == tuple(one.shape) for name, one in said.modalities.items())
    if not same or task.names != answer.targets or task.classes != (answer.classes or []):
        return None
    rows = np.flatnonzero(np.logical_and.reduce([samples.labelled, *(one.valid for one in features.values())]))
    ids = samples.table.iloc[rows][IDS].reset_index(drop=True).assign(fold=0)
    name = metric_names(answer.kind, answer.targets)[0]
    values = []
    for student in students:
        parts = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
        order = student.description.network.modalities
        present = np.stack([present_tokens(files.index(key), samples, student.tokens) for key in order], axis=1)
        predicted = np.concatenate(
            [student.predict_arrays({key: one[part] for key, one in features.items()}, present[part]) for part in parts]
        )
        if answer.regression:
            table = frame_table(ids, predicted, task.values[rows], answer.targets)
        else:
            table = class_table(ids, predicted, task.targets[rows], task.classes)
        subjects = sorted(ids["subject_id"].unique())
        values.append(Metrics(table, subjects, answer.kind, answer.classes).all()[name])
    return label_of(name), values, len(rows)
