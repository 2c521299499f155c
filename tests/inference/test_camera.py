"""A camera: a video file read as if it were one, by a clock that counts its frames."""

from itertools import count

import numpy as np
import pytest

from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.features.camera import Camera
from pkdot.features.faces import Faces, FacesOptions


def test_spans_of_a_camera_have_the_frames_of_their_times(clip):
    ticks = count()
    camera = Camera(str(clip), clock=lambda: next(ticks) / 25)
    spans = [start + np.arange(4) / 5 for start in (0.0, 1.0, 4.0, 99.0)]
    got = list(camera.along(spans))
    camera.close()
    assert len(got) == 3  # the camera ends before the last
    assert all(frame is not None and frame.shape == (240, 320, 3) for frame in got[2])
    assert camera.rate == pytest.approx(25)


def test_faces_of_a_camera_are_found_as_in_a_video(clip):
    ticks = count()
    camera = Camera(str(clip), clock=lambda: next(ticks) / 25)
    feature = Faces(FacesOptions(frames=4, window=None, size=64))
    (got,) = feature.along([Source("0", clip, 2.0, 4.0)], camera)
    camera.close()
    assert got.array.shape == (4, 64, 64, 3)
    assert got.mask is None


def test_a_camera_that_is_not_there_is_one_sentence():
    with pytest.raises(DataError, match="no camera of this number"):
        Camera(97)
