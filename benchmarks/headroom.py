"""What a teacher of signals can add to a student of faces in the stand-in for BioVid, from its curves alone.

Run with ``python benchmarks/headroom.py``: about 40 s a seed on one core. No picture is drawn: the face is the
facial actions that would be drawn, read with noise of 0.05, the signals are simple responses, and both are judged by
logistic regression, with folds over subjects, shares of labels and numbers of subjects as in ``config/biovid.yaml``.
Seeds are others than the one of that configuration. Each line is an accuracy on test subjects: its mean over the seeds,
and the lowest and the highest of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pkdot.experiment import load
from pkdot.simulation.biovid import FRAME_RATE, FRAMES, BiovidSimulation, draw_clips
from pkdot.simulation.pain import draw_traits
from pkdot.simulation.physiology import RATE, Body

CONFIG = Path(__file__).resolve().parents[1] / "config" / "biovid.yaml"
NOISE = 0.05  # with which facial actions are read
STEP = 8  # frames that are read as one
REST, ACTIVE = 1.6, 2.2  # seconds until which nothing has begun, and from which most has
MODEL = 0.03  # the inverse regularisation, for columns of deviation 1
FELT, STEEP = 0.4, 6.0  # the pain that is as likely to be PA4 as BL1, and how fast that changes with it

Model = Callable[[np.ndarray], np.ndarray]


def read_face(curves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how much each action changes from rest: mean, largest value, deviation; (actions, T) -> (3 * actions,)."""
    count = curves.shape[1] // STEP
    seen = curves[:, : count * STEP].reshape(len(curves), count, STEP).mean(axis=2)
    seen = seen + NOISE * rng.standard_normal(seen.shape)
    time = np.arange(count) * STEP / FRAME_RATE
    rest, active = seen[:, time < REST].mean(axis=1), seen[:, time >= ACTIVE]
    return np.concatenate([active.mean(axis=1) - rest, active.max(axis=1) - rest, active.std(axis=1)])


def read_signals(signals: np.ndarray) -> np.ndarray:
    """Return the responses of skin, heart and trapezius to what happens after about two seconds."""
    from scipy.signal import find_peaks

    skin, heart, muscle = signals[:, 0], signals[:, 1], signals[:, 2]
    rise = skin[1400:].max() - skin[1000:1400].min()
    beats, _ = find_peaks(heart, height=0.5 * heart.max(), distance=200)
    rate, middle = 60 * RATE / np.maximum(np.diff(beats), 1), (beats[1:] + beats[:-1]) / 2 / RATE
    usual = rate.mean() if len(rate) else 0.0
    before, after = (rate[part].mean() if part.any() else usual for part in (middle < 2.2, middle > 2.8))
    tension = np.log(muscle[:2560].reshape(10, 256).std(axis=1) + 1e-6)
    level = skin[1800:].mean() - skin[600:1300].mean()
    drift = skin[600:1200].mean() - skin[:400].mean()
    tense = [tension[5:].max() - tension[:4].mean(), tension[5:].mean() - tension[:4].mean(), np.ptp(tension[:4])]
    return np.array([np.log(abs(rise) + 0.01), level, drift, after - before, after, *tense])


def draw(params: BiovidSimulation) -> dict[str, np.ndarray]:
    """Draw all clips; return what is read of each, its label, its latent pain and its subject."""
    names: list[str] = []
    rows = []
    for number in range(params.subjects):
        rng = np.random.default_rng([params.seed, number])
        traits = draw_traits(rng, number + 1, params.stoics)
        body = Body(rng, traits)
        for clip in draw_clips(params, number, traits, body):
            names = sorted({*names, *clip.curves})
            rows.append((clip.curves, read_signals(clip.signals), clip.label != "BL1", clip.trial.pain, number))
    noise = np.random.default_rng(params.seed)
    rest = np.zeros(FRAMES)
    faces = [read_face(np.stack([row[0].get(name, rest) for name in names]), noise) for row in rows]
    columns = (np.array(column) for column in zip(*[row[1:] for row in rows], strict=True))
    return {"face": np.array(faces), **dict(zip(("signals", "label", "pain", "subject"), columns, strict=True))}


def fitted(features: np.ndarray, target: np.ndarray) -> Model:
    """Fit a logistic regression to labels or to soft labels in [0, 1]; return what predicts the probability of pain."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(features)
    twice = np.concatenate([scale.transform(features)] * 2)
    labels, weights = np.repeat([1, 0], len(features)), np.concatenate([target, 1 - target])
    model = LogisticRegression(C=MODEL, max_iter=500).fit(twice, labels, sample_weight=weights)
    return lambda other: model.predict_proba(scale.transform(other))[:, 1]


def folds(subjects: np.ndarray, seed: int, splits: dict) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the labelled, all training and the test samples of each fold."""
    rng = np.random.default_rng(seed)
    everyone = np.unique(subjects)
    for test in np.array_split(rng.permutation(everyone), splits["folds"]):
        rest = rng.permutation(np.setdiff1d(everyone, test))
        train = rest[round(splits["validation_fraction"] * len(rest)) :]
        labelled = train[: max(2, round(splits["labelled"] * len(train)))]
        yield tuple(np.isin(subjects, part) for part in (labelled, train, test))


def headroom(data: dict[str, np.ndarray], seed: int, splits: dict) -> dict[str, float]:
    """Return the accuracy of each model on test subjects, mean over folds."""
    face, signals, label = data["face"], data["signals"], data["label"].astype(float)
    both = np.concatenate([face, signals], axis=1)
    felt = 1 / (1 + np.exp(-STEEP * (data["pain"] - FELT)))
    found: dict[str, list[float]] = {}
    for few, train, test in folds(data["subject"], seed, splits):

        def score(name: str, view: np.ndarray, rows: np.ndarray, target: np.ndarray, test: np.ndarray = test) -> Model:
            model = fitted(view[rows], target[rows])
            found.setdefault(name, []).append(float(np.mean((model(view[test]) > 0.5) == label[test])))
            return model

        def taught(model: Model, view: np.ndarray, few: np.ndarray = few) -> np.ndarray:
            return np.where(few, label, model(view))

        base = score("face, few labels", face, few, label)
        score("face, its own soft labels", face, train, taught(base, face))
        teacher = score("teacher (both), few labels", both, few, label)
        score("face, soft labels of that teacher", face, train, taught(teacher, both))
        body = score("signals, few labels", signals, few, label)
        score("face, soft labels of these signals", face, train, taught(body, signals))
        score("face, the latent pain as teacher", face, train, taught(lambda _: felt, face))
        score("face, all labels", face, train, label)
        score("signals, all labels", signals, train, label)
        score("teacher (both), all labels", both, train, label)
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102])
    parser.add_argument(
        "options", nargs="*", metavar="KEY=VALUE", help="options of the simulation to change, before --seeds"
    )
    asked = parser.parse_args()
    experiment = load(CONFIG)
    splits = {name: getattr(experiment.splits, name) for name in ("validation_fraction", "labelled")}
    splits |= {"folds": experiment.splits.fold_count, "labelled": splits["labelled"] or 1.0}
    options = experiment.dataset.preparation().options | dict(option.split("=") for option in asked.options)
    results = []
    for seed in asked.seeds:
        data = draw(BiovidSimulation.model_validate({**options, "seed": seed}))
        results.append(headroom(data, seed, splits))
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"{name:36} {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
