"""How fast, how small and how exact the potential is solved for.

Run ``python -m benchmarks.solver.solver`` for all tables, or name some of: speed, components,
initial, methods, rivals, accuracy, wide, coverage, scaling. Times are ratios: ``x mv`` is the time
of one product of the same CSR matrix with a vector, measured before and after in the same process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.solver.graphs import SHAPES, random
from detailed_balance.analyzers import (
    Exponential,
    Kernel,
    Potential,
    Softplus,
    TransitionCounts,
    estimate_potential,
)
from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers._solver.flows import edge_flows
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver
from detailed_balance.analyzers._solver.newton import minimize_action

SPEED = [
    ("random", 100_000),
    ("random", 1_000_000),
    ("attachment", 1_000_000),
    ("ring", 100_000),
    ("ring", 1_000_000),
    ("grid", 1_000_000),
    ("components", 100_000),
    ("attachment", 100_000),
]


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def product_seconds(kernel: Kernel, repeats: int = 9) -> float:
    """Return the median time of one CSR product with a vector."""
    x = np.random.default_rng(0).normal(size=len(kernel.states))
    return float(np.median([timed(lambda: kernel.probabilities @ x)[0] for _ in range(repeats)]))


def memory(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes (Linux)."""
    status = Path("/proc/self/status").read_text().split(field + ":")[1]
    return int(status.split()[0]) * 1024


def forget_peak() -> None:
    """Let the peak of the memory start from where it is now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def one_graph(shape: str, n: int, repeats: int) -> dict[str, object]:
    """Solve one graph; everything that the tables show of it."""
    kernel = SHAPES[shape](n, np.random.default_rng(1))
    edges = kernel.probabilities.nnz
    estimate_potential(random(1_000, np.random.default_rng(0)))  # loads what is loaded late
    forget_peak()
    before, ratios, seconds = memory("VmRSS"), [], []
    for _ in range(repeats):
        first = product_seconds(kernel)
        took, potential = timed(lambda: estimate_potential(kernel))
        unit = (first + product_seconds(kernel)) / 2
        ratios.append(took / unit)
        seconds.append(took)
    peak = memory("VmHWM")
    solver, pairs = [], EdgeList.from_matrix(kernel.probabilities, potential.components)
    for _ in range(repeats):
        first = product_seconds(kernel)
        took, _ = timed(lambda: minimize_action(pairs, Exponential()))
        solver.append(2 * took / (first + product_seconds(kernel)))
    return {
        "shape": shape,
        "states": len(kernel.states),
        "edges": edges,
        "solver_mv": float(np.median(solver)),
        "whole_mv": float(np.median(ratios)),
        "seconds": float(np.median(seconds)),
        "peak_gb": peak / 1e9,
        "bytes_per_edge": (peak - before) / edges,
        "method": potential.method,
        "steps": potential.iterations,
        "inner": potential.inner_iterations,
        "residual": potential.residual,
        "error": error_left(pairs, potential.heights, potential.method),
    }


def error_left(pairs: EdgeList, values: np.ndarray, method: str) -> float:
    """Return how far V is from a tighter solve: one more Newton step, solved to 1e-10."""
    flows = edge_flows(Exponential(), pairs, pairs.drop(values))
    solver = LaplacianSolver(pairs, method)
    solver.refresh(flows.stiffness)
    return pairs.largest_move(solver.solve(pairs.outflow(flows.net), 1e-10))


def in_own_process(shape: str, n: int, repeats: int) -> dict[str, object]:
    """Do the same in a fresh process, whose peak of memory is its own."""
    options = ["--one", shape, str(n), str(repeats)]
    command = [sys.executable, "-m", "benchmarks.solver.solver", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this script
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show_speed() -> None:
    """Print time and memory for each shape."""
    print("graph | states | edges | solver, whole x mv | s | GB | B/edge | method | r1 | dV")
    for shape, n in SPEED:
        row = in_own_process(shape, n, 3 if n <= 100_000 else 1)
        print(
            f"{shape} | {row['states']:,} | {row['edges']:,} | {row['solver_mv']:.0f}, "
            f"{row['whole_mv']:.0f} | {row['seconds']:.2f} | {row['peak_gb']:.2f} | "
            f"{row['bytes_per_edge']:.0f} | {row['method']} ({row['steps']}, {row['inner']}) | "
            f"{row['residual']:.0e} | {row['error']:.0e}",
            flush=True,
        )


def sampled(kernel: Kernel, rng: np.random.Generator, mean: float = 30) -> TransitionCounts:
    """Draw counts around the kernel, `mean` for each edge."""
    matrix = kernel.probabilities.copy()
    matrix.data = rng.poisson(matrix.data / matrix.data.mean() * mean).astype(np.int64)
    matrix.eliminate_zeros()
    return TransitionCounts(kernel.states, matrix, np.asarray(matrix.sum(axis=1)))


def show_initial(n: int = 100_000, rounds: int = 7) -> None:
    """Print what an estimate after k more transitions costs, from the last V and from nothing."""
    rng = np.random.default_rng(2)
    counts = sampled(random(n, rng), rng)
    edges, last = counts.counts.tocoo(), estimate_potential(counts)
    print("new transitions | adding ms | initial ms | cold ms | initial / cold | dV | inner, cold")
    for k in (1, 10, 100, 1_000):
        times = []
        for _ in range(rounds):
            drawn = rng.choice(edges.nnz, k)
            ends = zip(edges.row[drawn], edges.col[drawn], strict=True)
            new = [(counts.states[f], counts.states[g], 1) for f, g in ends]
            adding, more = timed(partial(added, counts, new))
            warm, found = timed(partial(estimate_potential, more, initial=last))
            cold, known = timed(partial(estimate_potential, more))
            times.append((adding, warm, cold, warm / cold))
        apart = error_between(found, known)
        ms = " | ".join(f"{1e3 * each:.0f}" for each in np.median(times, axis=0)[:3])
        ratio = np.median(times, axis=0)[3]
        inner = f"{found.inner_iterations}, {known.inner_iterations}"
        print(f"{k:,} | {ms} | {ratio:.2f} | {apart:.0e} | {inner}", flush=True)


def added(counts: TransitionCounts, moves: list[tuple[str, str | None, int]]) -> TransitionCounts:
    """Return the counts with more moves."""
    return counts + TransitionCounts.from_edges(moves)


def error_between(found: Potential, known: Potential) -> float:
    """Return how far two V are apart in the largest component."""
    largest = known.components == np.bincount(known.components).argmax()
    return float(np.ptp((found.heights - known.heights)[largest]))


def show_components(n: int = 100_000, rounds: int = 15) -> None:
    """Print what a graph with 1,000 small components costs, next to single graphs of its size."""
    shapes = {
        "attachment and 1,000 small components": ("components", n),
        "one attachment graph of as many states": ("attachment", n),
        "one attachment graph of as many edges": ("attachment", round(0.9155 * n)),
    }
    kernels = [SHAPES[s](size, np.random.default_rng(1)) for s, size in shapes.values()]
    times = np.array(
        [[timed(partial(estimate_potential, k))[0] for k in kernels] for _ in range(rounds)]
    )
    print("graph | states | edges | ms | first / this")
    for what, kernel, took in zip(shapes, kernels, times.T, strict=True):
        ratio = np.median(times[:, 0] / took)
        size = f"{len(kernel.states):,} | {kernel.probabilities.nnz:,}"
        print(f"{what} | {size} | {1e3 * np.median(took):.0f} | {ratio:.2f}", flush=True)


def show_wide() -> None:
    """Print what random graphs cost whose weights are wide, with noise."""
    # Not above: the peak of memory of other tables would count what tests load.
    from tests.support.chains import noisy_kernel, random_pairs

    print("states | orders of magnitude | s | method (steps, inner) | r1")
    for n, orders in ((2_000, 12), (10_000, 12), (2_000, 30), (10_000, 30)):
        rng = np.random.default_rng(0)
        pairs = random_pairs(n, rng)
        kernel, _ = noisy_kernel(n, pairs, rng, spread=5, noise=0.5, orders=orders)
        took, found = timed(partial(estimate_potential, kernel))
        steps = f"{found.method} ({found.iterations}, {found.inner_iterations})"
        print(f"{n:,} | {orders} | {took:.1f} | {steps} | {found.residual:.0e}", flush=True)


def show_methods(n: int = 20_000) -> None:
    """Print what each method costs on each shape, in products."""
    methods = ["auto", "pcg", "banded", "amg", "osborne"]
    print("graph | " + " | ".join(methods))
    for shape in ("random", "attachment", "ring", "grid"):
        kernel = SHAPES[shape](n, np.random.default_rng(1))
        pairs = EdgeList.from_matrix(kernel.probabilities, np.zeros(len(kernel.states), dtype=int))
        cells = []
        for method in methods:
            if method == "banded" and shape != "ring":
                cells.append("-")
                continue
            unit = product_seconds(kernel)
            took, found = timed(partial(minimize_action, pairs, Exponential(), method=method))
            cells.append(f"{took / unit:.0f} ({found.method})")
        print(f"{shape} | " + " | ".join(cells), flush=True)


def show_rivals() -> None:
    """Print what people would use instead."""
    from benchmarks.solver import rivals

    print("rival | problem | rival s | ours s | rival / ours | its error in V | our error in V")
    for row in rivals.rows():
        print(row, flush=True)


def show_accuracy() -> None:
    """Print the error against 500 digits on small hard chains."""
    from tests.support.chains import precise_potential

    print("orders of magnitude | K | chains | largest error in V")
    for orders in (1, 20, 60):
        for violation in (Exponential(), Softplus()):
            worst = 0.0
            for seed in range(5):
                rng = np.random.default_rng(seed)
                rates = 10 ** rng.uniform(-orders, -1, (5, 5)) * (rng.random((5, 5)) < 0.6)
                rates[np.arange(5), (np.arange(5) + 1) % 5] += 10 ** rng.uniform(-orders, -1, 5)
                np.fill_diagonal(rates, 0.0)
                found = estimate_potential(Kernel.from_matrix(rates), violation=violation).values
                known = precise_potential(rates, isinstance(violation, Softplus))
                worst = max(worst, float(np.ptp(found - known)))
            print(f"{orders} | {type(violation).__name__} | 5 | {worst:.0e}", flush=True)


def show_coverage(n: int = 200, replicates: int = 200) -> None:
    """Print how often 95% intervals hold the truth, on 200 states."""
    rng = np.random.default_rng(5)
    potential, matrix = rng.normal(size=n), np.triu(rng.gamma(2.0, size=(n, n)), 1)
    matrix *= rng.random((n, n)) < 10 / n
    matrix[np.arange(n - 1), np.arange(1, n)] += 0.5
    matrix = (matrix + matrix.T) * np.exp((potential[:, None] - potential[None, :]) / 2)
    matrix *= 0.9 / matrix.sum(axis=1).max()
    rows = np.column_stack([matrix, 1 - matrix.sum(axis=1)])
    names = tuple(map(str, range(n)))
    attempts = np.full(n, 2_000)
    hits: dict[tuple[str, str], list[np.ndarray]] = {}
    for replicate in range(replicates):
        drawn = np.array([rng.multinomial(2_000, row) for row in rows])[:, :n]
        counts = TransitionCounts(names, TransitionCounts.from_dense(drawn).counts, attempts)
        reference = replicate % n
        for violation in (Exponential(), Softplus()):
            found = estimate_potential(counts, violation=violation)
            away = found.relative_to(str(reference)) - (potential - potential[reference])
            for way, accuracy in (("exact", 0.0), ("sketched", 0.05)):
                error = found.standard_errors(str(reference), accuracy=accuracy, seed=replicate)
                others = np.arange(n) != reference
                inside = np.abs(away[others]) < 1.959964 * error[others]
                hits.setdefault((type(violation).__name__, way), []).append(inside)
    print("K | errors | coverage of 95% intervals")
    for (name, way), inside in hits.items():
        print(f"{name} | {way} | {100 * np.mean(inside):.1f}%", flush=True)


def show_scaling() -> None:
    """Print and draw time and memory against edges, with the exponents."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for shape in ("random", "ring"):
        sizes = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
        rows = [in_own_process(shape, n, 3 if n <= 100_000 else 1) for n in sizes]
        edges = np.array([row["edges"] for row in rows], dtype=float)
        seconds = np.array([row["seconds"] for row in rows], dtype=float)
        peak = np.array([row["bytes_per_edge"] for row in rows], dtype=float) * edges
        large = edges > 5e4
        slope = np.polyfit(np.log(edges[large]), np.log(seconds[large]), 1)[0]
        weight = np.polyfit(np.log(edges[large]), np.log(peak[large]), 1)[0]
        print(f"{shape}: time ~ edges^{slope:.2f}, memory ~ edges^{weight:.2f} (above 5e4 edges)")
        left.loglog(edges, seconds, "o-", label=f"{shape}: exponent {slope:.2f}")
        right.loglog(edges[large], peak[large] / 1e6, "o-", label=f"{shape}: exponent {weight:.2f}")
        for e, s, p in zip(edges, seconds, peak, strict=True):
            print(f"{shape} | {e:.0f} | {s:.4f} s | {p / 1e6:.1f} MB", flush=True)
    for axis, what in ((left, "seconds"), (right, "peak memory beyond the input, MB")):
        axis.set(xlabel="directed edges", ylabel=what)
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend()
    root = Path(__file__).resolve().parents[2]
    figure.savefig(root / "docs" / "images" / "solver-scaling.png", dpi=110)


TABLES = {
    "speed": show_speed,
    "components": show_components,
    "initial": show_initial,
    "methods": show_methods,
    "rivals": show_rivals,
    "accuracy": show_accuracy,
    "wide": show_wide,
    "coverage": show_coverage,
    "scaling": show_scaling,
}


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        shape, n, repeats = asked.one
        print(json.dumps(one_graph(shape, int(n), int(repeats))))
        return
    for name in asked.tables or TABLES:
        print(f"\n## {name}")
        TABLES[name]()


if __name__ == "__main__":
    main()
