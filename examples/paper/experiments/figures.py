"""Draw every figure of `examples.paper.figures` from data in the repository, as PNG and SVG.

The Claude-4 table of the paper, the measured kernel of SmolLM2-135M-Instruct, and simulated agents
where the repository has no data of the paper; docs/gallery.md says which is which.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from detailed_balance.analyzers import (
    ExplicitPotential,
    TransitionCounts,
    check_balance,
    check_one_way,
    estimate_kernel,
    estimate_potential,
    expression_features,
    fit_explicit_potential,
    score_directionality,
)
from examples.paper import figures
from examples.paper.chains import (
    claude_4,
    explore,
    heat_bath,
    sample,
    search_formulas,
    smollm2,
)

__all__ = ["FIGURES", "main", "write_figure"]

_DPI = 100
_COLOURS = 96  # of a PNG, which keeps it small
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def _states() -> Figure:
    return figures.plot_states(claude_4())


def _triplets() -> Figure:
    return figures.plot_triplet_balance(check_balance(_words()))


def _all_triplets() -> Figure:
    return figures.plot_triplet_balance(smollm2())


def _pairs() -> Figure:
    return figures.plot_pair_balance(_words())


def _exploration() -> Figure:
    runs = {
        "Claude-4's table": explore(claude_4().kernel, "BUZZY", 20_000),
        "SmolLM2 on 150 words": explore(smollm2(), smollm2().states[0], 20_000),
        "simulated, without bound": explore(None, "word 0", 20_000),
    }
    return figures.plot_exploration(runs)


def _distributions() -> Figure:
    return figures.plot_distributions(_search())


def _convergence() -> Figure:
    return figures.plot_convergence(figures.trace_solver(_search()))


def _score() -> Figure:
    potential = estimate_potential(_search())
    lengths = {formula: float(len(formula)) for formula in potential.states}
    return figures.plot_score(potential, lengths, name="length of the formula, characters")


def _prediction() -> Figure:
    fit, held_out = _fit()
    return figures.plot_prediction(fit, estimate_potential(_small_search()), held_out)


def _directionality() -> Figure:
    fit = fit_explicit_potential(_small_search(), expression_features)
    potential = estimate_potential(_small_search())
    values = fit.predict(potential.states)
    scores = {
        "explicit, held out": fit.held_out_directionality,
        "explicit": fit.directionality,
        "free": score_directionality(potential.kernel, potential.values),
        "dealt at random": figures.shuffle_directionality(potential.kernel, values),
    }
    return figures.plot_directionality(scores)


def _penalty() -> Figure:
    kernel = estimate_kernel(_small_search())
    return figures.plot_penalty(fit_explicit_potential(kernel, expression_features), kernel)


def _one_way() -> Figure:
    return figures.plot_one_way(check_one_way(sample(smollm2(), 400)))


def _spread() -> Figure:
    return figures.plot_spread(estimate_potential(smollm2()))


def _voting() -> Figure:
    return figures.plot_voting(smollm2())


def _temperature() -> Figure:
    return figures.plot_temperature(heat_bath(_TEMPERATURES))


FIGURES: dict[str, Callable[[], Figure]] = {
    "states": _states,
    "triplets": _triplets,
    "triplets-all": _all_triplets,
    "pairs": _pairs,
    "exploration": _exploration,
    "distributions": _distributions,
    "convergence": _convergence,
    "score": _score,
    "prediction": _prediction,
    "directionality": _directionality,
    "penalty": _penalty,
    "one-way": _one_way,
    "spread": _spread,
    "voting": _voting,
    "temperature": _temperature,
}
"""What draws each figure of the gallery, by the name of its file."""


@cache
def _words() -> TransitionCounts:
    """Return 20,000 answers from each of the 30 words that are answered most often."""
    counts = sample(smollm2(), 20_000)
    answered = np.argsort(-np.asarray(counts.counts.sum(axis=0)), kind="stable")[:30]
    return counts.restrict([counts.states[i] for i in answered])


@cache
def _search() -> TransitionCounts:
    return search_formulas()


@cache
def _small_search() -> TransitionCounts:
    """Return a search that is small enough to be known well."""
    return search_formulas(400, 60_000, 2_000)


def _fit() -> tuple[ExplicitPotential, tuple[str, ...]]:
    """Return the fit to seven in ten of the formulas, and the others."""
    states = np.random.default_rng(0).permutation(np.array(_small_search().states)).tolist()
    kept = states[: int(0.7 * len(states))]
    fit = fit_explicit_potential(_small_search().restrict(kept), expression_features)
    return fit, tuple(states[len(kept) :])


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG and as an SVG that are the same each time.

    Parameters
    ----------
    figure : Figure
        What a function of `examples.paper.figures` returned.
    path : Path
        The file, without a suffix.
    """
    with mpl.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    few = Image.open(drawn).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(path.with_suffix(".png"), optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what was asked for."""
    parser = ArgumentParser(
        prog="python -m examples.paper figures",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where to write")
    given = parser.parse_args(arguments)
    if unknown := set(given.names).difference(FIGURES):
        parser.error(f"no figure {min(unknown)!r}; there are {', '.join(FIGURES)}")
    given.output.mkdir(parents=True, exist_ok=True)
    for name in given.names or FIGURES:
        write_figure(FIGURES[name](), given.output / name)
        print(given.output / f"{name}.png")
