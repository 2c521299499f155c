"""All people of a picture: each is followed through a span, and keeps a number from span to span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.features.detector import LIKENESS, SAME, Face, FaceFinder, Walk, choose, differs, look, overlap

MOST = 32  # people in a picture; in a larger crowd the largest faces are followed
MEMORY = 30.0  # seconds after which nobody is taken for somebody who left


@dataclass
class Person:
    """Somebody who has been seen.

    Attributes
    ----------
    times : ndarray, shape (frames,)
        Seconds of the frames of the last span in which the face was found.
    faces : list of Face
        The face in each of them.
    look : ndarray
        How it looked in the last one.
    """

    times: np.ndarray
    faces: list[Face]
    look: np.ndarray

    def nearness(self, later: Person) -> float:
        """Return how well the place of a face in a later span goes on from here; 0 where it does not.

        Where both spans show the same moments it is the mean overlap there. Where they do not, the face must lie
        within its own reach since it was last seen, and look alike.
        """
        shared = [
            (i, j) for i, time in enumerate(later.times) for j in np.flatnonzero(np.abs(self.times - time) < 1e-6)
        ]
        if shared:
            mean = float(np.mean([overlap(later.faces[i], self.faces[j]) for i, j in shared]))
            return 1 + mean if mean > SAME else 0.0
        place = int(np.abs(self.times - later.times[0]).argmin())
        last, first = self.faces[place], later.faces[0]
        away = float(np.linalg.norm(first.centre - last.centre)) / max(last.size, 1e-9)
        gap = abs(float(later.times[0] - self.times[place]))
        if away > 1 + gap or gap > MEMORY or differs(self.look, later.look, LIKENESS):
            return 0.0
        return 1 / (1 + away)


class People:
    """Tells who is who, from one span of a video to the next.

    Parameters
    ----------
    finder : FaceFinder
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._known: dict[int, Person] = {}
        self._count = 0

    def among(self, frames: list[np.ndarray | None], times: np.ndarray) -> dict[int, Walk]:
        """Follow everybody in the frames of a span.

        Parameters
        ----------
        frames : list of ndarray or None
        times : ndarray, shape (frames,)
            Their seconds in the video; no span starts before an earlier one.

        Returns
        -------
        dict
            Number of a person, from 1 in the order of first sight -> the face in every frame.
        """
        seen = [(walk, self._person(walk, frames, times)) for walk in self._walks(frames)]
        for number in [n for n, person in self._known.items() if times[0] - person.times[-1] > MEMORY]:
            del self._known[number]
        pairs = sorted(
            ((other.nearness(person), number, place) for number, other in self._known.items()
             for place, (_, person) in enumerate(seen)), key=lambda pair: (-pair[0], pair[1], pair[2]),
        )  # fmt: skip
        numbers: dict[int, int] = {}
        for nearness, number, place in pairs:
            if nearness > 0 and number not in numbers.values() and place not in numbers:
                numbers[place] = number
        for place, (_, person) in enumerate(seen):
            if place not in numbers:
                self._count += 1
                numbers[place] = self._count
            self._known[numbers[place]] = person
        return {numbers[place]: walk for place, (walk, _) in sorted(enumerate(seen), key=lambda item: numbers[item[0]])}

    def _walks(self, frames: list[np.ndarray | None]) -> list[Walk]:
        """Follow everybody who is seen in a few of the frames, the largest first."""
        searched, zoom = self._finder.search(frames)
        walks: list[Walk] = []
        for _ in range(MOST):
            start, face = choose(searched)
            if face is None:
                break
            searched = {n: [other for other in faces if overlap(other, face) <= SAME] for n, faces in searched.items()}
            walk = self._finder.walk(frames, start, face, zoom)
            if any(walk.faces) and not any(_same(walk, other) for other in walks):
                walks.append(walk)
        return walks

    def _person(self, walk: Walk, frames: list[np.ndarray | None], times: np.ndarray) -> Person:
        both = enumerate(zip(walk.faces, frames, strict=True))
        seen = [(number, face, frame) for number, (face, frame) in both if face is not None and frame is not None]
        there, faces, pictures = (list(column) for column in zip(*seen, strict=True))
        return Person(times[there], faces, look(pictures[-1], faces[-1]))


def _same(one: Walk, other: Walk) -> bool:
    """Return whether two walks follow one face: it lies in the same place in most frames that show both."""
    both = [(a, b) for a, b in zip(one.faces, other.faces, strict=True) if a is not None and b is not None]
    return bool(both) and float(np.mean([overlap(a, b) > SAME for a, b in both])) > 0.5
