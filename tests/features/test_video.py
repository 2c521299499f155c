"""Frames at given times: the same bits as decoding all of the video, whatever the container and the codec."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pkdot.errors import DataError
from pkdot.features.video import open_frames
from tests.features.conftest import motion, moved, write_video

FORMATS = {
    "mp4 with one key frame": ("a.mp4", "libx264", {"g": 250, "bf": 3}),
    "mp4 with a key frame every 12": ("a.mp4", "libx264", {"g": 12, "bf": 3}),
    "mp4 with open groups": ("a.mp4", "libx264", {"g": 12, "bf": 3, "x264-params": "open-gop=1"}),
    "mp4 of MPEG-4": ("a.mp4", "mpeg4", {"g": 12, "bf": 2}),
    "mkv": ("a.mkv", "libx264", {"g": 20}),
    "avi of H.264": ("a.avi", "libx264", {"g": 12, "bf": 3}),
    "avi of MPEG-4": ("a.avi", "mpeg4", {"g": 12}),
}


def numbered(count):
    """Frames that differ in shade and in texture."""
    texture = np.random.default_rng(0).integers(0, 40, (64, 64, 3))
    return [(np.roll(texture, number, axis=1) + 3 * number).clip(0, 255).astype(np.uint8) for number in range(count)]


@pytest.fixture(params=FORMATS)
def file(request, tmp_path):
    name, codec, options = FORMATS[request.param]
    write_video(tmp_path / name, numbered(60), codec, **options)
    return tmp_path / name


def everything(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_chosen_frames_are_those_of_the_whole_video(file):
    whole, frames = everything(file), open_frames(file)
    assert len(frames.times) == len(whole) == 60
    assert frames.rate == pytest.approx(25, rel=1e-3)
    for numbers in ([0], [59], [30, 31, 47], list(range(60)), [5, 50]):  # forwards and back again
        for number, image in zip(numbers, frames.read(numbers), strict=True):
            np.testing.assert_array_equal(image, whole[number])


def test_the_nearest_frame_is_taken_and_none_beyond_the_ends(file):
    whole, frames = everything(file), open_frames(file)
    images = frames.at(np.array([0.0, 0.05, 0.069, 2.36, 2.38, 2.5, 7.0]))
    expected = [0, 1, 2, 59, 59, None, None]
    assert [image is None for image in images] == [number is None for number in expected]
    for image, number in zip(images, expected, strict=True):
        if number not in (None, 1):  # 0.05 s lies between frames 1 and 2
            np.testing.assert_array_equal(image, whole[number])


def test_a_video_that_is_cut_off_gives_the_frames_it_has(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, numbered(60), g=12)
    whole = everything(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    images = open_frames(path).at(np.arange(60) / 25)
    there = [image is not None for image in images]
    assert 10 < sum(there) < 50
    np.testing.assert_array_equal(images[5], whole[5])
    assert there[-1] is False


def test_damage_in_the_middle_costs_frames_and_gives_no_garbled_ones(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, numbered(60), g=12, bf=0)
    whole = everything(path)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    images = open_frames(path).at(np.arange(60) / 25)
    there = [number for number, image in enumerate(images) if image is not None]
    assert 40 < len(there) < 60
    for number in there:
        np.testing.assert_array_equal(images[number], whole[number])


def test_a_folder_of_crops_is_a_video_whose_missing_images_are_missing_frames(tmp_path):
    import cv2

    for number in (1, 2, 4, 10):
        cv2.imwrite(str(tmp_path / f"{number:05d}.png"), np.full((8, 8, 3), (0, 0, number), np.uint8))
    (tmp_path / "00005.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not a frame")
    images = open_frames(tmp_path).at(np.arange(12) / 30)
    assert [None if image is None else image[0, 0].tolist() for image in images] == [
        [number, 0, 0] if number in (1, 2, 4, 10) else None for number in range(1, 13)
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a readable video"), (b"hello" * 99, "not a readable video"), (None, "not a readable video")],
)
def test_what_is_no_video_gets_one_sentence(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        open_frames(tmp_path / "a.mp4")


def test_a_folder_without_numbered_images_gets_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"no image is named by a frame's number"):
        open_frames(tmp_path)


def test_a_file_with_sound_alone_gets_one_sentence(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="holds no video"):
        open_frames(tmp_path / "a.mp4")


def test_a_video_held_sideways_is_turned_upright(tmp_path):
    """A telephone writes how to turn its pictures into the track's matrix (ISO 14496-12, 8.3.2)."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :16] = 255
    path = tmp_path / "a.mp4"
    write_video(path, [image] * 3)
    data = path.read_bytes()
    upright = np.array([65536, 0, 0, 0, 65536], ">i4").tobytes()
    clockwise = np.array([0, 65536, 0, -65536, 0], ">i4").tobytes()
    track = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:track] + clockwise + data[track + len(clockwise) :])
    (turned,) = open_frames(path).read([0])
    assert turned.shape == (64, 32, 3)
    assert (turned[:12, 20:] > 200).all()
    assert (turned[20:] < 50).all()


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in numbered(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image[:, :48].copy(), format="rgb24")))
        container.mux(stream.encode())
    (image,) = open_frames(tmp_path / "a.mp4").read([1])
    assert image.shape == (64, 64, 3)


def test_damaged_bytes_seldom_give_a_smeared_frame(tmp_path):
    """A decoder cannot notice all damage, for H.264 has no checksum; what it notices costs the frames about it."""
    path = tmp_path / "a.mp4"
    write_video(path, [moved(*motion(number))[0] for number in range(60)], g=12)
    whole, content = everything(path), path.read_bytes()
    kept = smeared = 0
    for seed in range(8):
        data, rng = bytearray(content), np.random.default_rng(seed)
        begin = data.index(b"mdat") + 4000
        for place in rng.integers(begin, begin + (len(data) - begin) * 8 // 10, 2):
            data[place : place + 16] = rng.integers(0, 256, 16, dtype=np.uint8).tobytes()
        path.write_bytes(data)
        for image, truth in zip(open_frames(path).at(np.arange(60) / 25), whole, strict=True):
            if image is not None:
                kept += 1
                smeared += np.abs(image.astype(int) - truth).mean() > 2
    assert kept > 8 * 60 * 0.3
    assert smeared < 0.05 * kept
