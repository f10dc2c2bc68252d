"""The chains that the experiments are about: published, measured, or simulated.

Of the paper's own data `claude_4` is here; `examples.paper.words.tables` and `points` have the
rest. `smollm2` is measured. `two_way_ring`, `explore`, `search_formulas` and `heat_bath` are
simulated: nothing that they give is a number of the paper.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from detailed_balance import TransitionGraph, read_transitions
from detailed_balance.analyzers import (
    Kernel,
    Potential,
    TransitionCounts,
    estimate_kernel,
    estimate_potential,
)
from examples.paper.words.tables import WordTable

__all__ = [
    "add_kernel_options",
    "choose_kernel",
    "claude_4",
    "explore",
    "heat_bath",
    "load_smollm2",
    "sample",
    "search_formulas",
    "smollm2",
    "two_way_ring",
]

_SIGNS = "+-*/"
_NEW = 0.12  # of the answers of an agent whose space is open


def claude_4() -> Potential:
    """Return the potential of Claude-4 in the word task (paper, supplement B, Table II).

    Examples
    --------
    >>> claude_4().difference("PROBLEMS", "ATTITUDE").__round__(1)
    5.2
    """
    return WordTable.load("claude_4").potential()


def smollm2(temperature: float = 0.7) -> Kernel:
    """Return the measured kernel of SmolLM2-135M-Instruct on 150 words, at 0.7 or 1.0."""
    words, logs = load_smollm2()
    return Kernel.from_matrix(np.exp(logs[temperature]), words)


def load_smollm2() -> tuple[tuple[str, ...], dict[float, NDArray[np.float64]]]:
    """Return the 150 words, and the measured log T, (150, 150) in nats, by temperature."""
    path = files("detailed_balance.demo") / "smollm2_chat.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as measured:
        logs = dict(zip(measured["temperatures"].tolist(), measured["logP"], strict=True))
        return tuple(measured["words"].tolist()), logs


def two_way_ring(temperature: float, states: int = 100, seed: int = 0) -> Kernel:
    """Return a Metropolis walk round a ring: two ways from each state, V Gaussian of deviation 1.

    So few ways that one of them may win a vote.

    Examples
    --------
    >>> row = two_way_ring(2.0).probabilities.toarray()[0]
    >>> int((row > 0).sum()), bool(0.45 <= row.max() <= 0.5)
    (2, True)
    """
    values = np.random.default_rng(seed).normal(size=states)
    matrix = np.zeros((states, states))
    here = np.arange(states)
    for there in (np.roll(here, 1), np.roll(here, -1)):
        climb = np.maximum(values[there] - values[here], 0)
        matrix[here, there] = 0.48 * np.exp(-climb / temperature)
    return Kernel.from_matrix(matrix)


def sample(kernel: Kernel, attempts: int, seed: int | np.random.Generator = 0) -> TransitionCounts:
    """Draw `attempts` answers from each state of a kernel; what is missing in a row is an escape.

    Examples
    --------
    >>> sample(Kernel.from_matrix([[0.0, 1.0], [1.0, 0.0]]), 5).counts.toarray().tolist()
    [[0, 5], [5, 0]]
    """
    rng, n = np.random.default_rng(seed), len(kernel.states)
    rows = kernel.probabilities.toarray()
    rest = np.clip(1 - rows.sum(axis=1), 0, None)
    drawn = rng.multinomial(attempts, np.column_stack([rows, rest]) / (rows.sum(1) + rest)[:, None])
    counts = csr_array(drawn[:, :n].astype(np.int64))
    return TransitionCounts(kernel.states, counts, np.full(n, attempts, dtype=np.int64))


def explore(
    kernel: Kernel | None, start: str, attempts: int, seed: int = 0
) -> list[tuple[str, str | None]]:
    """Ask an agent again and again, from a state drawn uniformly from those found so far.

    Without a kernel the space is open: an answer in eight is a word that was never there.

    Examples
    --------
    >>> explore(Kernel.from_matrix([[0.0, 1.0], [1.0, 0.0]], ("a", "b")), "a", 1)
    [('a', 'b')]
    """
    rng = np.random.default_rng(seed)
    answer = _open_answer(rng) if kernel is None else _answer(kernel, rng)
    found, known, made = [start], {start}, []
    for _ in range(attempts):
        source = found[int(rng.integers(len(found)))]
        target = answer(source)
        made.append((source, target))
        if target is not None and target not in known:
            known.add(target)
            found.append(target)
    return made


def search_formulas(
    states: int = 7_484, attempts: int = 50_228, links: int = 16_200, seed: int = 0
) -> TransitionCounts:
    """Simulate a search among formulas that prefers simple ones.

    The heights are those of a hidden potential, of operators, depth and chance; moves link
    formulas at random and obey detailed balance. By default the search has about the size of the
    paper's symbolic agent: 7,484 states, 21,697 edges and 50,228 transitions.
    """
    rng = np.random.default_rng(seed)
    names = _formulas(rng, states)
    simple = np.array([[sum(map(f.count, "+-*/")), f.count("(")] for f in names])
    heights = simple @ [0.55, 0.25] + 0.4 * rng.normal(size=states)
    ends = rng.integers(states, size=(2, links))
    ends = np.column_stack([ends, ends[::-1]])
    weights = np.exp((heights[ends[0]] - heights[ends[1]]) / 2) * (ends[0] != ends[1])
    source = rng.integers(states, size=attempts)
    order = np.argsort(ends[0], kind="stable")
    ends, weights = ends[:, order], weights[order]
    last = np.searchsorted(ends[0], np.arange(states + 1))
    total = np.concatenate([[0.0], np.cumsum(weights)])
    low, high = total[last[source]], total[last[source + 1]]
    drawn = np.searchsorted(total, low + rng.random(attempts) * (high - low), "right") - 1
    # A formula without a link is never left.
    target = np.where(high > low, ends[1][np.minimum(drawn, len(weights) - 1)], -1)
    return TransitionCounts.from_arrays(names, source, target, np.ones(attempts, dtype=np.int64))


def heat_bath(
    temperatures: Iterable[float], *, states: int = 300, spread: float = 3.0, seed: int = 0
) -> dict[float, Potential]:
    """Return the potential at each temperature of a chain that obeys detailed balance.

    The heights are Gaussian with the deviation `spread`; all states are linked, and a move is
    accepted with the probability 1 / (1 + exp(-drop / temperature)).
    """
    heights = spread * np.random.default_rng(seed).normal(size=states)
    drops = heights[:, None] - heights
    found = {}
    for temperature in temperatures:
        rates = 1 / (1 + np.exp(-drops / temperature)) / states
        np.fill_diagonal(rates, 0.0)
        found[temperature] = estimate_potential(Kernel.from_matrix(rates))
    return found


def add_kernel_options(parser: ArgumentParser) -> None:
    """Give a parser the options of `choose_kernel`."""
    add = parser.add_argument
    add("--temperature", type=float, default=0.7, choices=(0.7, 1.0), help="of SmolLM2")
    add("--walk", nargs="+", metavar="FILE", help="recorded moves, for the kernel of another chain")
    add("--least", type=int, default=10, help="attempts of a word of a walk (default: 10)")


def choose_kernel(options: Namespace) -> Kernel:
    """Return the kernel of recorded walks, of the states with so many attempts; else `smollm2`."""
    if not options.walk:
        return smollm2(options.temperature)
    graph = TransitionGraph()
    for path in options.walk:
        for move in read_transitions(path):
            graph.record(move.source, move.target)
    return estimate_kernel(graph.snapshot().without_boundaries(), min_attempts=options.least)


def _answer(kernel: Kernel, rng: np.random.Generator) -> Callable[[str], str | None]:
    cumulative = np.cumsum(kernel.probabilities.toarray(), axis=1)
    place = {state: i for i, state in enumerate(kernel.states)}

    def answer(source: str) -> str | None:
        row = cumulative[place[source]]
        i = int(np.searchsorted(row, rng.random(), "right"))
        return kernel.states[i] if i < len(row) else None

    return answer


def _open_answer(rng: np.random.Generator) -> Callable[[str], str]:
    made = ["word 0"]

    def answer(source: str) -> str:
        if rng.random() < _NEW:
            made.append(f"word {len(made)}")
            return made[-1]
        return made[int(rng.integers(len(made)))]

    return answer


def _formulas(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Return different formulas, each of others put together."""
    found = ["x", "1", "2", "3.5"]
    known = set(found)
    while len(found) < count:
        for one, other, sign, call in rng.random((count, 4)).tolist():
            pool = min(len(found), 40 + len(found) // 20)
            made = f"{found[int(one * pool)]} {_SIGNS[int(4 * sign)]} {found[int(other * pool)]}"
            made = f"sin({made})" if call < 0.5 else made
            if len(made) <= 60 and made not in known:
                known.add(made)
                found.append(made)
    return tuple(found[:count])
