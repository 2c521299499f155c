"""A student in use: from raw files to predictions, by the path that training and evaluation used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.errors import DataError
from pkdot.extras import advice
from pkdot.features.base import Extracted, Feature, FeatureChoice, Source, gaps_of, present_in, usable_in
from pkdot.inference.bundle import BundleDescription, ModalityDescription, folder_of, read_bundle, takes_any
from pkdot.inference.sources import Raw as File
from pkdot.inference.sources import Recording, one_of_several, part_of
from pkdot.inference.windows import Window, Windows
from pkdot.layout import WEIGHTS

if TYPE_CHECKING:
    import pandas as pd

    from pkdot.assembly import Ensemble

BATCH = 16  # samples at once, where a table of predictions is made
PRESENT = "present"  # name of the mask beside the arrays of modalities
Raw = Path | str | Source


class Student:
    """A trained student: feature, encoder, standardisation, T-Net, fusion, head, calibration; averaged over seeds.

    Attributes
    ----------
    description : BundleDescription
        All that student.json says.
    network : Ensemble
        From arrays to calibrated probabilities or values, by torch.
    """

    def __init__(self, description: BundleDescription, network: Ensemble, device: str = "cpu") -> None:
        self.description, self.device = description, device
        self.network = network.to(device)

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> Student:
        """Load a bundle; neither the data nor the workflow's packages are needed.

        Parameters
        ----------
        path : Path or str
            The folder of the bundle, such as ``results/biovid/student``, or its student.json.
        device : str
            Where the networks run, as torch calls it: cpu, or cuda.

        Raises
        ------
        DataError
            A file is missing, is not what its hash says, or was written by a newer version; or a package is missing.
        """
        from safetensors.torch import load_file

        from pkdot.assembly import build_ensemble

        described = read_bundle(path)
        weights = folder_of(path) / WEIGHTS
        try:
            network = build_ensemble(
                described.encoders, described.network, len(described.seeds), described.answer, described.temperature
            )
        except ModuleNotFoundError as error:
            raise DataError(f"{path}: {advice(error) or error}") from error
        try:
            network.load_state_dict(load_file(weights))
        except RuntimeError as error:
            raise DataError(f"{weights}: does not fit the network of student.json. Make the bundle again.") from error
        return cls(described, network, device)

    @property
    def modalities(self) -> list[str]:
        """Names of the prevalent modalities."""
        return list(self.description.modalities)

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes in the order of the probabilities; None where values are predicted."""
        return self.description.answer.classes

    @property
    def targets(self) -> list[str]:
        """Names of what is predicted, in the order of the values."""
        return self.description.answer.targets

    @property
    def frames(self) -> int:
        """Frames of a sample, each of which gets values; 1 where classes, or values of whole samples, are predicted."""
        if not self.description.answer.sequence:
            return 1
        return self.tokens * self.description.answer.frames

    @property
    def seconds(self) -> float | None:
        """Length of a sample; None where a sample is a whole file."""
        lengths = [one.seconds for one in self.description.modalities.values() if one.seconds is not None]
        return max(lengths, default=None)

    @property
    def shortest(self) -> float | None:
        """Length of the shortest sample of the training; None where it is not known."""
        lengths = [one.shortest for one in self.description.modalities.values() if one.shortest is not None]
        return max(lengths, default=None)

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Modality -> what turns its raw files into arrays; made once, at the first use."""
        return {name: _feature(one) for name, one in self.description.modalities.items()}

    def sources(
        self, raw: Raw | Mapping[str, Raw], start: float | None = None, rate: float | None = None
    ) -> dict[str, Source]:
        """Return where the raw data of one sample lie, by modality.

        Parameters
        ----------
        raw : path, Source, or a dictionary of them
            The file of each modality; a single one serves all modalities, as the picture and the sound of one video.
            A student that takes any modalities can do without some.
        start : float, optional
            Seconds into the file at which the sample starts; 0 by default. It ends a sample's length later, or with
            the file where samples have no fixed length.
        rate : float, optional
            Rate of a recording in Hz, where the file does not say it; by default that of the training data.

        Raises
        ------
        DataError
            A modality has no file, or there is a name that is none of a modality.
        """
        given = raw if isinstance(raw, Mapping) else dict.fromkeys(self.modalities, raw)
        if not isinstance(raw, Mapping):
            path = raw.path if isinstance(raw, Source) else Path(raw)
            if problem := one_of_several(self.description.modalities, path):
                raise DataError(problem)
        self._named(given)
        if not given:
            raise DataError(
                f"the student takes {' and '.join(self.modalities)}; '{self.modalities[0]}' is missing or unknown."
            )
        return {
            name: one if isinstance(one := given[name], Source) else _source(described, one, start, rate)
            for name, described in self.description.modalities.items()
            if name in given
        }

    def _named(self, given: Mapping[str, Any]) -> None:
        """Refuse names that are none of a modality, and the lack of a modality that the student needs."""
        unknown, lacking = set(given) - set(self.modalities), set(self.modalities) - set(given)
        if wrong := sorted(unknown if self.takes_any else unknown | lacking):
            raise DataError(f"the student takes {' and '.join(self.modalities)}; '{wrong[0]}' is missing or unknown.")

    def extract(self, sources: Mapping[str, Source]) -> dict[str, Extracted]:
        """Return the arrays of one sample by modality, with masks of what is present in time.

        Raises
        ------
        DataError
            The sample cannot be used; the message is the reason.
        """
        return {name: feature.extract(sources[name]) for name, feature in self.features.items() if name in sources}

    @property
    def takes_any(self) -> bool:
        """Whether it predicts from whatever modalities it is given."""
        return takes_any(self.description)

    def predict_each(
        self, samples: Sequence[Mapping[str, np.ndarray]], gaps: Sequence[Mapping[str, list[float]]] | None = None
    ) -> np.ndarray:
        """Predict samples whose arrays come apart, without those of modalities that are absent where it may be.

        Parameters
        ----------
        samples : sequence of dict of str to ndarray
            Modality -> array of one sample.
        gaps : sequence of dict of str to list of float, optional
            Modality -> where the sample's time was filled in, as ``gaps_of`` says; tokens that were filled in for the
            most part are absent.

        Raises
        ------
        DataError
            There is no sample, one has a modality that is unknown, or lacks one that is needed.
        """
        for one in samples:
            self._named(one)
        if not samples:
            raise DataError("there is no sample to predict")
        arrays = {
            name: np.stack([one.get(name, np.zeros(said.shape, said.dtype)) for one in samples])
            for name, said in self.description.modalities.items()
        }
        filled, order = gaps or [{}] * len(samples), self.description.network.modalities
        present_of = present_in if self.takes_any else usable_in
        present = [
            [present_of(gap.get(name, []) if name in one else [0.0, 1.0], self.tokens) for name in order]
            for one, gap in zip(samples, filled, strict=True)
        ]
        return self.predict_arrays(arrays, np.array(present))

    @property
    def takes_mask(self) -> bool:
        """Whether a part of a sample can be absent: it has several tokens, or some of the modalities are enough."""
        return self.takes_any or self.tokens > 1

    @property
    def tokens(self) -> int:
        """Tokens in time of a sample."""
        encoders = {**self.description.encoders, **self.description.network.encoders}
        return next(iter(encoders.values())).tokens

    def windows(self, every: float | None = None, everyone: bool = False) -> Windows:
        """Return what cuts recordings into its samples; see `Windows`."""
        tokens = self.tokens if self.takes_any else None
        return Windows(self.features, self.seconds, every, everyone, self.shortest, tokens)

    def predict_arrays(self, arrays: Mapping[str, np.ndarray], present: np.ndarray | None = None) -> np.ndarray:
        """Predict from batches of arrays as ``extract`` returns them.

        Parameters
        ----------
        arrays : dict of str to ndarray
            Modality -> arrays, shape (B, *shape), in the dtype of the feature.
        present : ndarray of bool, shape (B, modalities, tokens), optional
            What is there: everything by default.

        Returns
        -------
        ndarray, shape (B, classes) or (B, frames, targets)
            Calibrated probabilities of the classes, or values of every frame.

        Raises
        ------
        DataError
            A modality is missing, or arrays have another shape.
        """
        import torch

        batch = {
            name: torch.from_numpy(values).to(self.device) for name, values in self.inputs(arrays, present).items()
        }
        mask = batch.pop(PRESENT, None)
        with torch.inference_mode():
            return self.network(batch, mask).float().cpu().numpy()

    def inputs(self, arrays: Mapping[str, np.ndarray], present: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return what the network takes, by name: arrays of the modalities, then the mask ``present`` if it takes one.

        Raises
        ------
        DataError
            A modality is missing, or arrays or the mask have another shape.
        """
        batch = self.batch(arrays)
        shape = len(next(iter(batch.values()))), len(self.description.network.modalities), self.tokens
        mask = np.ones(shape, dtype=bool) if present is None else np.asarray(present)
        if mask.shape != shape or mask.dtype != bool:
            raise DataError(f"{PRESENT} holds {mask.dtype} of shape {mask.shape}, not bool of shape {shape}")
        return {**batch, PRESENT: mask} if self.takes_mask else batch

    def batch(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return arrays in the order and the types that the network takes.

        Raises
        ------
        DataError
            A modality is missing, or arrays have another shape.
        """
        batch = {}
        for name, described in self.description.modalities.items():
            if name not in arrays:
                raise DataError(f"the student takes {' and '.join(self.modalities)}, but '{name}' is missing.")
            values = np.ascontiguousarray(arrays[name], dtype=described.dtype)
            if values.shape[1:] != tuple(described.shape):
                raise DataError(f"arrays of '{name}' have shape {values.shape}, not (batch, {described.shape})")
            batch[name] = values
        if len(counts := {len(values) for values in batch.values()}) > 1:
            raise DataError(f"arrays of {' and '.join(batch)} are of {' and '.join(map(str, sorted(counts)))} samples")
        return batch

    def predict(
        self, raw: Raw | Mapping[str, Raw], every: float | None = None, rate: float | None = None
    ) -> pd.DataFrame:
        """Predict a file from its start to its end; it is read once, and the network gets several samples at once.

        Parameters
        ----------
        raw : path, Source, or a dictionary of them
            As in ``sources``; a ``Source`` is one sample.
        every : float, optional
            Seconds from the start of a sample to that of the next; a sample's length by default.
        rate : float, optional
            Rate of a recording in Hz, where the file does not say it.

        Returns
        -------
        DataFrame
            A row a sample, or a row a frame where values are predicted: ``start`` and ``stop`` in seconds, then the
            columns of ``table``, ``present`` (the modalities that there were, where some are enough), and ``note``:
            what was masked, or why there is no prediction.

        Raises
        ------
        DataError
            The file cannot be read, or no sample of it can be used.
        """
        import pandas as pd

        samples = self._samples(raw, every, rate)
        shape = (len(self.classes),) if self.classes else (self.frames, len(self.targets))
        tables, notes, count = [], [], 0
        while chosen := list(islice(samples, BATCH)):
            there = np.array([bool(one.arrays) for one in chosen])
            usable = [one for one in chosen if one.arrays]
            predicted = np.full((len(chosen), *shape), np.nan, dtype=np.float32)
            if usable:
                predicted[there] = self.predict_each([one.arrays for one in usable], [one.gaps for one in usable])
            tables.append(self._about(self.table(predicted), chosen))
            notes += [one.note for one in chosen if not one.arrays]
            count += len(usable)
        if not count:
            raise DataError(notes[0])
        return pd.concat(tables, ignore_index=True)

    def table(self, predicted: np.ndarray) -> pd.DataFrame:
        """Return what ``predict_arrays`` returned as a table.

        Returns
        -------
        DataFrame
            For classes a row a sample: ``prediction``, ``confidence`` (the largest probability), and ``p_<class>``.
            For values a column a target; where every frame has some, a row a frame, with its number as ``frame``.
        """
        import pandas as pd

        if self.classes is None:
            values = predicted.reshape(-1, len(self.targets))
            table = pd.DataFrame({name: values[:, i] for i, name in enumerate(self.targets)})
            if self.description.answer.sequence:
                table.insert(0, "frame", np.tile(np.arange(predicted.shape[1]), len(predicted)))
            return table
        confidence = predicted.max(axis=1)
        best = np.array(self.classes, dtype=object)[predicted.argmax(axis=1)]
        columns = {"prediction": np.where(np.isnan(confidence), None, best), "confidence": confidence}
        return pd.DataFrame({**columns, **{f"p_{name}": predicted[:, i] for i, name in enumerate(self.classes)}})

    def _samples(self, raw: Raw | Mapping[str, Raw], every: float | None, rate: float | None) -> Iterator[Window]:
        """Yield the samples of a file with their arrays; the file is read once."""
        sources = self.sources(raw, None, rate)
        first = next(iter(sources.values()))
        recording = Recording(
            first.sample_id, {name: File(one.path, one.part, one.rate) for name, one in sources.items()}
        )
        given = raw.values() if isinstance(raw, Mapping) else [raw]
        if any(isinstance(one, Source) for one in given):
            found = self.extract(sources)
            arrays = {name: got.array for name, got in found.items()}
            gaps = {name: gaps_of(got.mask) for name, got in found.items() if got.mask is not None}
            if self.takes_any:
                arrays = {
                    name: one for name, one in arrays.items() if present_in(gaps.get(name, []), self.tokens).any()
                }
            note = "; ".join(dict.fromkeys(got.note for got in found.values() if got.note))
            yield Window(recording, first.start, first.stop, arrays=arrays, gaps=gaps, note=note)
        else:
            yield from self.windows(every).of(recording)

    def _about(self, table: pd.DataFrame, samples: list[Window]) -> pd.DataFrame:
        """Put the times of samples, or of their frames, before their predictions, and behind them what was there."""
        start = np.array([0.0 if one.start is None else one.start for one in samples])
        stop = np.array([np.nan if one.stop is None else one.stop for one in samples])
        if self.classes is None:
            step = (stop - start)[:, None] / self.frames
            begin = start[:, None] + np.arange(self.frames) * step
            start, stop = begin.ravel(), (begin + step).ravel()
        table.insert(0, "start", start)
        table.insert(1, "stop", stop)
        said = {"present": ["+".join(sorted(one.arrays)) for one in samples]} if self.takes_any else {}
        said["note"] = [one.note for one in samples]
        count = len(table) // len(samples)
        return table.assign(**{name: np.repeat(each, count) for name, each in said.items() if name not in table})


def _feature(described: ModalityDescription) -> Feature:
    cls, options = FeatureChoice(name=described.feature.name, options=described.feature.options).load()
    return cls(options)


def _source(described: ModalityDescription, raw: Path | str, start: float | None, rate: float | None) -> Source:
    begin = start if start is not None or described.seconds is None else 0.0
    stop = None if begin is None or described.seconds is None else begin + described.seconds
    path = Path(raw)
    return Source(str(raw), path, begin, stop, rate or described.rate, None, part_of(described, path))
