"""The subject's face in a sequence of frames: CenterFace, followed from frame to frame.

A few frames are searched as a whole, made small, to tell who the subject is. Landmarks come from a window about the
face: its 64 pixels place them as well as 640 pixels of the whole frame, at a fortieth of the cost. The network looks at
every other frame; it looks at the one between only where the mean of its neighbours' landmarks does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pkdot.features.alignment import align, is_believable
from pkdot.features.centerface import CenterFace, overlaps

SEARCHES = 3  # frames that are searched as a whole to tell who the subject is
ENOUGH = 16  # pixels of a face that is surely found
CLOSER = 4  # times the usual size, where a search at that size found nobody
SIZES = 1.7  # ratio of sizes between which a face that was lost may return
PLACE = 24  # pixels of the aligned crop by which people are told apart
CUT = 14.0  # mean change of a frame, of 255, that a cut makes and a movement does not
LIKENESS = (
    4.0,
    0.25,
)  # colour and structure by which a face may differ after a cut or a loss: the 99 % quantile of one
CHANGE = (10.0, 0.4)  # person's faces under one light; and how far both may change from one frame to the next
ALIKE = 1.3  # colour by which a face may differ from the mean of its neighbours, to lie in the middle between them
SAME = 0.2  # overlap (intersection over union) of one person's face in different frames
WINDOW = 1.8  # side of the window, in sides of the face
WINDOW_PIXELS = 64


@dataclass(frozen=True)
class Face:
    """One face in one frame, in pixels of the frame.

    Attributes
    ----------
    box : ndarray, shape (4,)
        Left, top, right, bottom.
    landmarks : ndarray, shape (5, 2)
        x and y of both eyes, the nose and both corners of the mouth; what is left in the image comes first.
    """

    box: np.ndarray
    landmarks: np.ndarray

    @property
    def size(self) -> float:
        """Geometric mean of width and height."""
        return float(np.sqrt(np.prod(np.maximum(self.box[2:] - self.box[:2], 0))))

    @property
    def centre(self) -> np.ndarray:
        return (self.box[:2] + self.box[2:]) / 2


@dataclass
class Walk:
    """One person's face, followed through the frames of a sample.

    Attributes
    ----------
    faces : list of Face or None
        One for each frame; None where it is not found.
    strangers : int
        Frames in which another person was where this one should be.
    cut_off : int
        Frames in which much of the face lay outside, or its landmarks did not lie as a face's do.
    """

    faces: list[Face | None]
    strangers: int = 0
    cut_off: int = 0


@dataclass
class _Track:
    """A person who is followed one way.

    Attributes
    ----------
    last : Face
        The face in the last frame that showed it.
    look : ndarray
        How it looked there.
    view : ndarray
        The last frame, very small.
    lost : int
        Frames without the face since then; a cut counts as one.
    """

    last: Face
    look: np.ndarray
    view: np.ndarray
    lost: int = 0

    def look_of(self, frame: np.ndarray, face: Face, cut: bool = False) -> np.ndarray | None:
        """Return how the face of this person looks in a frame; None where the face is cut off, or another's."""
        if not is_believable(face.landmarks, *frame.shape[1::-1]):
            return None
        seen = look(frame, face)
        return None if differs(seen, self.look, LIKENESS if self.lost or cut else CHANGE) else seen

    def take(self, frame: np.ndarray, face: Face | None, walked: Walk) -> Face | None:
        """Return a face that was found where it is this person's, and go on from it; count why it is not."""
        seen = self.look_of(frame, face) if face else None
        if face and seen is not None:
            self.last, self.look, self.lost = face, seen, 0
            return face
        self.lost += 1
        if face and is_believable(face.landmarks, *frame.shape[1::-1]):
            walked.strangers += 1
        elif face:
            walked.cut_off += 1
        return None


def midway(one: Face, other: Face) -> Face:
    """Return the face in the middle between two others."""
    return Face((one.box + other.box) / 2, (one.landmarks + other.landmarks) / 2)


def overlap(one: Face, other: Face) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    return float(overlaps(one.box, other.box[None])[0])


class FaceFinder:
    """Finds the subject's face in the frames of one sample after the other.

    Parameters
    ----------
    pixels : int
        Length of a frame's longer side where all of it is searched: a face must then have some 8 pixels.
    """

    def __init__(self, pixels: int) -> None:
        cv2.setNumThreads(1)  # jobs run side by side, one a core
        self.pixels = pixels
        self._whole, self._window = CenterFace(), CenterFace()  # each is fast where its size does not change

    def everywhere(self, frame: np.ndarray, zoom: float = 1) -> list[Face]:
        """Return all faces in a frame (height, width, 3), RGB, searched at ``zoom`` times the usual size."""
        height, width = frame.shape[:2]
        scale = zoom * self.pixels / max(height, width)
        found = self._whole.find(frame, round(width * scale), round(height * scale))
        return [Face(box, points) for box, points in zip(*found, strict=True)]

    def near(self, frame: np.ndarray, last: Face) -> Face | None:
        """Return the face that overlaps most with where it was last, within a window about that place."""
        side = max(int(WINDOW * last.size), 16)
        corner = np.round(last.centre - side / 2).astype(int)
        begin, end = np.maximum(corner, 0), np.minimum(corner + side, frame.shape[1::-1])
        patch = np.zeros((side, side, 3), np.uint8)
        if (end <= begin).any():
            return None
        (left, top), (right, bottom) = begin - corner, end - corner
        patch[top:bottom, left:right] = frame[begin[1] : end[1], begin[0] : end[0]]
        boxes, landmarks = self._window.find(patch, WINDOW_PIXELS, WINDOW_PIXELS)
        same = overlaps(last.box, boxes + np.tile(corner, 2))
        if not len(same) or same.max() <= SAME:
            return None
        best = int(same.argmax())
        return Face(boxes[best] + np.tile(corner, 2), landmarks[best] + corner)

    def follow(self, frames: list[np.ndarray | None]) -> Walk:
        """Follow the subject's face through frames.

        The subject is who is large and there most of the time.
        """
        searched, zoom = self.search(frames, everyone=False)
        start, subject = choose(searched)
        return self.walk(frames, start, subject, zoom) if subject else Walk([None] * len(frames))

    def search(self, frames: list[np.ndarray | None], everyone: bool = True) -> tuple[dict[int, list[Face]], int]:
        """Return the faces of a few frames, or of more and closer looks until there is one; and how close it was.

        Two frames that show one and the same person alone are enough where not ``everyone`` is wanted.
        """
        present = {number: frame for number, frame in enumerate(frames) if frame is not None}
        searched: dict[int, list[Face]] = {}
        for zoom, numbers in ((1, _spread([*present])), (CLOSER, _spread([*present])), (1, [*present])):
            searched = {}
            for number in numbers:
                if not everyone and len(searched) == 1 and len(alone := next(iter(searched.values()))) == 1:
                    searched[number] = self._again(present[number], alone[0], zoom)
                else:
                    searched[number] = self.everywhere(present[number], zoom)
                if not everyone and _one_person([*searched.values()]):
                    break
            if any(searched.values()):
                break
        return searched, zoom

    def _again(self, frame: np.ndarray, alone: Face, zoom: float) -> list[Face]:
        """Return the faces of a second frame, after one that shows a face alone.

        Who is larger is found by a look from so far off that this face has just enough pixels; it is enough where it
        shows this face alone again.
        """
        pixels = zoom * alone.size * self.pixels / max(frame.shape[:2])
        faces = self.everywhere(frame, zoom * min(1.0, ENOUGH / max(pixels, 1.0)))
        return faces if _one_person([[alone], faces]) else self.everywhere(frame, zoom)

    def walk(self, frames: list[np.ndarray | None], start: int, person: Face, zoom: int) -> Walk:
        """Follow a person both ways from the frame in which the face was found, by a search as close as ``zoom``."""
        walked = Walk([None] * len(frames))
        present = {number: frame for number, frame in enumerate(frames) if frame is not None}
        first = present[start]
        person = self.near(first, person) or person
        view, looks = thumbnail(first), look(first, person)
        onward, backward = _Track(person, looks, view), _Track(person, looks, view)
        walked.faces[start] = onward.take(first, person, walked)
        after = [number for number in present if number > start]
        before = [number for number in reversed(present) if number < start]
        for numbers, track in ((after, onward), (before, backward)):
            while numbers:
                faces = self._two(present[numbers[0]], present[numbers[1]], track) if len(numbers) > 1 else []
                found = faces or [self._one(present[numbers[0]], track, zoom, walked)]
                for number, face in zip(numbers, found, strict=False):
                    walked.faces[number] = face
                numbers = numbers[len(found) :]
        return walked

    def _one(self, frame: np.ndarray, track: _Track, zoom: int, walked: Walk) -> Face | None:
        """Return a person's face in the next frame; count why it is none."""
        view = thumbnail(frame)
        track.lost += is_cut(track.view, view)  # after a cut the place alone tells nothing
        track.view = view
        return track.take(frame, self._next(frame, track.last, track.lost, zoom), walked)

    def _two(self, middle: np.ndarray, far: np.ndarray, track: _Track) -> Sequence[Face | None]:
        """Return a person's face in the next two frames; nothing where it takes a closer look at each of them."""
        views = [track.view, thumbnail(middle), thumbnail(far)]
        cut = is_cut(*views[:2]) or is_cut(*views[1:])
        face = None if track.lost else self.near(far, track.last)
        if face is None or (seen := track.look_of(far, face, cut)) is None:
            return []
        between = midway(track.last, face)
        if np.abs(look(middle, between) - (track.look + seen) / 2).mean() > ALIKE:
            closer = self.near(middle, between)
            if closer is None or track.look_of(middle, closer, cut) is None:
                return []
            between = closer
        track.last, track.look, track.view = face, seen, views[2]
        return [between, face]

    def _next(self, frame: np.ndarray, last: Face, lost: int, zoom: int) -> Face | None:
        """Return the face where the subject was last, or else one of its size within its reach since then."""
        if face := self.near(frame, last):
            return face
        reach = last.size * (1 + lost)
        faces = sorted(self.everywhere(frame, zoom), key=lambda face: np.linalg.norm(face.centre - last.centre))
        faces = [face for face in faces if last.size / SIZES < face.size < last.size * SIZES]
        if not faces or np.linalg.norm(faces[0].centre - last.centre) > reach:
            return None
        return self.near(frame, faces[0]) or faces[0]


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Return a frame made very small (16, 16, 3), by which a cut shows."""
    step = max(1, min(frame.shape[:2]) // 32)
    return cv2.resize(frame[::step, ::step], (16, 16), interpolation=cv2.INTER_AREA).astype(float)


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether there is a cut between two frames, made very small."""
    return float(np.abs(after - before).mean()) > CUT


def look(frame: np.ndarray, face: Face) -> np.ndarray:
    """Return the inner part of a face in CIE Lab, coarse (12, 12, 3), by which two people differ."""
    crop = align(frame, face.landmarks, PLACE)[2:22, 4:20]
    small = cv2.resize(crop, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cv2.cvtColor(small, cv2.COLOR_RGB2Lab).astype(float)


def differs(one: np.ndarray, other: np.ndarray, limits: tuple[float, float]) -> bool:
    """Return whether two looks are those of different people.

    Parameters
    ----------
    one, other : ndarray, shape (12, 12, 3)
    limits : tuple of float
        Mean difference in Lab, and 1 - correlation, that both must be exceeded.
    """
    centred, against = one - one.mean(axis=(0, 1)), other - other.mean(axis=(0, 1))
    size = np.sqrt((centred**2).sum() * (against**2).sum())
    structure = 1 - float((centred * against).sum()) / max(float(size), 1e-9)
    return float(np.abs(one - other).mean()) > limits[0] and structure > limits[1]


def choose(searched: dict[int, list[Face]]) -> tuple[int, Face | None]:
    """Return who the subject is: the face with the largest area, summed over the searched frames in which it stays.

    Parameters
    ----------
    searched : dict
        Number of a frame -> all faces in it.

    Returns
    -------
    int, Face or None
        The frame in which the subject is largest, and its face there; None where no frame has a face.
    """
    best, frame, subject = 0.0, -1, None
    for number, faces in searched.items():
        for face in faces:
            same = [[other.size**2 for other in faces if overlap(face, other) > SAME] for faces in searched.values()]
            weight = sum(max(areas, default=0.0) for areas in same)
            if weight > best:
                best, frame, subject = weight, number, face
    return frame, subject


def _one_person(searched: list[list[Face]]) -> bool:
    """Return whether there are two frames or more, and all show one face alone, in one place."""
    alone = [faces[0] for faces in searched if len(faces) == 1]
    return len(alone) == len(searched) > 1 and all(overlap(alone[0], face) > SAME for face in alone)


def _spread(numbers: list[int]) -> list[int]:
    """Return a few of the numbers, in the middle of equal parts."""
    count = min(SEARCHES, len(numbers))
    return [numbers[(2 * part + 1) * len(numbers) // (2 * count)] for part in range(count)]
