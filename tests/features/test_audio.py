"""The audio stage, on sounds known in closed form."""

from fractions import Fraction

import av
import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkdot.errors import DataError
from pkdot.features.audio import Audio, AudioOptions, SoundTrack, means_between
from pkdot.features.base import Source
from pkdot.simulation.video import write_h264

RATE, FRAMES, ONSET = 25, 100, 40  # frames a second, frames, the frame at which the tone starts


def tone(seconds, rate, onset=0.0, pitch=1000.0, size=0.5):
    time = np.arange(int(seconds * rate)) / rate
    return size * np.sin(2 * np.pi * pitch * time) * (time >= onset)


def video(path, sound, rate=44100, frames=FRAMES):
    write_h264(path, np.zeros((frames, 64, 64, 3), np.uint8), RATE, sound=None if sound is None else (sound, rate))
    return path


def of(path, start=0.0, stop=FRAMES / RATE, **options):
    return Audio(AudioOptions(**options)).extract(Source("s", path, start, stop))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of 4 s; a tone starts with frame 40."""
    return video(tmp_path_factory.mktemp("sound") / "tone.mp4", tone(4, 44100, ONSET / RATE))


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_tone_that_starts_with_a_frame_starts_in_the_column_of_that_frame(tmp_path, rate):
    path = video(tmp_path / "tone.mp4", tone(4, rate, ONSET / RATE), rate)
    level = of(path, steps=FRAMES).array[0].max(axis=0)
    assert (level[: ONSET - 1] < -40).all()  # the window of a spectrum reaches half a column back
    assert (level[ONSET + 1 :] > 15).all()
    assert level[ONSET] == pytest.approx(level[-5], abs=2)


def test_a_part_of_a_track_is_what_the_whole_says_of_it(clip):
    whole = of(clip, steps=FRAMES).array[0].max(axis=0)
    part = of(clip, 1.2, 2.4, steps=30).array[0].max(axis=0)
    audible = -20  # below it AAC fills in noise, which a decoder draws anew
    np.testing.assert_allclose(np.maximum(part, audible), np.maximum(whole[30:60], audible), atol=0.5)


def test_an_opened_track_can_be_read_backwards(clip):
    track = SoundTrack(clip)
    late = track.read(2.0, 3.0)[0]
    early = track.read(0.5, 2.5)[0]
    np.testing.assert_array_equal(late[:22050], early[-22050:])


def test_columns_of_a_hop_are_those_of_librosa(tmp_path):
    """With a column a hop, only the level of each spectrum is to be seen, at its centre."""
    sound = np.random.default_rng(0).normal(0, 0.1, 44100).astype(np.float32)
    path = tmp_path / "noise.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=44100, layout="mono")
        block = av.AudioFrame.from_ndarray(np.round(sound[None] * 32768).astype(np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 44100, 0, Fraction(1, 44100)
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    ours = of(path, 0.195, 0.795, steps=60).array[0]
    mel = librosa.feature.melspectrogram(
        y=np.round(sound * 32768) / 32768, sr=44100, n_fft=1024, win_length=882, hop_length=441, n_mels=64
    )
    np.testing.assert_allclose(ours, librosa.power_to_db(mel, ref=1.0, top_db=None)[:, 20:80], atol=1e-3)


def test_pitch_is_found_in_the_band_that_librosa_gives_it(clip):
    bands = librosa.mel_frequencies(n_mels=66, fmax=22050)[1:-1]
    loudest = of(clip, 2.0, 3.0, steps=10).array[0].argmax(axis=0)
    assert (loudest == np.abs(bands - 1000).argmin()).all()


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=8),
    st.lists(st.floats(0.05, 2), min_size=8, max_size=8),
    st.integers(1, 9),
)
def test_means_between_borders_keep_the_integral(values, widths, parts):
    edges = np.concatenate([[0.0], np.cumsum(widths[: len(values)])])
    borders = np.linspace(0, edges[-1], parts + 1)
    means = means_between(np.array(values), edges, borders)
    assert means @ np.diff(borders) == pytest.approx(np.dot(values, np.diff(edges)), abs=1e-9)
    assert (means >= min(values) - 1e-9).all()
    assert (means <= max(values) + 1e-9).all()


def test_what_lies_past_the_end_is_masked_and_said(clip):
    got = of(clip, 2.0, 6.0, steps=100)
    assert got.mask.sum() == pytest.approx(50, abs=2)
    assert got.mask[:48].all()
    assert "have no sound" in got.note


def test_two_frames_past_the_end_are_masked_without_a_word(clip):
    got = of(clip, 2.0, 4.08, steps=50)
    assert not got.mask[-1]
    assert not got.note


def test_silence_is_refused(tmp_path):
    path = video(tmp_path / "silent.mp4", np.zeros(4 * 44100))
    with pytest.raises(DataError, match=r"0\.00 to 4\.00 s: silent"):
        of(path)


def test_a_span_past_the_end_is_refused(clip):
    with pytest.raises(DataError, match="does not reach here"):
        of(clip, 30.0, 34.0)


def test_a_video_without_sound_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no sound"):
        of(video(tmp_path / "mute.mp4", None))


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match="not a readable"):
        of(tmp_path / "text.mp4")


def test_clipped_columns_are_masked_and_said(tmp_path):
    sound = tone(4, 44100)
    sound[: 2 * 44100] = np.clip(sound[: 2 * 44100] * 40, -1, 1)
    got = of(video(tmp_path / "loud.mp4", sound), steps=100)
    assert got.mask.sum() == pytest.approx(50, abs=2)
    assert got.mask[55:].all()
    assert "are clipped" in got.note


def test_a_track_that_is_cut_off_is_masked_from_there(clip, tmp_path):
    """An MKV needs no table at its end, so half a file is half a track."""
    whole = tmp_path / "whole.mkv"
    with av.open(str(clip)) as source, av.open(str(whole), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in (*source.streams.video, *source.streams.audio)}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    half = tmp_path / "half.mkv"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    got = of(half, 0.0, 4.0, steps=100)
    assert 0.3 < got.mask.mean() < 0.9
    assert got.mask[0]
    assert not got.mask[-1]


def test_a_window_must_fit_into_its_transform():
    with pytest.raises(ValueError, match="must fit into n_fft"):
        AudioOptions(window=2048)
