"""Whether the potential transcends models and prompts, and which difference would be seen.

Exact kernels on 30 words: two language models, SmolLM2-135M-Instruct and Gemma 3 270M, each under
three prompts for a related word and one for the opposite, at three temperatures; and an n-gram
model of English as a control, which never heard of the task. They are kept in examples/paper/data;
--measure computes those of one model again. Rows are scaled to sum to 1: an answer outside of the
list is asked for again.

Of each group of contexts: which share of the squared log ratios of pairs V explains, each pair
weighted by T(g<-f) + T(f<-g), where V is that of each context, one for all, or that of the other
contexts; and the same for popularity. Then answers are drawn from the kernels, and it is tested
whether the potentials are equal, and equal up to a scale; and told which difference would have
been seen.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from detailed_balance import read_runs
from detailed_balance.analyzers import (
    Kernel,
    PotentialComparison,
    compare_potentials,
    estimate_potential,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots import plot_distances
from examples.paper import DATA
from examples.paper.agent.console import make_parser, show_progress, show_table
from examples.paper.chains import sample
from examples.paper.figures.contexts import plot_against
from examples.paper.smollm2 import RELATED_WORD, SmolLM2, TokenModel, answer_log_probabilities
from examples.paper.smollm2.gemma import Gemma3
from examples.paper.smollm2.prompts import Chat

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "PROMPTS",
    "Agreement",
    "EqualityTest",
    "equality_test",
    "explained",
    "left_beside_popularity",
    "load_kernels",
    "load_ngrams",
    "main",
    "measure_agreement",
    "seen_difference",
    "share_rows",
]


def _with_examples(system: str, question: str, *examples: tuple[str, str]) -> Chat:
    shown = [
        message
        for word, answer in examples
        for message in (("user", question.replace("{word}", word)), ("assistant", answer))
    ]
    return (("system", system), *shown, ("user", question))


PROMPTS: dict[str, Chat] = {
    "related": RELATED_WORD,
    "other examples": _with_examples(
        "Reply with one word.",
        "Give me one word related to '{word}'. Only the word.",
        ("candle", "flame"),
        ("teacher", "school"),
    ),
    "comes to mind": _with_examples(
        "You play a game of words. Answer with a single word.",
        "What is the first word that comes to mind when you hear '{word}'?",
        ("hammer", "nail"),
        ("pillow", "sleep"),
    ),
    "opposite": _with_examples(
        "Reply with one word.",
        "Give me one word that means the opposite of '{word}'. Only the word.",
        ("hot", "cold"),
        ("tall", "short"),
    ),
}
"""Three ways to ask for a related word, and another task: its opposite."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How far k potentials on m states are one, up to a constant and a scale for each.

    Parameters
    ----------
    correlation : float
        Of V between two contexts; the mean over pairs of contexts.
    same_order : float
        The share of pairs of states that two contexts put in the same order; the mean likewise.
    shared : float
        The share of the variance of all V that one potential explains, at the same scale in all;
        1 / k where they have nothing in common.
    explained : float
        The share of what is left that a scale for each context explains besides; NaN where nothing
        is left.
    scales : (k,) array of float
        Of each context; the first is 1. Infinite where it has no part in the common potential.
    """

    correlation: float
    same_order: float
    shared: float
    explained: float
    scales: NDArray[np.float64]


def measure_agreement(values: NDArray[np.float64]) -> Agreement:
    """Compare potentials, (k, m) in units of 1 / beta.

    The common potential with a scale for each context is the first singular vector. Errors of
    estimated potentials count as differences here.

    Examples
    --------
    >>> found = measure_agreement(np.array([[0.0, 1.0, 3.0], [1.0, 3.0, 7.0]]))
    >>> round(found.correlation, 6), found.same_order, round(found.explained, 6)
    (1.0, 1.0, 1.0)
    >>> found.scales.round(6).tolist()
    [1.0, 2.0]
    """
    centred = values - values.mean(axis=1, keepdims=True)
    first, second = np.triu_indices(centred.shape[1], 1)
    order = np.sign(centred[:, first] - centred[:, second])
    pairs = list(combinations(range(len(centred)), 2))
    apart = ((centred - centred.mean(axis=0)) ** 2).sum()
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = left[:, 0] / left[0, 0]
    return Agreement(
        float(np.mean([np.corrcoef(centred[i], centred[j])[0, 1] for i, j in pairs])),
        float(np.mean([(order[i] == order[j]).mean() for i, j in pairs])),
        float(1 - apart / (centred**2).sum()),
        float(1 - (sizes[1:] ** 2).sum() / apart) if apart > 0 else np.nan,
        scales,
    )


MODELS = {"SmolLM2": SmolLM2, "Gemma 3": Gemma3}
"""What --measure computes with."""

_STEPS = 200
"""Of the fit of a scale for each context."""

RELATED = ("related", "other examples", "comes to mind")
"""The prompts of one task."""

KEPT = DATA / "prompt_kernels.npz"
"""The kernels; ``prompt_kernels.md`` says where they come from."""


def load_kernels() -> tuple[tuple[str, ...], dict[tuple[str, str, float], NDArray[np.float64]]]:
    """Return the words, and log T in nats, (n, n), by model, prompt and temperature."""
    with np.load(KEPT, allow_pickle=False) as kept:
        axes = (kept[name].tolist() for name in ("models", "prompts", "temperatures"))
        models, prompts, temperatures = axes
        logs = kept["logP"].astype(np.float64)
        return tuple(kept["words"].tolist()), {
            (model, prompt, temperature): logs[i, j, k]
            for i, model in enumerate(models)
            for j, prompt in enumerate(prompts)
            for k, temperature in enumerate(temperatures)
        }


def load_ngrams() -> dict[str, NDArray[np.float64]]:
    """Return log P in nats, (n, n), of the n-gram model: order 1, 2, and 3 after two words."""
    with np.load(KEPT, allow_pickle=False) as kept:
        return dict(
            zip(kept["ngrams"].tolist(), kept["ngram_logP"].astype(np.float64), strict=True)
        )


def scaled_kernel(logs: NDArray[np.float64], words: Sequence[str]) -> Kernel:
    """Return the kernel of answers that are one of the words, the same word included."""
    rates = np.exp(logs - logs.max(axis=1, keepdims=True))
    return Kernel.from_matrix(rates / rates.sum(axis=1, keepdims=True), tuple(words))


def explained(kernel: Kernel, heights: NDArray[np.float64], *, scaled: bool = False) -> float:
    """Return the share of the squared log ratios of all pairs that heights explain, weighted.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.6, 0.3, 0.1]] * 3)
    >>> round(explained(kernel, -np.log([0.6, 0.3, 0.1])), 6)
    1.0
    >>> round(explained(kernel, -2 * np.log([0.6, 0.3, 0.1]), scaled=True), 6)
    1.0
    """
    rates = kernel.probabilities.toarray()
    f, g = np.triu_indices(len(rates), 1)
    ratio, weight = np.log(rates[f, g] / rates[g, f]), rates[f, g] + rates[g, f]
    drop = heights[f] - heights[g]
    if scaled:
        drop = drop * (weight @ (ratio * drop)) / (weight @ drop**2)
    return float(1 - weight @ (ratio - drop) ** 2 / (weight @ ratio**2))


def share_rows(kernels: Mapping[str, Kernel], frequency: NDArray[np.float64]) -> tuple[float, ...]:
    """Return means over k contexts of the shares that are explained, by what `_SHARES` says.

    One V for all is that of the mean kernel, which has the least sum of actions.
    """
    found = []
    states = next(iter(kernels.values())).states
    rates = {name: kernel.probabilities.toarray() for name, kernel in kernels.items()}
    total = np.sum(list(rates.values()), axis=0)
    one = _height(total / len(rates), states)
    for name, kernel in kernels.items():
        others = (total - rates[name]) / (len(rates) - 1)
        found.append(
            (
                explained(kernel, _height(rates[name], states)),
                explained(kernel, one),
                explained(kernel, one, scaled=True),
                explained(kernel, _height(others, states), scaled=True),
                explained(kernel, _popularity(rates[name])),
                explained(kernel, _popularity(others), scaled=True),
                explained(kernel, frequency, scaled=True),
            )
        )
    return tuple(np.mean(found, axis=0).tolist())


def left_beside_popularity(kernels: Mapping[str, Kernel]) -> tuple[float, float]:
    """Return what V of the others explains more than their popularity, and its standard error.

    Both up to a scale, means over contexts. The error is the jackknife of a network: a word is left
    out with all of its pairs (Snijders and Borgatti, Connections 22 (1999) 61).
    """
    names = next(iter(kernels.values())).states
    rates = np.array([kernel.probabilities.toarray() for kernel in kernels.values()])
    n = len(names)

    def measure(kept: NDArray[np.int64]) -> float:
        some = rates[:, kept][:, :, kept]
        states = tuple(names[i] for i in kept)
        found = []
        for i, rate in enumerate(some):
            others = np.delete(some, i, axis=0).mean(axis=0)
            kernel = Kernel.from_matrix(rate, states)
            shares = [
                explained(kernel, heights, scaled=True)
                for heights in (_height(others, states), _popularity(others))
            ]
            found.append(shares[0] - shares[1])
        return float(np.mean(found))

    every = np.arange(n)
    without = np.array([measure(np.delete(every, i)) for i in every])
    spread = ((without - without.mean()) ** 2).sum()
    return measure(every), float(np.sqrt((n - 2) / (2 * n) * spread))


def _height(rates: NDArray[np.float64], states: tuple[str, ...]) -> NDArray[np.float64]:
    return estimate_potential(Kernel.from_matrix(rates, states)).values


def _popularity(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log of the mean of T(g<-f) over the other states f."""
    return np.asarray(-np.log((rates.sum(axis=0) - np.diag(rates)) / (len(rates) - 1)))


@dataclass(frozen=True, slots=True)
class EqualityTest:
    """Whether k estimated potentials are one.

    Parameters
    ----------
    statistic, degrees_of_freedom, pvalue
        Of a chi-square test.
    """

    statistic: float
    degrees_of_freedom: int
    pvalue: float


def equality_test(
    values: NDArray[np.float64], covariances: NDArray[np.float64], *, scaled: bool = False
) -> EqualityTest:
    """Test whether V is one up to a constant for each context, and with `scaled` up to a scale.

    Parameters
    ----------
    values : (k, m) array of float
        V less its mean.
    covariances : (k, m, m) array of float
        Of each, singular along the constant.
    scaled : bool
        Each context may have a scale of its own, found by generalised least squares.

    Examples
    --------
    >>> v = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]])
    >>> noise = np.array([0.01 * (np.eye(3) - 1 / 3)] * 2)
    >>> found = equality_test(v, noise)
    >>> round(found.statistic, 6), found.degrees_of_freedom  # 2 apart along (-1, 0, 1)
    (100.0, 2)
    >>> equality_test(v, noise, scaled=True).pvalue > 0.99
    True
    """
    weights = np.linalg.pinv(covariances, hermitian=True)
    k, m = values.shape
    scales, common = np.ones(k), np.zeros(m)
    for _ in range(_STEPS):
        bent = np.einsum("k,kij->ij", scales**2, weights)
        common = np.linalg.pinv(bent, hermitian=True) @ np.einsum(
            "k,kij,kj->i", scales, weights, values
        )
        last = scales
        if scaled:
            seen = np.einsum("i,kij,kj->k", common, weights, values)
            scales = seen / np.einsum("i,kij,j->k", common, weights, common)
        if np.allclose(scales, last, rtol=1e-9):
            break
    off = values - scales[:, None] * common
    statistic = float(np.einsum("ki,kij,kj->", off, weights, off))
    freedom = (k - 1) * (m - 1) - (k - 1) * scaled
    return EqualityTest(statistic, freedom, float(chi2.sf(statistic, freedom)))


def seen_difference(covariance: NDArray[np.float64], *, alpha: float = 0.05) -> float:
    """Return the difference of two potentials that is found nine times in ten.

    The root mean square over states, in units of 1 / beta, of a difference in a random direction,
    given the (m, m) covariance of the difference of the estimates.

    Examples
    --------
    >>> round(seen_difference(0.01 * (np.eye(3) - 1 / 3)), 3)
    0.205
    """
    m = len(covariance)
    critical = chi2.isf(alpha, m - 1)
    needed = brentq(lambda x: ncx2.sf(critical, m - 1, x) - 0.9, 1e-6, 1e4)
    inverse = np.trace(np.linalg.pinv(covariance, hermitian=True))
    return float(np.sqrt(needed * (m - 1) / (m * inverse)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the pictures where asked to."""
    given = _parse(arguments)
    words, logs = load_kernels()
    if given.measure:
        _measure(given.measure, given.weights, words, logs, given.keep)
    ngrams = {name: scaled_kernel(log, words) for name, log in load_ngrams().items()}
    kernels = {key: scaled_kernel(log, words) for key, log in logs.items()}
    groups = _groups(kernels, ngrams)
    frequency = -np.log(ngrams["order 1"].probabilities.toarray()[0])
    rng = np.random.default_rng(given.seed)
    drawn = {name: _compare_drawn(some, given.attempts, rng) for name, some in groups.items()}
    rows = []
    for name, some in groups.items():
        left, error = left_beside_popularity(some)
        rows.append((name, len(some), *share_rows(some, frequency), f"{left:.3f} ± {error:.3f}"))
    title = "Which share of the log ratios is explained by what; of others and frequency: scaled"
    show_table(title, _SHARES, rows)
    tests = [_test_row(name, drawn[name], groups[name]) for name in groups]
    title = f"Is it one V? {given.attempts:,} answers drawn from each word"
    show_table(title, _TESTS, tests)
    models = _compare_models(given)
    if models is not None:
        alike = measure_agreement(models.values)
        print(
            f"{models.describe()}; r of V {alike.correlation:.3f}, one V explains "
            f"{alike.shared:.3f} of their variance"
        )
    if given.output is not None:
        _draw_contexts(given.output, groups, {name: found for name, (found, _) in drawn.items()})


_SHARES = (
    "contexts",
    "k",
    "own V",
    "one V",
    "scaled",
    "V of others",
    "own popularity",
    "popularity of others",
    "frequency",
    "V less popularity",
)

_TESTS = ("contexts", "r of V", "p, equal", "p, up to a scale", "sd of V", "difference", "seen")


def _groups(
    kernels: Mapping[tuple[str, str, float], Kernel], ngrams: Mapping[str, Kernel]
) -> dict[str, dict[str, Kernel]]:
    """Return the groups of contexts that are compared, each by the names of its contexts."""
    models = tuple(dict.fromkeys(model for model, *_ in kernels))
    warm = tuple(dict.fromkeys(temperature for *_, temperature in kernels))
    first = models[0]
    groups = {
        f"{model}, 3 temperatures": {f"T = {t:g}": kernels[model, "related", t] for t in warm}
        for model in models
    }
    for model in models:
        groups[f"{model}, 3 prompts"] = {name: kernels[model, name, 1.0] for name in RELATED}
    for model in models:
        asked = ("related", "opposite")
        groups[f"{model}, 2 tasks"] = {name: kernels[model, name, 1.0] for name in asked}
    groups |= {
        f"{len(models)} models, {name}": {model: kernels[model, name, 1.0] for model in models}
        for name in PROMPTS
    }
    groups["models, prompts, temperatures"] = {
        f"{model}, {name}, T = {t:g}": kernels[model, name, t]
        for model in models
        for name in RELATED
        for t in warm
    }
    groups["n-grams, order 1 and 2"] = {name: ngrams[name] for name in ("order 1", "order 2")}
    groups["n-grams, order 3, 3 prompts"] = {
        name: kernel for name, kernel in ngrams.items() if not name.startswith("order")
    }
    groups[f"{first} and order 2"] = {
        first: kernels[first, "related", 1.0],
        "order 2": ngrams["order 2"],
    }
    return groups


def _test_row(
    name: str, drawn: tuple[PotentialComparison, NDArray[np.float64]], exact: Mapping[str, Kernel]
) -> tuple[object, ...]:
    found, covariances = drawn
    values = [estimate_potential(kernel).values for kernel in exact.values()]
    spread = float(np.std(values, axis=1).mean())
    pairs = list(combinations(range(len(values)), 2))
    apart = np.mean([np.std(values[i] - values[j]) for i, j in pairs])
    seen = np.mean([seen_difference(covariances[i] + covariances[j]) for i, j in pairs])
    return (
        name,
        measure_agreement(np.array(values)).correlation,
        _p(equality_test(found.values, covariances).pvalue),
        _p(equality_test(found.values, covariances, scaled=True).pvalue),
        spread,
        float(apart),
        float(seen),
    )


def _p(pvalue: float) -> str:
    return f"{pvalue:.2g}" if pvalue > 1e-9 else "< 1e-9"


def _compare_drawn(
    kernels: Mapping[str, Kernel], attempts: int, rng: np.random.Generator
) -> tuple[PotentialComparison, NDArray[np.float64]]:
    """Return the potentials of drawn answers, and the (k, m, m) covariance of each."""
    potentials = {
        name: estimate_potential(sample(kernel, attempts, rng)) for name, kernel in kernels.items()
    }
    found = compare_potentials(potentials)
    m = len(found.states)
    centred = np.eye(m) - 1 / m
    covariances = np.zeros((len(potentials), m, m))
    for i, potential in enumerate(potentials.values()):
        covariances[i, 1:, 1:] = potential.covariance(found.states[1:], found.states[0])
        covariances[i] = centred @ covariances[i] @ centred
    return found, covariances


def _measure(
    name: str,
    weights: Path | None,
    words: tuple[str, ...],
    logs: dict[tuple[str, str, float], NDArray[np.float64]],
    keep: Path | None,
) -> None:
    """Compute the kernels of a model again, into `logs`, and keep them in a file."""
    if weights is None and name != "SmolLM2":
        raise InvalidInputError(f"--measure {name!r} needs its weights: --weights FILE.gguf")
    model: TokenModel = MODELS[name](weights)
    warm = tuple(dict.fromkeys(temperature for *_, temperature in logs))
    found: dict[tuple[str, str, float], NDArray[np.float64]] = {}
    for prompt, chat in PROMPTS.items():
        show = partial(show_progress, f"{name}, {prompt}")
        made = answer_log_probabilities(model, words, prompt=chat, temperatures=warm, progress=show)
        found |= {(name, prompt, t): log for t, log in zip(warm, made, strict=True)}
    worst = max(float(abs(found[key] - logs[key]).max()) for key in found)
    print(f"measured again: log T differs from what was kept by at most {worst:.2g} nats")
    logs |= found
    if keep is not None:
        with np.load(KEPT, allow_pickle=False) as kept:
            content = dict(kept)
        place = content["models"].tolist().index(name)
        content["logP"][place] = np.array(list(found.values())).reshape(
            content["logP"][place].shape
        )
        np.savez_compressed(keep, **content)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = make_parser("contexts", __doc__)
    add = parser.add_argument
    add("--attempts", type=int, default=4000, help="answers drawn from each word (4000)")
    add("--replicates", type=int, default=99, help="permutations of the airline runs (99)")
    add("--airline", type=Path, metavar="DIR", help="the runs of the six models")
    add("--measure", choices=list(MODELS), help="compute the kernels of a model again")
    add("--weights", type=Path, metavar="FILE", help="with --measure: its GGUF file")
    add("--keep", type=Path, metavar="FILE", help="with --measure: a file for all kernels")
    add("--output", type=Path, metavar="DIR", help="a folder for the pictures")
    return parser.parse_args(arguments)


def _compare_models(given: Namespace) -> PotentialComparison | None:
    files = sorted(given.airline.glob("*.jsonl.gz")) if given.airline else []
    if not files:
        print(f"no runs (--airline {given.airline or 'DIR'}): the airline models are left out")
        return None
    runs = {
        file.name.removesuffix(".jsonl.gz"): read_runs(
            file, success_field="reward", boundaries=("start", "end")
        )
        for file in files
    }
    return compare_potentials(runs, replicates=given.replicates, seed=given.seed)


def _draw_contexts(
    folder: Path,
    groups: Mapping[str, Mapping[str, Kernel]],
    drawn: Mapping[str, PotentialComparison],
) -> None:
    """Write the pictures into `folder`, and print their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(groups)
    prompts = names[len(MODELS)]
    found = {
        "contexts-temperatures.png": plot_against(drawn[names[0]], groups[names[0]]),
        "contexts-prompts.png": plot_against(drawn[prompts], groups[prompts]),
        "contexts-prompts-distances.png": plot_distances(drawn[prompts]),
    }
    for name, figure in found.items():
        figure.savefig(folder / name, dpi=150)
        print(folder / name)
