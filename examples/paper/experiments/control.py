"""Steer a simulated agent towards a wanted action, by its temperature and by votes.

The agent is the `LexiconChatModel`, and for votes a ring of states where each answer is one of
two; their kernels are known exactly, which gives the true action of the setting that the controller
ends with. The controller knows only what a recorder would: 20,000 transitions made beforehand, from
which the potential is estimated, and the transitions made while it steers. Sources are drawn
uniformly, as in the paper's word task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from detailed_balance.analyzers import (
    Kernel,
    Potential,
    TransitionCounts,
    estimate_potential,
    majority_vote_kernel,
    measure_action,
)
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import two_way_ring
from examples.paper.control import ActionController
from examples.paper.words.lexicon import LexiconChatModel

__all__ = ["answers", "learn_potential", "main", "steer", "true_action"]

PILOT = 20_000
"""Transitions recorded beforehand, as many as the paper's probes."""

VOTES = 10
"""M, the answers asked for each time."""


@lru_cache(maxsize=256)
def at_temperature(temperature: float) -> Kernel:
    """Return the exact kernel of the word model at a temperature."""
    return LexiconChatModel(temperature=temperature, spread=1.0).kernel()


@lru_cache(maxsize=16)
def at_votes(needed: float) -> Kernel:
    """Return the exact kernel of a ring of states where `needed` of 10 answers must agree."""
    once = two_way_ring(2.0)
    return once if needed == 1 else majority_vote_kernel(once, VOTES, int(needed))


@lru_cache(maxsize=256)
def true_action(kernel: Kernel) -> float:
    """Return the normalised least action of an exact kernel."""
    return estimate_potential(kernel).normalized_action


def answers(
    kernel: Kernel, count: int, rng: np.random.Generator
) -> Iterator[tuple[str, str | None]]:
    """Ask `count` times, each time about a state drawn uniformly; None is an escape."""
    cumulative = np.cumsum(kernel.probabilities.toarray(), axis=1)
    sources = rng.integers(len(kernel.states), size=count)
    targets = (cumulative[sources] <= rng.random(count)[:, None]).sum(axis=1)
    ends = (*kernel.states, None)
    return ((kernel.states[f], ends[g]) for f, g in zip(sources, targets, strict=True))


def learn_potential(kernel: Kernel, rng: np.random.Generator) -> Potential:
    """Estimate the potential from `PILOT` transitions."""
    moves = ((f, g, 1) for f, g in answers(kernel, PILOT, rng))
    return estimate_potential(TransitionCounts.from_edges(moves))


def steer(
    controller: ActionController,
    plant: Callable[[float], Kernel],
    windows: int,
    rng: np.random.Generator,
) -> ActionController:
    """Run the agent `plant` for so many windows under the controller."""
    for _ in range(windows):
        for source, target in answers(plant(controller.setting), controller.window, rng):
            controller.update(source, target)
    return controller


def by_temperature(target: float, seed: int, windows: int) -> ActionController:
    """Steer the temperature, from 1 on, and return the controller as it ends."""
    rng = np.random.default_rng(seed)
    potential = learn_potential(at_temperature(1.0), rng)
    controller = ActionController(target, potential, setting=(0.1, 4.0), initial=1.0)
    return steer(controller, at_temperature, windows, rng)


def by_votes(target: float, seed: int, windows: int) -> ActionController:
    """Steer how many of 10 answers must agree, from 9 on, and return the controller."""
    rng = np.random.default_rng(seed)
    potential = learn_potential(at_votes(1), rng)
    controller = ActionController(
        target, potential, setting=(6, 9), initial=9, gain=-0.15, integer=True
    )
    return steer(controller, at_votes, windows, rng)


def temperature_row(target: float, seeds: Sequence[int], windows: int) -> tuple[object, ...]:
    """Return how far the true action at the last temperatures is off the target."""
    ended = [by_temperature(target, seed, windows) for seed in seeds]
    actions = np.array([true_action(at_temperature(control.setting)) for control in ended])
    measured = [np.mean([s.measured.action for s in c.history[-10:]]) for c in ended]
    off = 100 * (actions / target - 1)
    return (
        target,
        float(np.mean([control.setting for control in ended])),
        float(np.mean(measured)),
        float(actions.mean()),
        f"{off.mean():+.1f}%",
        f"{off[np.argmax(np.abs(off))]:+.1f}%",
        f"{np.count_nonzero(np.abs(off) <= 10)}/{len(seeds)}",
    )


def votes_row(target: float, seeds: Sequence[int], windows: int) -> tuple[object, ...]:
    """Return which votes the last ten windows needed, and their true action."""
    ended = [by_votes(target, seed, windows) for seed in seeds]
    used = np.array([[step.setting for step in control.history[-10:]] for control in ended])
    actions = np.array([np.mean([true_action(at_votes(n)) for n in row]) for row in used])
    shares = [(n, float((used == n).mean())) for n in (6, 7, 8, 9)]
    off = 100 * (actions / target - 1)
    return (
        target,
        ", ".join(f"{n}: {share:.0%}" for n, share in shares if share),
        float(actions.mean()),
        f"{off.mean():+.1f}%",
        f"{off[np.argmax(np.abs(off))]:+.1f}%",
    )


def show_measurements(count: int, seeds: Sequence[int]) -> None:
    """Print what different ways to measure say of the same `count` transitions."""
    rows: list[tuple[object, ...]] = []
    for temperature in (0.3, 0.6, 1.2):
        found = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            potential = learn_potential(at_temperature(1.0), rng)
            moves = answers(at_temperature(temperature), count, rng)
            counts = TransitionCounts.from_edges((f, g, 1) for f, g in moves)
            measured = measure_action(counts, potential)
            own = estimate_potential(counts, min_attempts=1).normalized_action
            found.append((own, measured.action, measured.error))
        true = true_action(at_temperature(temperature))
        rows.append((temperature, true, *np.mean(found, axis=0).tolist()))
    show_table(
        f"S/n measured from {count:,} transitions, mean of {len(seeds)}",
        ["temperature", "true", "V from the same", "V from before", "its error"],
        rows,
    )
    print()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = make_parser("control", __doc__)
    parser.add_argument(
        "--runs", type=int, default=10, help="for a target, by a seed each (default: 10)"
    )
    parser.add_argument("--windows", type=int, default=20, help="of 1,000 moves (default: 20)")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.seed, chosen.seed + chosen.runs)
    show_measurements(1_000, seeds)
    show_table(
        f"Temperature, {chosen.runs} runs, {chosen.windows} windows of 1,000 transitions",
        ["target", "temperature", "measured", "true action", "mean off", "worst", "within 10%"],
        [temperature_row(target, seeds, chosen.windows) for target in (0.3, 0.45, 0.6)],
    )
    print()
    single = [round(true_action(at_votes(n)), 3) for n in (6, 7, 8)]
    show_table(
        f"n of {VOTES} votes: targets are the actions of n = 6, 7 and 8, and one between",
        ["target", "n, last ten windows", "true action", "mean off", "worst"],
        [votes_row(target, seeds, chosen.windows) for target in (*single, 0.2)],
    )
