"""Supplement E: a potential made of features of the state, and what it says about new states.

The states are 150 words, the kernel that of a small language model which was asked for a related
word (SmolLM2-135M-Instruct, measured exactly; see examples/demo/ORIGIN.md). The potential
V = theta . phi is fitted without the moves of a fifth of the words, and judged on these, five times
over. The paper did so for its symbolic agent, with features that a language model had written; its
figures stand beside ours for orientation, they are those of another chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.sparse import diags_array

from detailed_balance.analyzers import (
    Directionality,
    ExplicitPotential,
    Kernel,
    embedding_features,
    estimate_potential,
    fit_explicit_potential,
    frequency_features,
    make_features,
    ngrams,
    score_directionality,
    text_features,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.potential.features import FeatureFunction
from detailed_balance.analyzers.potential.lasso import ActionProblem, fit_path
from examples.paper.agent.console import make_parser, show_progress, show_table
from examples.paper.chains import add_kernel_options, choose_kernel
from examples.paper.minilm import MiniLM

if TYPE_CHECKING:
    from numpy.typing import NDArray

Item = TypeVar("Item")

__all__ = [
    "PUBLISHED",
    "collect_families",
    "fit_families",
    "judge_new_states",
    "main",
    "random_shares",
    "show_actions",
    "show_directions",
    "show_new_states",
    "show_path",
]

PUBLISHED = (69.56, 25.83, 4.62)
"""Percent of the transitions above 0.05 that went down, up and stayed, in supplement E."""

_THRESHOLD = 0.05
_MANY = 10
_RANDOM = 1000
_HALVES = 3


def collect_families(words: Sequence[str]) -> tuple[dict[str, list[FeatureFunction]], list[str]]:
    """Return the families of features that can be had here, and why others cannot."""
    families: dict[str, list[FeatureFunction]] = {}
    missing = []
    try:
        common = import_module("wordfreq").word_frequency
        families["frequency"] = [frequency_features({word: common(word, "en") for word in words})]
    except ImportError:
        missing.append("frequency: wordfreq is missing: pip install wordfreq")
    families["length"] = [lambda word: {"length": len(word)}]
    families["text"] = [text_features]
    families["letters and pairs"] = [ngrams(2)]
    try:
        families["embeddings"] = [_embedded(words)]
    except InvalidInputError as error:
        missing.append(f"embeddings: {error}")
    return families, missing


def _embedded(words: Sequence[str]) -> FeatureFunction:
    """Compute the features once for all the fits."""
    features = embedding_features(MiniLM())
    rows = dict(zip(words, features.for_states(words), strict=True))
    return lambda word: rows[word]


def fit_families(
    kernel: Kernel, families: dict[str, list[FeatureFunction]], seed: int
) -> dict[str, ExplicitPotential]:
    """Fit each family, all of them together, all but a large one, and one feature for each state.

    The last has no value for a state that it has not seen; but where the moves *from* a state are
    held out, moves to it were seen. What it predicts needs no features.
    """
    every = [part for family in families.values() for part in family]
    wanted = {**families, "all": every}
    for name, family in families.items():
        if len(make_features(kernel.states, family).names) > _MANY:
            wanted[f"all but {name}"] = [part for part in every if part not in family]
    fit = partial(fit_explicit_potential, kernel, seed=seed)
    fits: dict[str, Callable[[], ExplicitPotential]]
    fits = {name: partial(fit, parts) for name, parts in wanted.items()}
    fits["one for each word"] = partial(fit, lambda state: {state: 1}, min_states=1)
    return {name: make() for name, make in _with_progress(fits.items(), "fit of")}


def _with_progress(items: Iterable[tuple[str, Item]], what: str) -> Iterator[tuple[str, Item]]:
    """Yield named items, and say before each which it is."""
    listed = list(items)
    for i, (name, item) in enumerate(listed):
        show_progress(f"{what} {name}", i, len(listed))
        yield name, item
    show_progress(f"{what} all of them", len(listed), len(listed))


def judge_new_states(
    kernel: Kernel, features: list[FeatureFunction], seed: int
) -> tuple[list[float], list[Directionality]]:
    """Fit to the moves within half of the states, and judge on the moves within the other half.

    Returns
    -------
    list of float
        The action of the moves between states of which nothing was seen, as a share of what they
        have without a potential, each way for each of three divisions.
    list of Directionality
        Which way those above 0.05 go.
    """
    random = np.random.default_rng(seed)
    actions, scores = [], []
    for _ in range(_HALVES):
        order = random.permutation(len(kernel.states))
        half = len(order) // 2
        for known, new in ((order[:half], order[half:]), (order[half:], order[:half])):
            fit = fit_explicit_potential(_within(kernel, known), features, penalties=10, seed=seed)
            there = _within(kernel, new)
            table = make_features(there.states, features, names=fit.names)
            actions.append(
                ActionProblem.from_kernel(there, table.values, fit.violation).action(fit.theta)
            )
            with suppress(InsufficientDataError):  # no move within this half is probable
                scores.append(score_directionality(there, table.values @ fit.theta))
    return actions, scores


def _within(kernel: Kernel, states: NDArray[np.int64]) -> Kernel:
    block = kernel.probabilities[states, :][:, states].tocsr()
    return Kernel(tuple(kernel.states[i] for i in states), block)


def random_shares(kernel: Kernel, seed: int) -> NDArray[np.float64]:
    """Return down, up and flat, in percent, of potentials that are standard normal, (1000, 3)."""
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(_RANDOM, len(kernel.states)))
    return 100 * np.array([score_directionality(kernel, values).shares for values in drawn])


def show_directions(kernel: Kernel, fits: dict[str, ExplicitPotential], seed: int) -> None:
    """Print which way the probable moves go."""
    free = estimate_potential(kernel)
    rows: list[tuple[object, ...]] = [("the paper's agent", *map(_percent, PUBLISHED))]
    drawn = random_shares(kernel, seed)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    spans = [
        f"{m:.1f} [{a:.1f}, {b:.1f}]" for m, a, b in zip(drawn.mean(0), low, high, strict=True)
    ]
    rows.append(("random, 95%", *spans))
    for name, fit in fits.items():
        if fit.held_out_directionality is not None:
            rows.append((name, *_shares(fit.held_out_directionality)))
    rows.append(("free, moves seen", *_shares(score_directionality(kernel, free))))
    probable = kernel.probabilities - diags_array(kernel.probabilities.diagonal())
    title = f"{(probable > _THRESHOLD).sum()} moves above {_THRESHOLD}, held out, in percent"
    show_table(title, ["potential", "down", "up", "flat"], rows)


def show_actions(kernel: Kernel, fits: dict[str, ExplicitPotential]) -> None:
    """Print the actions, as shares of the action without a potential."""
    moves = kernel.probabilities.sum() - kernel.probabilities.diagonal().sum()
    least = estimate_potential(kernel).action / moves  # K(0) = 1
    rows: list[tuple[object, ...]] = [("none: K(0)", "", "", "1.000", "1.000", "0%")]
    for name, fit in fits.items():
        used = int(np.count_nonzero(fit.theta))
        way = f"{(1 - fit.action) / (1 - least):.0%}"
        actions = (f"{fit.held_out_action:.3f}", f"{fit.action:.3f}")
        rows.append((name, str(len(fit.names)), str(used), *actions, way))
    rows.append(("free: the minimum", "", "", "", f"{least:.3f}", "100%"))
    columns = ["potential", "features", "used", "held out", "all moves", "of the way"]
    show_table("Action, as a share of the action without a potential", columns, rows)


def show_new_states(kernel: Kernel, families: dict[str, list[FeatureFunction]], seed: int) -> None:
    """Print what each family says about moves between states of which nothing was seen."""
    every = [part for family in families.values() for part in family]
    rows = []
    wanted = {**families, "all": every}
    for name, features in _with_progress(wanted.items(), "words never seen,"):
        actions, scores = judge_new_states(kernel, features, seed)
        ways = np.array([(score.down, score.up, score.flat) for score in scores]).reshape(-1, 3)
        shares = map(_percent, 100 * ways.sum(axis=0) / max(ways.sum(), 1))
        rows.append((name, f"{np.mean(actions):.3f}", f"{np.std(actions):.3f}", *shares))
    columns = ["potential", "action", "spread", "down", "up", "flat"]
    show_table("Moves within the half of the states that no fit had seen", columns, rows)


def show_path(kernel: Kernel, fit: ExplicitPotential) -> None:
    """Print how many features each penalty leaves, and what is gained in held-out moves."""
    table = make_features(kernel.states, fit.features, names=fit.names)
    problem = ActionProblem.from_kernel(kernel, table.values, fit.violation)
    thetas = fit_path(problem, fit.penalties)
    held_out = fit.held_out_actions.mean(axis=0)
    rows = [
        (
            f"{penalty:.4f}",
            int(np.count_nonzero(theta)),
            f"{action:.3f}",
            f"{problem.action(theta):.3f}",
        )
        for penalty, theta, action in zip(fit.penalties, thetas, held_out, strict=True)
    ]
    show_table("L1 path, all features", ["penalty", "used", "held out", "all moves"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, compare, and print the tables."""
    parser = make_parser("explicit", __doc__)
    add_kernel_options(parser)
    chosen = parser.parse_args(arguments)
    kernel = choose_kernel(chosen)
    families, missing = collect_families(kernel.states)
    for reason in missing:
        print(f"left out: {reason}")
    fits = fit_families(kernel, families, chosen.seed)
    show_directions(kernel, fits, chosen.seed)
    show_actions(kernel, fits)
    show_new_states(kernel, families, chosen.seed)
    show_table("The heaviest features of all", ["feature", "theta"], _heaviest(fits["all"]))
    show_path(kernel, fits["all"])


def _heaviest(fit: ExplicitPotential, count: int = 10) -> list[tuple[str, float]]:
    table = fit.to_table()
    return list(zip(table["feature"], table["theta"], strict=True))[:count]


def _shares(score: Directionality) -> list[str]:
    return [_percent(100 * share) for share in score.shares]


def _percent(value: float) -> str:
    return f"{value:.2f}"
