"""Draw every figure of `examples.paper.figures` from data in the repository, as PNG and SVG.

The counts of Claude-4 and Gemini, the points and bins that are published, the measured kernel of
SmolLM2-135M-Instruct, and simulated agents where the repository has no data of the paper;
docs/gallery.md says which is which.
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
from scipy.linalg import block_diag

from detailed_balance.analyzers import (
    ExplicitPotential,
    Kernel,
    Softplus,
    TransitionCounts,
    check_one_way,
    estimate_kernel,
    estimate_potential,
    expression_features,
    fit_explicit_potential,
    measure_triplets,
    ngrams,
    score_directionality,
)
from detailed_balance.sources import open_source
from examples.paper import DATA, figures
from examples.paper.chains import (
    claude_4,
    explore,
    heat_bath,
    sample,
    search_formulas,
    smollm2,
)
from examples.paper.points import Points
from examples.paper.records import read_log_errors
from examples.paper.words.tables import TableName, WordTable

__all__ = ["FIGURES", "main", "write_figure"]

_DPI = 100
_COLOURS = 160  # of a PNG, which keeps it small
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def _levels(
    name: TableName, title: str, limits: tuple[tuple[float, float], tuple[float, float]]
) -> Figure:
    table = WordTable.load(name)
    return figures.plot_levels(table.potential(), title, heights=table.stopped, limits=limits)


def _figure_2() -> Figure:
    return _levels("claude_4", "Fig. 2: Claude-4 in the word task", ((-0.5, 6.5), (17, 37)))


def _figure_3() -> Figure:
    return figures.plot_triplets(
        Points.published("gpt5_nano_triplets"),
        "Fig. 3: GPT-5 Nano round triplets",
        printed="N 140, χ²/ndf 0.76",
        limits=((-15, -4.5), (-15, -3.8)),
    )


def _figure_4() -> Figure:
    return figures.plot_pairs(
        {"one fifth, as shown": Points.published("ideasearchfitter_pairs")},
        "Fig. 4: IdeaSearchFitter pair by pair",
        printed="N 550, r 0.8637, χ²/ndf 2.02",
        limits=((-11.7, 10.4), (-7.7, 8.3)),
    )


def _figure_5() -> Figure:
    counts = _grammar()
    kernel = estimate_kernel(counts)
    log_errors = read_log_errors(DATA / "grammar_records.json.gz")
    fit = fit_explicit_potential(kernel, [expression_features, ngrams(2)])
    return figures.plot_moves(
        kernel,
        fit.predict(kernel.states),
        {state: v if v < 1 else np.nan for state, v in log_errors.items()},
        "Fig. 5: expressions by error and explicit V",
        printed="63 down, 33 up or level",
    )


def _figure_6() -> Figure:
    title = "Fig. 6: Gemini-2.5-flash in the word task"
    return _levels("gemini_2_5_flash", title, ((-0.5, 7), (19, 59)))


def _figure_7() -> Figure:
    return figures.plot_pairs(
        {"all": Points.published("gpt5_nano_pairs")},
        "Fig. 7: GPT-5 Nano pair by pair",
        printed="N 52, r 0.7438, χ²/ndf 1.24",
        limits=((-6.8, 5.9), (-6.1, 6.3)),
    )


def _figure_8() -> Figure:
    return figures.plot_triplets(
        Points.published("ideasearchfitter_triplets"),
        "Fig. 8: IdeaSearchFitter round triplets",
        printed="N 620, χ²/ndf 2.55",
        limits=((-17.8, -4.5), (-17.8, -4.5)),
    )


def _figure_9() -> Figure:
    """Draw the pairs under softplus: of an agent that answers by a grammar, and of SmolLM2."""
    panels = {"(a) grammar": _grammar(), "(b) SmolLM2": _words()}
    return figures.plot_pairs(
        {
            name: Points.of_pairs(counts, estimate_potential(counts, violation=Softplus()))
            for name, counts in panels.items()
        },
        "Fig. 9: pairs with the potential of softplus",
    )


def _figure_10() -> Figure:
    panels = {"(a) grammar": _grammar(), "(b) SmolLM2": sample(smollm2(), 400)}
    return figures.plot_one_way(
        {name: check_one_way(counts) for name, counts in panels.items()},
        "Fig. 10: pairs seen one way",
        printed="18,935 and 8,805",
    )


def _figure_11() -> Figure:
    return figures.plot_spread(
        {
            "(a) IdeaSearchFitter": figures.Histogram.published("ideasearchfitter"),
            "(b) GPT-5 Nano": figures.Histogram.published("gpt5_nano"),
        },
        "Fig. 11: how the potential is spread",
        printed=("mean -0.56, s 4.37", "mean -0.93, s 2.30"),
    )


def _figure_12() -> Figure:
    """Draw pairs of states with rates of all sizes, which no record here has."""
    rates = np.random.default_rng(0).uniform(0.02, 0.98, (200, 2))
    rows = block_diag(*[np.array([[0.0, there], [back, 0.0]]) for there, back in rates])
    return figures.plot_voting(Kernel.from_matrix(rows), "Fig. 12: both sides of eq. 30")


def _own_triplets() -> Figure:
    return figures.plot_triplets(
        Points.of_triplets(measure_triplets(_words())), "SmolLM2 round triplets"
    )


def _own_pairs() -> Figure:
    counts = _words()
    points = Points.of_pairs(counts, estimate_potential(counts), errors="multinomial")
    return figures.plot_pairs({"30 words": points}, "SmolLM2 pair by pair")


def _own_spread() -> Figure:
    kernels = {f"T = {t:g}": smollm2(t) for t in (0.7, 1.0)}
    panels = {
        name: figures.Histogram.of(estimate_potential(kernel), 20)
        for name, kernel in kernels.items()
    }
    return figures.plot_spread(panels, "SmolLM2: how the potential is spread")


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
        "free": score_directionality(potential.kernel, potential),
        "dealt at random": figures.shuffle_directionality(potential.kernel, values),
    }
    return figures.plot_directionality(scores)


def _penalty() -> Figure:
    kernel = estimate_kernel(_small_search())
    return figures.plot_penalty(fit_explicit_potential(kernel, expression_features), kernel)


def _temperature() -> Figure:
    return figures.plot_temperature(heat_bath(_TEMPERATURES))


FIGURES: dict[str, Callable[[], Figure]] = {
    "figure-2": _figure_2,
    "figure-3": _figure_3,
    "figure-4": _figure_4,
    "figure-5": _figure_5,
    "figure-6": _figure_6,
    "figure-7": _figure_7,
    "figure-8": _figure_8,
    "figure-9": _figure_9,
    "figure-10": _figure_10,
    "figure-11": _figure_11,
    "figure-12": _figure_12,
    "triplets": _own_triplets,
    "pairs": _own_pairs,
    "spread": _own_spread,
    "exploration": _exploration,
    "distributions": _distributions,
    "convergence": _convergence,
    "prediction": _prediction,
    "directionality": _directionality,
    "penalty": _penalty,
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
def _grammar() -> TransitionCounts:
    """Return the record of the symbolic agent that answers by a grammar."""
    return open_source(DATA / "grammar_records.json.gz").counts()


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
