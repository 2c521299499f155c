"""The stage of one cell of the study of labels on one fold: every training of the contest in one process.

It runs the stages of the contest with the labels of the cell, and keeps what methods predicted and what they chose.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from pkdot import layout
from pkdot.data import Samples, feature_files
from pkdot.evaluation.fold import FoldParams, evaluate_fold
from pkdot.files import read_json, write_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.splits import Parts, SplitParams, make_splits
from pkdot.training.encoder import EncoderParams, train_encoder
from pkdot.training.student import StudentParams, train_students
from pkdot.training.teacher import TeacherParams, train_teachers


class CellParams(Params):
    """Parameters of a cell of the study of labels on one fold."""

    splits: SplitParams = Field(description="the folds of the contest, with the labels of the cell")
    encoders: list[EncoderParams] = Field(min_length=1, description="the encoder of each modality")
    teachers: dict[str, TeacherParams] = Field(description="teachers of each arm; the contest's arm has an empty name")
    students: list[StudentParams] = Field(min_length=1, description="the methods and their control arms")
    arms: dict[str, str] = Field(description="the arm whose teachers each of them has")
    fold: FoldParams = Field(description="what is scored")


def train_cell(manifest: Path, features: list[Path], out: Path, params: CellParams) -> None:
    """Write ``fold_<k>.json`` and ``fold_<k>.predictions.parquet``, as the stage of a fold does.

    The first also has ``choices`` (of each method, as in ``<method>.json`` of the contest), ``labels`` (how many
    samples train with a label, how many of these with a wrong one, how many without, and how many make the choices)
    and ``teachers`` (the metrics of the contest's arm). Nothing else is kept.

    Parameters
    ----------
    manifest : Path
        The manifest.
    features : list of Path
        ``index.parquet`` of each modality.
    out : Path
        The folder of the cell.
    params : CellParams
        The trainings.
    """
    name = layout.fold_name(params.fold.fold)
    inputs = [manifest, *(file for path in features for file in feature_files(path.parent))]
    with job(__name__, out, params, inputs=inputs, record=name) as scratch:
        work = scratch / "work"
        described = _train(manifest, {path.parent.name: path.parent for path in features}, work, params)
        folds = work / "folds"
        write_json(scratch / f"{name}.json", {**read_json(folds / f"{name}.json"), **described})
        shutil.move(folds / f"{name}.{layout.PREDICTIONS}", scratch)
        shutil.rmtree(work)


def _train(manifest: Path, features: dict[str, Path], work: Path, params: CellParams) -> dict:
    """Run the stages of the contest in a folder, and return what is said of the cell beside its metrics."""
    make_splits(manifest, work, params.splits)
    splits = work / layout.SPLITS
    for encoder in params.encoders:
        folder = work / "encoders" / encoder.modality
        train_encoder(manifest, splits, features[encoder.modality], folder, encoder)
    embeddings = [work / "encoders" / encoder.modality / layout.EMBEDDINGS for encoder in params.encoders]
    for arm, teachers in params.teachers.items():
        train_teachers(manifest, splits, embeddings, work / f"{arm}teachers", teachers)
    students = work / "students"
    for each in params.students:
        own_teachers = work / f"{params.arms[each.label]}teachers"
        train_students(manifest, splits, embeddings, own_teachers, students, each)
    evaluate_fold(manifest, work / "teachers", students, work / "foreign", work / "folds", params.fold)
    parts = Parts.read(splits, params.fold.fold, Samples.load(manifest))
    return {
        "choices": {each.label: read_json(students / layout.choice_name(each.label)) for each in params.students},
        "labels": {
            "labelled": len(parts.train),
            "wrong": len(parts.wrong),
            "unlabelled": len(parts.unlabelled),
            "validation": len(parts.validation),
        },
        "teachers": read_json(work / "teachers" / layout.TEACHERS),
    }
