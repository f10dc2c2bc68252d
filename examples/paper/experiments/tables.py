"""Tables I to V of the paper, each beside what is found here.

The explicit potential of Tables I and V is that of the symbolic agent that answers by a grammar
(examples/paper/data/grammar_records.json.gz), with the features of expressions and their bigrams;
the paper's was written by a language model for its own agent, so their numbers are not ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detailed_balance.analyzers import (
    ExplicitPotential,
    Softplus,
    expression_features,
    fit_explicit_potential,
    ngrams,
)
from detailed_balance.sources import open_source
from examples.paper import DATA
from examples.paper.agent.console import make_parser, show_table
from examples.paper.experiments.records import show_sizes
from examples.paper.experiments.spread import show_table_iv
from examples.paper.words.tables import WordTable

__all__ = ["TABLE_I", "TABLE_II", "main"]

TABLE_I = {
    "p1*tanh(p2*x+p3)+p4": (5.70, "c + c * tanh(c + c * x)"),
    "p1-(p2/(x+p3))": (0.88, "c - c / (c + x)"),
    "p1*x/(1+p2*log(x+1))": (-0.57, "c * x / (1 + c * log(1 + x))"),
    "p1*tanh(p2*x)+p3": (-1.57, "c + c * tanh(c * x)"),
    "p2+p1*(1-exp(-x))": (-3.30, "c + c * (1 - exp(-x))"),
}
"""V of five expressions as published, and the expression in the grammar's form."""

TABLE_II = {"ATTITUDE": 3_914, "PERSONAL": 121, "PROBLEMS": 442, "TURKEY": 0, "BUZZY": 0}
"""The attempts of Claude-4 that were not a transition."""

TABLE_V = (49, 0.47)
"""The parameters of the explicit potential, and its action with softplus, where K(0) = log 2."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    make_parser("tables", __doc__).parse_args(arguments)
    counts = open_source(DATA / "grammar_records.json.gz").counts()
    parts = [expression_features, ngrams(2)]
    fit = fit_explicit_potential(counts, parts, violation=Softplus())
    _show_table_i(fit)
    _show_table_ii()
    show_sizes(counts)
    show_table_iv()
    _show_table_v(fit)


def _show_table_i(fit: ExplicitPotential) -> None:
    values = fit.predict([expression for _, expression in TABLE_I.values()])
    rows = [
        (text, published, float(value - values[-1]))
        for (text, (published, _)), value in zip(TABLE_I.items(), values, strict=True)
    ]
    title = "Table I: explicit V (here less that of the last, since its zero is a convention)"
    show_table(title, ("expression", "published", "here"), rows)


def _show_table_ii() -> None:
    counts = WordTable.load("claude_4").counts
    moves = np.asarray(counts.counts.sum(axis=1)).astype(int)
    rows = [
        (word, f"{moves[counts.index(word)]:,}", f"{escapes:,}", f"{counts.escapes[i]:,}")
        for word, escapes in TABLE_II.items()
        for i in [counts.index(word)]
    ]
    title = "Table II: Claude-4; what is missing to 4,000 attempts"
    show_table(title, ("word", "transitions", "published", "here"), rows)


def _show_table_v(fit: ExplicitPotential) -> None:
    parameters, action = TABLE_V
    used = int(np.count_nonzero(fit.theta))
    rows = [
        ("parameters", str(parameters), f"{used} of {len(fit.names)}"),
        ("action over K(0)", f"{action / np.log(2):.0%}", f"{fit.action:.0%}"),
        ("the same, held out", "not told", f"{fit.held_out_action:.0%}"),
    ]
    show_table("Table V: the explicit potential, K = softplus", ("", "published", "here"), rows)
