"""Speed and memory of PKDOT's Sinkhorn divergence against geomloss and POT, at one accuracy of the gradient.

Run with ``python benchmarks/transport.py``: some minutes on one core. One process, one thread, float32,
forward and backward together, repeats in turns, medians of the processor's time (a busy machine disturbs it
less than the clock on the wall). The clouds are what the loss transports: the anchored similarities (k = 30)
of three students: untrained, halfway to the teacher, and close to it. A solver's setting is its cheapest that
reaches the wanted relative error of the gradient on all three, against POT in float64 after 300 iterations.
POT's iterations are thus counted out by hand, which its own stopping rule (it looks every ten iterations)
cannot do; a second line has it stop by that rule.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor

from pkdot.distillation.similarity import anchor_columns, similarity_matrix
from pkdot.distillation.sinkhorn import sinkhorn_divergence
from pkdot.distillation.transport import transport_loss

BLUR, ANCHORS, DIM = 0.1, 30, 512
STAGES = (0.0, 0.5, 0.9)  # how much of the teacher a student has
TARGETS = (1e-2, 1e-3, 1e-4)
CLAIMED = (128, 512)
PLOTTED = (32, 64, 128, 256, 512, 1024, 2048)
LARGE = 4096
CONVERGED = 300  # iterations of POT after which its gradient moves by less than 1e-6

Solver = Callable[[Tensor, Tensor, float], Tensor]


def ours(x: Tensor, y: Tensor, tolerance: float) -> Tensor:
    return sinkhorn_divergence(x, y, blur=BLUR, tolerance=tolerance)


def geomloss(x: Tensor, y: Tensor, scaling: float) -> Tensor:
    from geomloss import SamplesLoss

    return SamplesLoss("sinkhorn", p=2, blur=BLUR, scaling=scaling, backend="tensorized")(x, y)


def pot(x: Tensor, y: Tensor, iterations: float = 1000, threshold: float = 0) -> Tensor:
    """Plans by POT, in the logarithmic domain; the gradient is that of the cost under them."""
    import ot

    def term(a: Tensor, b: Tensor) -> Tensor:
        cost = ot.dist(a, b) / 2
        weights = torch.full((len(a),), 1 / len(a), dtype=a.dtype)
        plan = ot.sinkhorn(
            weights,
            weights,
            cost.detach(),
            BLUR**2,
            method="sinkhorn_log",
            numItermax=int(iterations),
            stopThr=threshold,
            warn=False,
        )
        return (plan * cost).sum()

    return term(x, y) - term(x, x) / 2 - term(y, y) / 2


def pot_by_its_rule(x: Tensor, y: Tensor, threshold: float) -> Tensor:
    return pot(x, y, threshold=threshold)


SOLVERS: dict[str, tuple[Solver, list[float]]] = {  # settings from cheap to dear
    "PKDOT": (ours, [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5]),
    "geomloss": (geomloss, [0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998]),
    "POT": (pot, [2, 3, 4, 5, 6, 7, 8, 10, 13, 20, 50]),
    "POT, own rule": (pot_by_its_rule, [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-9]),
}


def features(rows: int) -> tuple[list[Tensor], Tensor]:
    """Students of the three stages, and a teacher with five classes; (rows, DIM) each, after a ReLU."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(5, DIM, generator=generator)
    labels = torch.randint(0, 5, (rows,), generator=generator)
    teacher = torch.relu(centres[labels] + torch.randn(rows, DIM, generator=generator))
    mixing = torch.randn(64, DIM, generator=generator) / 8
    untrained = torch.relu(torch.randn(rows, 64, generator=generator) @ mixing)
    return [(1 - share) * untrained + share * teacher for share in STAGES], teacher


def clouds(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Student's and teacher's anchored similarities, (rows, ANCHORS) each."""
    similarities = [similarity_matrix(f) for f in (student, teacher)]
    columns = anchor_columns(similarities[1], ANCHORS, "dissimilar")
    x, y = ((s - s.min()).gather(-1, columns) for s in similarities)
    return x, y


def gradient(solver: Solver, x: Tensor, y: Tensor, *setting: float) -> Tensor:
    x = x.detach().requires_grad_()
    solver(x, y, *setting).backward()
    return x.grad


def error(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).norm() / expected.norm()).item()


def cheapest(pairs: list[tuple[Tensor, Tensor]], truths: list[Tensor]) -> dict[tuple[str, float], float]:
    """For each solver and wanted error, the first setting that reaches it on all pairs."""
    found = {}
    for name, (solver, settings) in SOLVERS.items():
        errors = []
        for setting in settings:
            grads = [gradient(solver, x, y, setting) for x, y in pairs]
            errors.append(max(error(g, t) for g, t in zip(grads, truths, strict=True)))
            if errors[-1] <= min(TARGETS):
                break
        for target in TARGETS:
            reached = [s for s, e in zip(settings, errors, strict=False) if e <= target]
            if reached:
                found[name, target] = reached[0]
    return found


def medians(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds of each call, in turns, for about so many seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(times))]) < 5:
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(samples) for name, samples in times.items()}


def products(x: Tensor, y: Tensor) -> None:
    """What no dense solver can do without: three kernels, and two barycentres of the plans."""
    kernel = x @ y.mT
    x @ x.mT, y @ y.mT
    y.mT @ kernel.mT, x.mT @ kernel.mT


def over_all(solver: Solver, pairs: list[tuple[Tensor, Tensor]], setting: float) -> Callable[[], None]:
    def call() -> None:
        for x, y in pairs:
            gradient(solver, x, y, setting)

    return call


def compare(rows: int, seconds: float) -> None:
    """Print time and ratio of every solver at every accuracy."""
    students, teacher = features(rows)
    pairs = [clouds(student, teacher) for student in students]
    truths = [gradient(pot, x.double(), y.double(), CONVERGED) for x, y in pairs]
    settings = cheapest(pairs, truths)
    default = max(error(gradient(sinkhorn_divergence, *p), t) for p, t in zip(pairs, truths, strict=True))
    print(f"\nB = {rows}, k = {ANCHORS}: milliseconds a call (setting), and times PKDOT's")
    print(f"  by default, PKDOT's gradient errs by {default:.1e}")
    for target in TARGETS:
        calls = {
            name: over_all(SOLVERS[name][0], pairs, settings[name, target])
            for name in SOLVERS
            if (name, target) in settings
        }
        calls["products"] = lambda: [products(x, y) for x, y in pairs]
        times = {name: t / len(pairs) for name, t in medians(calls, seconds).items()}
        print(f"  relative error of the gradient <= {target:g}")
        for name, t in times.items():
            setting = f"({settings[name, target]:g})" if name in SOLVERS else ""
            print(f"    {name:14s} {t:9.3f} {setting:9s} x {t / times['PKDOT']:6.2f}")
        print(f"    {'unreached':14s} {', '.join(set(SOLVERS) - set(calls)) or 'none'}")


def compare_whole_loss(rows: int, seconds: float) -> None:
    """Print the time of the loss from features; PKDOT and geomloss by default, POT by five iterations."""
    students, teacher = features(rows)
    student = students[1].requires_grad_()

    def with_solver(solver: Solver, *setting: float) -> Callable[[], None]:
        return lambda: torch.autograd.grad(solver(*clouds(student, teacher), *setting), student)

    times = medians(
        {
            "PKDOT": lambda: torch.autograd.grad(transport_loss(student, teacher), student),
            "geomloss": with_solver(geomloss, 0.5),
            "POT": with_solver(pot, 5),
        },
        seconds,
    )
    print(f"\nB = {rows}: the whole loss from features of width {DIM}")
    for name, t in times.items():
        print(f"    {name:14s} {t:9.3f} x {t / times['PKDOT']:6.2f}")


def peak_memory(name: str, rows: int) -> float:
    """Megabytes that one call adds to the peak of a fresh process."""
    command = [sys.executable, __file__, "--measure", name, "--rows", str(rows)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(name: str, rows: int) -> None:
    """Print the peak that one call adds; what ``peak_memory`` runs."""
    solver, _ = SOLVERS[name]
    setting = {"PKDOT": 1e-3, "geomloss": 0.5, "POT": 4}[name]
    generator = torch.Generator().manual_seed(0)
    x, y = (0.05 * torch.randn(rows, ANCHORS, generator=generator) for _ in range(2))
    gradient(solver, x[:64], y[:64], setting)  # imports and workspaces
    before = psutil.Process().memory_info().rss
    gradient(solver, x, y, setting)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before / 2**20)


def compare_memory(rows: int) -> None:
    peaks = {name: peak_memory(name, rows) for name in ("PKDOT", "geomloss", "POT")}
    print(f"\nB = {rows}: peak memory of a call, MB (one float32 matrix of that size has {rows**2 / 2**18:.0f})")
    for name, peak in peaks.items():
        print(f"    {name:14s} {peak:9.0f} x {peak / peaks['PKDOT']:6.2f}")


def plot(out: Path) -> None:
    """Cost against B, at an accuracy of 1e-3, with the settings that reach it at B = 128."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    students, teacher = features(CLAIMED[0])
    pairs = [clouds(student, teacher) for student in students]
    truths = [gradient(pot, x.double(), y.double(), CONVERGED) for x, y in pairs]
    settings = cheapest(pairs, truths)
    curves: dict[str, list[float]] = {name: [] for name in (*SOLVERS, "products")}
    for rows in PLOTTED:
        students, teacher = features(rows)
        pair = [clouds(students[1], teacher)]
        calls = {name: over_all(SOLVERS[name][0], pair, settings[name, 1e-3]) for name in SOLVERS}
        for name, t in medians({**calls, "products": lambda pair=pair: products(*pair[0])}, 0.5).items():
            curves[name].append(t)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        label = "matrix products alone" if name == "products" else name
        axes.loglog(PLOTTED, curve, "--" if name == "products" else "o-", label=label)
    axes.set(xlabel="rows of a batch, B", ylabel="forward and backward, ms")
    axes.set_xticks(PLOTTED, [str(rows) for rows in PLOTTED])
    axes.minorticks_off()
    axes.set_title(f"Sinkhorn divergence, k = {ANCHORS}, gradient within 1e-3, one thread")
    axes.legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    print(f"\nplot: {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/transport.svg"))
    parser.add_argument("--seconds", type=float, default=5, help="of timing for each comparison")
    parser.add_argument("--measure", choices=("PKDOT", "geomloss", "POT"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.measure:
        return measure(options.measure, options.rows)
    for rows in CLAIMED:
        compare(rows, options.seconds)
        compare_whole_loss(rows, options.seconds)
    compare_memory(LARGE)
    plot(options.out)


if __name__ == "__main__":
    main()
