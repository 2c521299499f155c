"""Speed of the audio stage: samples and log-mel columns a second, against soundfile and librosa on a WAV file.

The plain way of the published pipelines: the sound of a video is written to a WAV file, and every sample reads its
span of it. Here a sample is read from the video itself. Beside it the memory that a video of a minute and one of
twenty minutes take.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from pkdot.features.audio import Audio, AudioOptions
from pkdot.features.base import Source
from pkdot.simulation.video import write_h264

RATE, SOUND_RATE, SPAN = 25, 44100, 5.12  # frames and samples a second, seconds of a sample
MINUTES = (1, 20)
ROUNDS = 5


def write_video(path: Path, minutes: int) -> None:
    """A small picture and a noise that swells."""
    rng = np.random.default_rng(0)
    time_ = np.arange(minutes * 60 * SOUND_RATE) / SOUND_RATE
    sound = 0.1 * rng.standard_normal(len(time_)) * (1.2 + np.sin(time_))
    frames = np.zeros((minutes * 60 * RATE, 32, 32, 3), np.uint8)
    write_h264(path, frames, RATE, sound=(sound, SOUND_RATE))


def spans(minutes: int) -> np.ndarray:
    """Where the samples of a video start, seconds."""
    return np.arange(0, minutes * 60 - SPAN, SPAN)


def ours(path: Path, starts: np.ndarray) -> None:
    """All samples of a video, read from it."""
    audio = Audio(AudioOptions())
    for start in starts:
        audio.extract(Source("sample", path, start, start + SPAN))


def plainly(path: Path, starts: np.ndarray) -> None:
    """All samples, read from a WAV file that is extracted first."""
    wav = path.with_suffix(".wav")
    with av.open(str(path)) as container, soundfile.SoundFile(wav, "w", SOUND_RATE, 1) as file:
        for frame in container.decode(audio=0):
            file.write(frame.to_ndarray()[0])
    for start in starts:
        first = int(start * SOUND_RATE)
        sound, _ = soundfile.read(wav, start=first, stop=first + int(SPAN * SOUND_RATE), dtype="float32")
        mel = librosa.feature.melspectrogram(
            y=sound, sr=SOUND_RATE, n_fft=1024, win_length=882, hop_length=441, n_mels=64
        )
        librosa.power_to_db(mel)


def fastest(function: Callable[[], object]) -> float:
    """Shortest seconds of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak(path: Path, minutes: int) -> float:
    """Most memory of a process that reads all samples of a video, megabytes."""
    command = [sys.executable, __file__, str(path), str(minutes)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(path: Path, minutes: int) -> None:
    """Read all samples and print the peak of memory."""
    ours(path, spans(minutes))
    status = Path("/proc/self/status").read_text()  # getrusage would tell the peak of the parent
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    """Print speeds, their ratio, and the memory of a short and of a long video."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {minutes: Path(folder) / f"{minutes}.mp4" for minutes in MINUTES}
        for minutes, path in paths.items():
            write_video(path, minutes)
        starts = spans(1)
        ours(paths[1], starts[:1]), plainly(paths[1], starts[:1])  # imports are no part of it
        own, plain = (fastest(lambda f=f: f(paths[1], starts)) for f in (ours, plainly))
        for name, seconds in (("pkdot audio, from the video", own), ("soundfile and librosa, by a WAV file", plain)):
            rate = len(starts) / seconds
            print(f"{name}: {rate:.0f} samples of {SPAN} s a second, {rate * 128:.0f} columns a second")
        print(f"ratio of speeds: {plain / own:.2f}")
        short, long = (peak(paths[minutes], minutes) for minutes in MINUTES)
        print(f"peak memory: {short:.0f} MB for {MINUTES[0]} minute, {long:.0f} MB for {MINUTES[1]} minutes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
