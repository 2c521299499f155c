"""Speed and memory of a student in use, over faces as BioVid's (16 frames of 3.5 s, windows of 5.5 s, three seeds).

End to end (``pkdot predict``, from files to the table) against only decoding the same clips with PyAV, by the time of
the processor, all threads together: the goal is half of that speed. Then the latency of one window, the memory of a
short and of a long video, and onnxruntime against torch. Weights are drawn at random, which costs the same as
trained ones.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from faces import write_clip

import pkdot
from pkdot.answer import Answer
from pkdot.assembly import build_ensemble
from pkdot.descriptions import EmbedderDescription, FusedDescription, NetworkDescription, PluginDescription
from pkdot.inference.bundle import SCHEMA, BundleDescription, ModalityDescription, write_bundle
from pkdot.inference.export import drawn, export
from pkdot.inference.exported import ExportedStudent
from pkdot.inference.predict import PredictOptions, predict
from pkdot.inference.student import Student

CLIPS, SIZES = 8, {"320 x 240": (320, 240), "640 x 480": (640, 480), "1388 x 1038": (1388, 1038)}
MINUTES = (1, 60)
BATCHES = (1, 32)
ROUNDS = 3
SHAPE, DIM = [16, 112, 112, 3], 64


def make_bundle(folder: Path) -> None:
    """A student as those of config/biovid.yaml: a small video encoder, T-Net, gated fusion, three seeds."""
    encoder = PluginDescription(name="small_r3d", options={})
    said = BundleDescription(
        schema_version=SCHEMA,
        experiment="benchmark",
        title="clips of a benchmark",
        simulated=True,
        method="pkdot",
        options={},
        seeds=[0, 1, 2],
        answer=Answer(kind="classification", targets=["pain"], classes=["BL1", "PA4"]),
        units={},
        ranges={},
        modalities={
            "face": ModalityDescription(
                source="video",
                feature=PluginDescription(name="faces", options={}),
                shape=SHAPE,
                dtype="uint8",
                seconds=5.5,
                rate=None,
            )
        },
        encoders={"face": EmbedderDescription(encoder=encoder, shape=SHAPE, dim=DIM, tokens=4)},
        network=NetworkDescription(
            student=FusedDescription(
                kind="hallucinating",
                prevalent=DIM,
                privileged=3 * DIM,
                dim=DIM,
                fusion=PluginDescription(name="gated_cross_attention", options={}),
                tnet=[256, 128, 256],
                start=True,
            ),
            modalities=["face"],
        ),
        temperature=1.5,
        subjects={"train": 1, "validation": 1},
        unlabelled=0,
        weights_sha256="",
        code="",
        versions={},
    )
    write_bundle(folder, said, build_ensemble(said.encoders, said.network, len(said.seeds), said.answer, 1.5))


def seconds_of(*functions: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Shortest seconds of each function in a few rounds; in turn, so that other load hits all of them."""
    times = np.empty((ROUNDS, len(functions)))
    for row in times:
        for column, function in enumerate(functions):
            start = clock()
            function()
            row[column] = clock() - start
    return times.min(axis=0).tolist()


def decode(folder: Path) -> None:
    """Decode all frames of all clips, and nothing else."""
    for path in sorted(folder.glob("*.mp4")):
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass


def end_to_end(student: Student, folder: Path) -> None:
    """Print the speed of predicting against that of decoding, for some sizes of the picture."""
    for name, (width, height) in SIZES.items():
        clips = folder / name
        clips.mkdir()
        write_clip(clips / "0.mp4", width, height)
        for number in range(1, CLIPS):
            shutil.copy(clips / "0.mp4", clips / f"{number}.mp4")
        decoded, predicted = seconds_of(
            partial(decode, clips),
            partial(predict, student, [str(clips)], PredictOptions(), folder / "table.csv"),
            clock=time.process_time,
        )
        print(
            f"{name:12s} clips of 5.5 s in a second of one core: decoded {CLIPS / decoded:5.1f}, "
            f"predicted {CLIPS / predicted:5.1f}; ratio {decoded / predicted:.2f} (goal: at least 0.5)"
        )


def latency(student: Student, folder: Path) -> None:
    """Print how long one window takes from a file to its probabilities, and its network alone."""
    clip = folder / "640 x 480" / "0.mp4"
    arrays = student.extract(student.sources(clip))["face"].array[None]
    copies = [clip.with_name(f"{number}.mp4") for number in range(CLIPS)]  # an open video is not read anew
    names = iter(copies * ROUNDS)
    whole, network = seconds_of(lambda: student.predict(next(names)), lambda: student.predict_arrays({"face": arrays}))
    print(
        f"latency of one window of 640 x 480: {1000 * whole:.0f} ms from the file, {1000 * network:.1f} ms the network"
    )


def memory(bundle: Path, folder: Path) -> None:
    """Print the peak of memory of a short and of a long video, with windows that overlap."""
    peaks = []
    for minutes in MINUTES:
        path = folder / f"{minutes}.mp4"
        short = folder / "320 x 240" / "0.mp4"
        repeat(short, path, minutes * 60)
        command = [sys.executable, __file__, str(bundle), str(path)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(
        f"peak memory: {peaks[0]:.0f} MB for {MINUTES[0]} minute, {peaks[1]:.0f} MB for {MINUTES[1]} minutes; "
        f"ratio {peaks[1] / peaks[0]:.2f}"
    )


def repeat(clip: Path, out: Path, seconds: float) -> None:
    """Write the packets of a clip again and again."""
    with av.open(str(out), "w") as film:
        offset, stream = 0, None
        while True:
            with av.open(str(clip)) as container:
                video = container.streams.video[0]
                stream = stream or film.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                        film.mux(packet)
                offset += video.duration
                if offset * video.time_base > seconds:
                    return


def child(bundle: Path, video: Path) -> None:
    """Predict a video and print the peak of memory."""
    out = video.with_suffix(".csv")
    predict(pkdot.load_student(bundle), [str(video)], PredictOptions(every=2.0), out)
    print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)


def networks(student: Student, bundle: Path) -> None:
    """Print how long the network takes by torch and by onnxruntime, by the time of the processor."""
    done = export(bundle, [])
    exported = ExportedStudent.load(done.path, threads=1)
    for count in BATCHES:
        arrays = {name: np.resize(value, (count, *value.shape[1:])) for name, value in drawn(student).items()}
        student.predict_arrays(arrays), exported.predict_arrays(arrays)
        both = (partial(one.predict_arrays, arrays) for one in (student, exported))
        torch_, onnx = seconds_of(*both, clock=time.process_time)
        print(
            f"network, batch {count:2d}: torch {1000 * torch_:6.1f} ms, onnxruntime {1000 * onnx:6.1f} ms; "
            f"ratio {torch_ / onnx:.2f}, outputs differ by {done.difference:.1g}"
        )


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_bundle(folder / "student")
        student = pkdot.load_student(folder / "student")
        student.predict_arrays(drawn(student))  # first use costs more
        end_to_end(student, folder)
        latency(student, folder)
        memory(folder / "student", folder)
        networks(student, folder / "student")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
