"""Draw the pictures of docs/explanation/statistics.md, on small seeded chains.

Run ``python -m benchmarks.statistics.pictures`` for all of them, or with the names of some.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import xlogy

from benchmarks.statistics.agents import (
    draw_lengths,
    draw_paths,
    draw_weights,
    make_runs,
    push_loop,
)
from benchmarks.statistics.random_chains import SHAPES, draw_chain
from benchmarks.statistics.repetition import FAULTY, make_table
from benchmarks.statistics.run_wise import SETTINGS, TRIANGLE
from detailed_balance.analyzers import (
    DriftMartingale,
    Outcome,
    RateMartingale,
    RunGuard,
    Trajectory,
    TransitionCounts,
    check_balance,
    compare_counts,
    compare_kernels,
    compare_potentials,
    compare_runs,
    contrast_loops,
    entropy_production,
    find_attractors,
    find_change,
    find_repetition,
    forecast_outcome,
    hodge_decomposition,
    markov_order_test,
    orientation_test,
    reversibility_test,
)
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.plots import plot_distances

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
Kernel = dict[str, dict[str, float]]
START, END = "__start__", "__end__"


def frame(*sizes: Any, **options: Any) -> tuple[Figure, Any]:
    """Return a small figure with one row of axes."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots(1, *sizes, **options)
    for ax in np.atleast_1d(axes):
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def walk(kernel: Kernel, rng: np.random.Generator, longest: int = 60) -> Trajectory:
    """Walk from START to END; a run that is still going then has failed."""
    states = [START]
    while states[-1] in kernel and len(states) < longest:
        law = kernel[states[-1]]
        states.append(
            str(rng.choice(list(law), p=np.array(list(law.values())) / sum(law.values())))
        )
    good = states[-1] == END
    moves = tuple(pairwise(states))
    return Trajectory(moves, None, Outcome.ENDED if good else Outcome.RECURSION_LIMIT, success=good)


def walks(kernel: Kernel, runs: int, rng: np.random.Generator) -> list[Trajectory]:
    """Walk again and again."""
    return [walk(kernel, rng) for _ in range(runs)]


def count(runs: Sequence[Trajectory]) -> TransitionCounts:
    """Count the moves of runs."""
    return TransitionCounts.from_edges((f, g, 1) for run in runs for f, g in run.moves)


def sample(kernel: np.ndarray, moves: int, rng: np.random.Generator) -> TransitionCounts:
    """Draw so many moves from each state."""
    return TransitionCounts.from_dense(np.array([rng.multinomial(moves, row) for row in kernel]))


def support(search: float = 0.5, done: float = 0.3) -> Kernel:
    """Return an agent that plans, searches, reads and answers."""
    return {
        START: {"plan": 1.0},
        "plan": {"search": search, "answer": 1 - search},
        "search": {"read": 0.7, "plan": 0.3},
        "read": {"search": 0.3, "plan": 0.3, "answer": 0.4},
        "answer": {END: done, "plan": (1 - done) / 2, "read": (1 - done) / 2},
    }


def loops() -> Figure:
    """Draw the affinity of each loop; bad runs go round one that others walk both ways."""
    rng = np.random.default_rng(1)
    usual = {
        START: {"plan": 1.0},
        "plan": {"search": 1.0, "write": 1.0, "test": 1.0, END: 0.5},
        "search": {"read": 3.0, "plan": 0.6, "write": 0.6},
        "read": {"plan": 3.0, "search": 0.6},
        "write": {"test": 1.0, "plan": 1.0, "search": 0.6},
        "test": {"write": 1.0, "plan": 1.0},
    }
    stuck = {
        **usual,
        "plan": {"write": 4.0, "search": 0.3, "test": 0.2, END: 0.8},
        "write": {"test": 4.0, "plan": 0.3},
        "test": {"plan": 4.0, "write": 0.3},
    }
    good, bad = walks(usual, 150, rng), walks(stuck, 60, rng)
    runs = [replace(run, success=True) for run in good] + [replace(r, success=False) for r in bad]
    report = check_balance(count(runs), runs=runs)
    more = {contrast.loop for contrast in report.contrasts if contrast.rejected}
    figure, ax = frame()
    table = report.loops
    for i in range(len(table)):
        label, colour, marker = "not driven", GREY, "x"
        if table.adjusted[i] <= report.alpha:
            label, colour, marker = "driven", BLUE, "o"
            if table.names(i) in more:
                label, colour, marker = "driven, and failed runs take it more", RED, "s"
        ax.errorbar(
            table.affinity[i], -i, xerr=1.96 * table.error[i], color=colour, fmt=marker, label=label
        )
    ax.set_yticks(-np.arange(len(table)), [" → ".join(table.names(i)) for i in range(len(table))])
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set(xlabel="affinity with 95% interval, nats", ylabel="loop")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), loc="lower right", frameon=False)
    return figure


def drift() -> Figure:
    """Draw log E of agents that stay as they were, and of agents that change after 50 runs."""
    figure, ax = frame()
    changed_agent = support(0.9, done=0.1)
    for changed, colour, style in ((False, BLUE, "-"), (True, RED, "--")):
        for seed in range(3):
            rng = np.random.default_rng([2, seed, changed])
            live = DriftMartingale(walks(support(), 200, rng), seed=seed)
            path = [live.log_e_value]
            for run in range(120):
                live.update(walk(changed_agent if changed and run >= 50 else support(), rng))
                path.append(live.log_e_value)
            label = "changed after 50 runs" if changed else "as before"
            ax.plot(path, color=colour, ls=style, lw=1.2, label=None if seed else label)
    ax.axhline(live.threshold, color="black", ls=":", lw=1.2, label="alarm: log 20")
    ax.axvline(50, color=GREY, lw=0.8)
    ax.set(xlabel="new runs", ylabel="log E, nats", xlim=(0, 120))
    ax.legend(frameon=False, loc="upper left")
    return figure


def order() -> Figure:
    """Draw the gain of agents that lean more or less on where they came from."""
    figure, ax = frame()
    memory = np.linspace(0, 0.9, 10)
    back = (1 - memory) / 2
    truth = np.log(2) + back * np.log(back) + (1 - back) * np.log(1 - back)
    ax.plot(memory, truth, color="black", lw=1, label="true gain")
    for level, stays in enumerate(back):
        for seed in range(4):
            rng = np.random.default_rng([3, level, seed])
            sides = np.cumsum(rng.random(100) > stays) % 2
            moves = [m for s in np.where(sides, "x", "y").tolist() for m in (("a", s), (s, "a"))]
            result = markov_order_test([Trajectory(tuple(moves))], replicates=199)
            style = (RED, "o", RED) if result.rejected else (BLUE, "o", "none")
            ax.plot(memory[level], result.gain, style[1], color=style[0], mfc=style[2], ms=5)
    ax.plot([], [], "o", color=RED, label="order 1 rejected, p ≤ 0.05")
    ax.plot([], [], "o", color=BLUE, mfc="none", label="not rejected")
    ax.set(ylabel="gain, nats per move")
    ax.set(xlabel="memory (0: none, 1: always the other way than before)")
    ax.legend(frameon=False, loc="upper left")
    return figure


def forecast() -> Figure:
    """Draw the share of runs that succeed by each step: as forecast, and as other runs did."""
    rng = np.random.default_rng(4)
    one = support()
    one["read"] = {"search": 0.4, "plan": 0.2, "answer": 0.2, "stuck": 0.2}
    quick = {**one, "answer": {END: 1.0}, "plan": {"answer": 1.0}}
    slow = {**one, "plan": {"search": 1.0}, "answer": {"plan": 0.9, END: 0.1}}
    figure, axes = frame(2, sharey=True)
    for ax, kinds, title in zip(
        axes, ((one, one), (quick, slow)), ("one kind of run", "two kinds, mixed"), strict=True
    ):
        seen, held = ([walk(kinds[i % 2], rng) for i in range(160)] for _ in range(2))
        found = forecast_outcome(seen, held_out=held)
        curve = found.curve(steps=30)
        steps = np.arange(31)
        ends = np.array([len(run) if run.success else 1_000 for run in held])
        did = (ends[:, None] <= steps).mean(axis=0)
        band = curve.success_interval.T
        ax.fill_between(
            steps, *band, step="post", color=BLUE, alpha=0.3, lw=0, label="forecast, 95% band"
        )
        ax.step(steps, curve.success, where="post", color=BLUE, lw=1.2)
        ax.step(steps, did, where="post", color="black", ls="--", lw=1.2, label="other 160 runs")
        verdict = "trusted" if found.fit and found.fit.trusted else "not reliable"
        ax.set_title(f"{title}: {verdict}", fontsize=9)
        ax.set(xlabel="moves", xlim=(0, 30), ylim=(0, 1))
    axes[0].set_ylabel("share of runs that have succeeded")
    axes[1].legend(frameon=False, loc="lower right")
    return figure


def kernels() -> Figure:
    """Draw the distances of five contexts: one is the same prompt again, one is far off."""
    rng = np.random.default_rng(5)
    searching = {"prompt A": 0.5, "prompt A again": 0.5, "prompt B": 0.65, "prompt C": 0.8}
    runs = {name: walks(support(share), 120, rng) for name, share in searching.items()}
    runs["other model"] = walks(support(0.8, done=0.7), 120, rng)
    return plot_distances(compare_kernels(runs, replicates=199))


def potentials() -> Figure:
    """Draw how far each state moved; `test` was lowered by 1.5."""
    rng = np.random.default_rng(6)
    names = ["plan", "ask", "fetch", "search", "read", "cite"]
    names += ["draft", "edit", "check", "test", "answer", "send"]
    heights = rng.normal(size=12) / 2
    conductance = np.triu(rng.gamma(2.0, size=(12, 12)) + 0.3, 1)
    counts = {}
    for context, drop in (("old", 0.0), ("new", 1.5)):
        v = heights - drop * (np.array(names) == "test")
        kernel = (conductance + conductance.T) * np.exp((v[:, None] - v) / 2)
        kernel /= kernel.sum(axis=1).max()
        rows = np.column_stack([kernel, 1 - kernel.sum(axis=1)])
        drawn = [rng.multinomial(500, np.clip(row, 0, 1) / row.sum()) for row in rows]
        counts[context] = TransitionCounts.from_edges(
            (f, g, int(n))
            for f, row in zip(names, drawn, strict=True)
            for g, n in zip([*names, None], row, strict=True)
            if n
        )
    comparison = compare_potentials(counts)
    table = comparison.to_table()
    figure, ax = frame()
    for i, (shift, error, p) in enumerate(
        zip(table["shift"], table["error"], table["adjusted"], strict=True)
    ):
        moved = p <= comparison.alpha
        style = {"color": RED, "fmt": "s"} if moved else {"color": BLUE, "fmt": "o", "mfc": "none"}
        ax.errorbar(i, shift, yerr=1.96 * error, capsize=3, **style)
    true = -1.5 * ((np.array(table["state"]) == "test") - 1 / 12)
    ax.plot(true, "_", color="black", ms=22, label="truth")
    ax.errorbar([], [], fmt="s", color=RED, label="moved, at a false discovery rate of 5%")
    ax.errorbar([], [], fmt="o", color=BLUE, mfc="none", label="not seen to move")
    ax.axhline(0, color="black", lw=0.8, ls=":")
    ax.set_xticks(range(len(names)), table["state"], fontsize=8)
    ax.set(xlabel="state", ylabel="shift of V with 95% interval,\nunits of 1/β")
    ax.legend(frameon=False, loc="lower right")
    return figure


def reversibility(chains: int = 60, moves: int = 15) -> Figure:
    """Draw the p-values of chains of few moves, reversible and driven, by both laws."""
    SHAPES["small"] = (8, 1.0)
    figure, ax = frame()
    shown = np.arange(1, chains + 1) / chains
    for force, name, style in ((0.0, "reversible", "-"), (1.0, "driven", "--")):
        rng = np.random.default_rng([7, int(force)])
        counts = [sample(draw_chain("small", force, rng), moves, rng) for _ in range(chains)]
        for method, colour in (("bootstrap", BLUE), ("chi2", RED)):
            if method == "chi2" and force:
                continue  # what it rejects of driven chains is worth nothing
            p = [reversibility_test(c, method=method, replicates=99).pvalue for c in counts]
            law, line = ("chi-square", "-.") if method == "chi2" else (method, style)
            options = {"color": colour, "ls": line, "label": f"{name}, {law}"}
            ax.step(np.sort(p), shown, where="post", **options)
    ax.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":", label="a right p-value, reversible")
    ax.set(xlabel="p-value (a probability)", ylabel="share of chains with at most this p")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(frameon=False, loc="lower right")
    return figure


def ring(states: int, force: float) -> np.ndarray:
    """Return the kernel of a ring that is taken one way exp(force) times as often."""
    ahead = np.roll(np.eye(states), 1, axis=1)
    return (np.exp(force) * ahead + ahead.T) / (1 + np.exp(force))


def entropy() -> Figure:
    """Draw the estimates for rings of four states, driven more and more, beside the truth."""
    figure, ax = frame()
    drives = np.linspace(0, 1.5, 11)
    ax.plot(drives, drives * np.tanh(drives / 2), color="black", lw=1, label="truth: d tanh(d / 2)")
    for i, drive in enumerate(drives):
        rng = np.random.default_rng([8, i])
        found = entropy_production(sample(ring(4, drive), 75, rng), replicates=300)
        low, high = found.interval
        ax.errorbar(
            drive,
            found.corrected,
            yerr=[[max(found.corrected - low, 0)], [max(high - found.corrected, 0)]],
            fmt="o",
            color=BLUE,
            capsize=3,
            label=None if i else "corrected, with 95% interval",
        )
        ax.plot(drive, found.value, "x", color=RED, label=None if i else "before the correction")
    ax.set(
        xlabel="drive d, nats per step round the ring", ylabel="entropy production,\nnats per step"
    )
    ax.legend(frameon=False, loc="upper left")
    return figure


def hodge() -> Figure:
    """Draw the shares at several drives, round a triangle or round a ring of five."""
    links = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 0)]
    figure, axes = frame(2, sharey=True)
    v = np.array([0.6, 0.0, 0.9, 0.3, 1.2, 0.1])
    paths = {"triangle": [(0, 4), (4, 5), (5, 0)], "ring of five": links[:5]}
    drives = (0.0, 0.25, 0.5, 1.0, 2.0)
    for ax, (name, path) in zip(axes, paths.items(), strict=True):
        shares = []
        for drive in drives:
            kernel = np.zeros((6, 6))
            for f, g in links:
                push = drive * (((f, g) in path) - ((g, f) in path))
                kernel[f, g] = np.exp((v[f] - v[g] + push) / 2)
                kernel[g, f] = 1 / kernel[f, g]
            parts = hodge_decomposition(kernel / kernel.sum(axis=1).max())
            shares.append((parts.gradient_share, parts.curl_share, parts.harmonic_share))
        below = np.zeros(len(drives))
        styles = ((BLUE, "", "gradient"), (RED, "//", "curl"), ("#F0E442", "..", "harmonic"))
        for share, (colour, hatch, label) in zip(np.array(shares).T, styles, strict=True):
            bars = {"color": colour, "hatch": hatch, "edgecolor": "black", "lw": 0.5}
            ax.bar([f"{d:g}" for d in drives], share, bottom=below, label=label, **bars)
            below += share
        ax.set(xlabel="drive, nats per step")
        ax.set_title(f"driven round a {name}", fontsize=9)
    axes[0].set_ylabel("share of the squared log ratios")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def attractors() -> Figure:
    """Draw the heights along a path of states, its basins, and the climb out of each."""
    names = list("abcdefghijk")
    v = np.array([1.6, 0.7, 0.2, 1.0, 1.9, 1.2, 0.9, 1.4, 2.3, 0.8, 0.0])
    edges = []
    for i in range(len(v) - 1):
        rate = 200 * np.exp((v[i] - v[i + 1]) / 2)
        edges += [
            (names[i], names[i + 1], round(rate)),
            (names[i + 1], names[i], round(200**2 / rate)),
        ]
    left = {f: 1_000 - sum(n for s, _, n in edges if s == f) for f in names}
    counts = TransitionCounts.from_edges([*edges, *((f, None, n) for f, n in left.items())])
    report = find_attractors(counts, min_depth=0.2)
    heights = dict(zip(report.potential.states, report.potential.heights, strict=True))
    y = np.array([heights[name] for name in names]) - min(heights.values())
    figure, ax = frame()
    ax.plot(y, color=GREY, lw=1, zorder=1)
    styles = ((BLUE, "o"), (RED, "s"), (GREEN, "D"))
    for attractor, (colour, marker) in zip(report.attractors, styles, strict=True):
        inside = [names.index(state) for state in attractor.basin]
        ax.plot(inside, y[inside], marker, color=colour, label=f"basin of {attractor.state}")
        if attractor.saddle is None:
            continue
        here, top = names.index(attractor.state), y[names.index(attractor.saddle)]
        ax.annotate("", (here, top), (here, y[here]), arrowprops={"arrowstyle": "->"})
        ax.hlines(top, here, names.index(attractor.saddle), color="black", lw=0.8, ls=":")
        note = f"{report.barrier(attractor.state, attractor.into or ''):.2f}"
        ax.text(here + 0.1, (top + y[here]) / 2, note, va="center")
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="state", ylabel="V, units of 1/β", ylim=(-0.15, None))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def rates() -> Figure:
    """Draw the evidence of rates that stay or go up, and where one of them lies."""
    figure, (left, right) = frame(2)
    shown = np.arange(1_000)
    for higher, colour, style in ((0.05, BLUE, "-"), (0.2, RED, "--")):
        for seed in range(3):
            rng = np.random.default_rng([9, seed, higher == 0.2])
            rate = RateMartingale(baseline=rng.random(300) < 0.05)
            evidence, ends = [], []
            for failed in rng.random(1_000) < np.where(shown < 500, 0.05, higher):
                rate.update(failed)
                evidence.append(rate.log_e_value)
                ends.append((rate.rate, *rate.interval))
            label = "20% after 500 runs" if higher == 0.2 else "5% throughout"
            left.plot(evidence, color=colour, ls=style, lw=1.2, label=None if seed else label)
            if seed == 0 and higher == 0.05:
                mean, low, high = np.array(ends).T
                right.fill_between(shown, low, high, color=BLUE, alpha=0.3, lw=0, label="interval")
                right.plot(mean, color=BLUE, lw=1.2, label="mean so far")
    left.axhline(rate.threshold, color="black", ls=":", lw=1.2, label="alarm: log 20")
    left.axvline(500, color=GREY, lw=0.8)
    left.set(xlabel="runs", ylabel="log E, nats", xlim=(0, 1_000), ylim=(-6, 20))
    right.axhline(0.05, color="black", lw=0.8, ls=":", label="true rate")
    right.set(xlabel="runs", ylabel="share of runs that failed", xlim=(0, 1_000), ylim=(0, 0.3))
    for ax, place in ((left, "upper left"), (right, "upper right")):
        ax.legend(frameon=False, loc=place, fontsize=8)
    return figure


def change() -> Figure:
    """Draw the likelihood of each moment, with the interval, of a rate that goes up."""
    rng = np.random.default_rng(10)
    failed = rng.random(200) < np.where(np.arange(200) < 120, 0.05, 0.25)
    found = find_change(failed, in_order=True)
    ratios = [
        sum(
            xlogy(k, k / n) + xlogy(n - k, 1 - k / n)
            for k, n in ((s, m), (failed.sum() - s, 200 - m))
        )
        for m, s in enumerate(np.cumsum(failed)[:-1].tolist(), 1)
    ]
    figure, ax = frame()
    ax.plot(np.arange(2, 201), ratios - np.max(ratios), color=BLUE, lw=1.2, label="each moment")
    low, high = found.interval
    ax.axvspan(low, high, color=BLUE, alpha=0.2, lw=0, label="95% interval")
    ax.axvline(found.runs_before + 1, color=BLUE, ls="--", lw=1.2, label="found")
    ax.axvline(121, color="black", ls=":", lw=1.2, label="truth")
    bottom = ax.get_ylim()[0]
    ax.plot(
        np.flatnonzero(failed) + 1, np.full(failed.sum(), bottom), "|", color=RED, label="failed"
    )
    ax.set(xlabel="first run after the change", ylabel="log likelihood\nless the largest, nats")
    ax.set(xlim=(1, 200))
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def compare(records: int = 40) -> Figure:
    """Draw p-values where nothing changed, of runs that differ from each other."""
    rng = np.random.default_rng(11)
    by_runs, by_moves = [], []
    for _ in range(records):
        sides = [
            [walk(support(share, share), rng) for share in rng.uniform(0.1, 0.9, 40)] for _ in "ab"
        ]
        by_runs.append(compare_runs(*sides, replicates=199).pvalue)
        by_moves.append(compare_counts(*map(count, sides)).pvalue)
    figure, ax = frame()
    shown = np.arange(1, records + 1) / records
    ax.step(np.sort(by_runs), shown, where="post", color=BLUE, label="by runs: compare_runs")
    ax.step(
        np.sort(by_moves), shown, where="post", color=RED, ls="--", label="by moves: compare_counts"
    )
    ax.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":", label="a right p-value")
    ax.set(xlabel="p-value (a probability)", ylabel="share of records with at most this p")
    ax.set(xlim=(0, 0.3), ylim=(0, 0.5))
    ax.legend(frameon=False, loc="upper left")
    return figure


def guard() -> Figure:
    """Draw the risk of new runs as they go, successful and failed ones, and the threshold."""
    rng = np.random.default_rng(12)
    usual = support(done=0.6)
    stuck = {**usual, "answer": {"plan": 0.9, END: 0.1}}

    def draw(runs: int) -> list[Trajectory]:
        good = [replace(walk(usual, rng), success=True) for _ in range(runs)]
        return good + [replace(walk(stuck, rng), success=False) for _ in range(runs // 2)]

    made = RunGuard.fit(draw(120))
    figure, ax = frame()
    styles = {True: (BLUE, "-", "successful"), False: (RED, "--", "failed")}
    for run in draw(30):
        watch = made.watch()
        colour, style, label = styles[bool(run.success)]
        risks = [watch.update(*move) for move in run.moves]
        ax.plot(np.arange(1, len(risks) + 1), risks, color=colour, ls=style, lw=0.8, label=label)
    ax.axhline(made.threshold or 0, color="black", ls=":", lw=1.2, label="threshold, alpha = 10%")
    ax.set(xlabel="moves", ylabel="risk, log odds of failure")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), frameon=False, loc="lower right")
    return figure


def contrast(runs: int = 100) -> Figure:
    """Draw the odds ratio of failed runs that are pushed round a loop more than others."""
    figure, ax = frame()
    loop = ("tool_0", "tool_1", "tool_2")
    for column, more in enumerate((0.0, 0.5, 1.0, 2.0)):
        for seed in range(4):
            rng = np.random.default_rng([13, column, seed])
            failed = np.arange(runs) < 0.3 * runs
            usual = draw_weights(rng, 6)
            kinds = np.array([push_loop(usual, (0, 1, 2), push) for push in (2.0, 2.0 + more)])
            paths = draw_paths(rng, kinds[failed.astype(int)], draw_lengths(rng, runs))
            found = contrast_loops(make_runs(paths, ~failed), [loop])[0]
            low, high = found.interval
            style = {"color": RED, "fmt": "s"} if found.rejected else {"color": BLUE, "fmt": "o"}
            bars = [[found.odds_ratio - low], [high - found.odds_ratio]]
            ax.errorbar(column + 0.12 * (seed - 1.5), found.odds_ratio, yerr=bars, **style)
    ax.errorbar([], [], fmt="s", color=RED, label="suspect, p ≤ 0.05")
    ax.errorbar([], [], fmt="o", color=BLUE, label="not")
    ax.axhline(1, color="black", lw=0.8, ls=":")
    ax.set_yscale("log")
    ax.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    ax.set_xticks(range(4), ["0", "0.5", "1", "2"])
    ax.set(xlabel="further push of failed runs, nats a move", ylabel="odds ratio, 95% interval")
    ax.legend(frameon=False, loc="upper left")
    return figure


def inside(records: int = 20) -> Figure:
    """Draw in which direction runs closed loops: of a mixture, in two phases, and pushed."""
    figure, ax = frame()
    shown = {
        "mixture of reversible runs": ("each run has a reversible kernel of its own", BLUE, "o"),
        "runs in two phases": ("another kernel from the eighth move of each run on", GREEN, "D"),
        "pushed": ("driven round a triangle, 1 nat a move", RED, "s"),
    }
    most = 0
    for place, (label, (name, colour, marker)) in enumerate(shown.items()):
        for record in range(records):
            table = make_runs(SETTINGS[name](np.random.default_rng([14, place, record]), 100))
            found = orientation_test(table, [TRIANGLE])[0]
            most = max(most, found.forward, found.backward)
            fill = colour if found.rejected else "none"
            ax.plot(found.backward, found.forward, marker, color=colour, mfc=fill, ms=5)
        ax.plot([], [], marker, color=colour, mfc="none", label=label)
    ax.plot([0, most], [0, most], color="black", lw=0.8, ls=":")
    ax.set(
        xlabel="loops closed in reverse", ylabel="loops closed in the direction\nof the triangle"
    )
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def repetition() -> Figure:
    """Draw how often runs went back and forth, and the bound of the successful ones."""
    rng = np.random.default_rng(15)
    table = make_table(FAULTY["10% shuttle, 20% of the others fail"](rng, 100))
    switches = MeasuredRuns.of(table).shuttle.switches
    figure, ax = frame()
    for success, colour, marker in ((1, BLUE, "o"), (0, RED, "s")):
        chosen = switches[table.success == success]
        height = success + rng.uniform(-0.3, 0.3, len(chosen))
        ax.plot(chosen, height, marker, color=colour, mfc="none", ms=5)
    bound = find_repetition(table).tests[1].bound
    ax.axvline(bound, color="black", ls=":", lw=1.2, label="tolerance bound of successful runs")
    ax.set_yticks([0, 1], ["failed", "successful"])
    ax.set(xlabel="most changes in a row between two states", ylim=(-0.5, 1.9))
    ax.legend(frameon=False, loc="upper right")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "loops": loops,
    "drift": drift,
    "order": order,
    "forecast": forecast,
    "kernels": kernels,
    "potentials": potentials,
    "reversibility": reversibility,
    "entropy": entropy,
    "hodge": hodge,
    "attractors": attractors,
    "rates": rates,
    "change": change,
    "compare": compare,
    "guard": guard,
    "contrast": contrast,
    "inside": inside,
    "repetition": repetition,
}


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, "all"], default="all")
    given = parser.parse_args().names
    for name in PICTURES if "all" in given else given:
        PICTURES[name]().savefig(Path("docs/images") / f"statistics-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
