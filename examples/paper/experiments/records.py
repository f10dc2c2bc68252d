"""What the paper's files of records say: its tables and statistics, beside the published ones.

FILE is one of the JSON files of the authors' public data set, or of your own agent in one of their
two forms (docs/paper/records.md). Without FILE two small files of our own agents are read: the
symbolic agent that answers by a grammar, and the word agent on a lexicon.

N0 is --attempts: "observed" counts the attempts of the file, "transitions" those that moved, and a
number is a budget that is shared by all states, such as the paper's 20000.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detailed_balance.analyzers import (
    Exponential,
    Potential,
    Softplus,
    TransitionCounts,
    check_one_way,
    estimate_potential,
    expected_minimum_action,
    fit_spread,
    measure_triplets,
)
from detailed_balance.analyzers.balance.pairs import list_moves
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.sparse import lookup
from detailed_balance.sources import open_source
from examples.paper import DATA, figures
from examples.paper.agent.console import make_parser, show_table
from examples.paper.points import Points
from examples.paper.records import read_log_errors
from examples.paper.symbolic.analysis import correlate_ranks

__all__ = ["OWN_FILES", "TABLE_III", "main", "show_records", "show_sizes"]

OWN_FILES = {"grammar_records.json.gz": "observed", "lexicon_records.json.gz": "10000"}
"""The files of our own agents, with N0 as of ``--attempts``."""

TABLE_III = {
    "samples": (50_228, 19_968),
    "states": (7_484, 645),
    "edges": (21_697, 9_473),
    "states sampled more than once": (2_551, 620),
    "pairs seen both ways": (1_381, 334),
    "pairs seen one way": (18_935, 8_805),
}
"""Of IdeaSearchFitter and of GPT-5 Nano, as the paper's Table III has them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the files, and print their tables."""
    parser = make_parser("records", __doc__)
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="JSON, plain or gzip")
    add("--attempts", metavar="N0", help="observed, transitions, or a budget (see above)")
    add("--violation", choices=("exponential", "softplus"), default="exponential", help="K")
    add("--output", type=Path, metavar="DIR", help="a folder for the figures")
    given = parser.parse_args(arguments)
    files = dict.fromkeys(given.files, given.attempts or "observed")
    for path, attempts in (files or {DATA / name: n for name, n in OWN_FILES.items()}).items():
        show_records(path, attempts, given)


def show_records(path: Path, attempts: str, given: Namespace) -> None:
    """Print what one file says, and draw its figures where a folder is given."""
    counts = open_source(path).counts()
    number = _read_attempts(attempts, len(counts))
    violation = Softplus() if given.violation == "softplus" else Exponential()
    potential = estimate_potential(counts, attempts=number, violation=violation)
    print(f"{path.name}: N0 = {attempts}, K = {given.violation}")
    show_sizes(counts)
    _show_pairs(counts, potential)
    _show_triplets(counts)
    _show_potential(potential, read_log_errors(path))
    print()
    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)
        _draw(path.name.split(".")[0], counts, potential, given.output)


def _read_attempts(text: str, states: int) -> str | float:
    if text in ("observed", "transitions"):
        return text
    try:
        budget = float(text)
    except ValueError:
        budget = np.nan
    if not 0 < budget < np.inf:
        raise InvalidInputError(
            f"--attempts {text!r}; allowed are observed, transitions, and a budget such as 20000"
        )
    return budget / states


def show_sizes(counts: TransitionCounts) -> None:
    """Print how large a record is, beside the paper's Table III."""
    f, g, _ = list_moves(counts)
    back = lookup(counts.counts, g, f) > 0
    sizes = {
        "samples": int(counts.attempts.sum()),
        "states": len(counts),
        "edges": len(f),
        "states sampled more than once": int((counts.attempts > 1).sum()),
        "pairs seen both ways": int(back.sum()) // 2,
        "pairs seen one way": int((~back).sum()),
    }
    rows = [(name, f"{sizes[name]:,}", *map("{:,}".format, TABLE_III[name])) for name in sizes]
    show_table("Table III", ("", "here", "IdeaSearchFitter", "GPT-5 Nano"), rows)


def _show_pairs(counts: TransitionCounts, potential: Potential) -> None:
    paper = Points.of_pairs(counts, potential)
    ours = Points.of_pairs(counts, potential, errors="multinomial")
    rows = [
        ("pairs", f"{len(paper):,}", "550", "52"),
        ("r, with both signs", f"{paper.correlation_both:.4f}", "0.8637*", "0.7438*"),
        ("slope of the log ratio", f"{paper.slope:.2f}", "", ""),
        ("chi2/ndf as printed: no errors", f"{paper.mean_residual:.2f}", "2.02", "1.24"),
        ("the same with the errors of the paper", f"{paper.mean_square:.2f}", "", ""),
        ("the same with multinomial errors", f"{ours.mean_square:.2f}", "", ""),
    ]
    title = "Pairs with both counts at least 2 (Fig. 4, 7); * as the pairs happen to be turned"
    show_table(title, ("", "here", "IdeaSearchFitter", "GPT-5 Nano"), rows)
    check = check_one_way(counts, potential)
    inside = np.isfinite(check.difference)
    bound = check.least + np.log(check.bound * check.attempts)
    held = [_share(least[inside] <= check.difference[inside]) for least in (bound, check.least)]
    print(
        f"{inside.sum():,} pairs of one component seen one way: the inequality (25) holds for "
        f"{held[0]} with the bound 1/N of the paper, for {held[1]} at 95%; "
        f"{len(check.violations):,} fail once their number is counted"
    )


def _share(which: np.ndarray) -> str:
    return f"{which.mean():.1%}" if len(which) else "none"


def _show_triplets(counts: TransitionCounts) -> None:
    published = {1: ("2,118; 1.55", "140; 0.76"), 2: ("620; 2.55", "")}
    rows = []
    for least, numbers in published.items():
        paper = measure_triplets(counts, min_count=least, errors="paper")
        ours = measure_triplets(counts, min_count=least)
        fits = (f"{paper.mean_square:.2f}", f"{ours.mean_square:.2f}")
        rows.append((f"at least {least}", f"{len(paper):,}", *fits, *numbers))
    columns = ("counts", "N", "paper's errors", "multinomial", "IdeaSearchFitter", "GPT-5 Nano")
    show_table("Triplets: chi2/ndf (Fig. 3, 8)", columns, rows)


def _show_potential(potential: Potential, log_errors: dict[str, float]) -> None:
    try:
        spread = fit_spread(potential)
    except InsufficientDataError as error:
        print(f"no spread: {error}")
        return
    inside = potential.components == np.bincount(potential.components).argmax()
    print(
        f"{inside.sum():,} of {len(inside):,} states in the largest component: s = "
        f"{spread.deviation:.2f} ± {spread.deviation_error:.2f} (4.37 and 2.30 in Fig. 11); least "
        f"action {potential.normalized_action:.3f} a state, eq. 28 "
        f"{float(expected_minimum_action(spread.deviation)):.3f}"
    )
    known = [i for i in np.flatnonzero(inside) if potential.states[i] in log_errors]
    if known:
        errors = [log_errors[potential.states[i]] for i in known]
        ranks = correlate_ranks(errors, potential.values[known])
        print(
            f"Spearman's r of V and log10 of the mean squared error: {ranks.value:.3f} "
            f"[{ranks.low:.3f}, {ranks.high:.3f}] over {ranks.states:,} states"
        )


def _draw(name: str, counts: TransitionCounts, potential: Potential, folder: Path) -> None:
    drawn = {
        "triplets": figures.plot_triplets(
            Points.of_triplets(measure_triplets(counts, errors="paper")), name
        ),
        "pairs": figures.plot_pairs({name: Points.of_pairs(counts, potential)}, name),
        "one-way": figures.plot_one_way({name: check_one_way(counts, potential)}, name),
    }
    for kind, figure in drawn.items():
        path = folder / f"{name}-{kind}.png"
        figure.savefig(path, dpi=120)
        print(path)
