"""The paper's symbolic fitting agent: its states are formulas, its moves are a model's changes.

Without --data the formulas are fitted to 60 points of the law y = exp(-0.6 x) with noise. Without
--model nothing is asked over a network: a grammar proposes, whose potential is known, so that what
is found can be compared with the truth.

With --store a run that was stopped goes on where it was: give the same command again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from langchain_core.language_models import BaseChatModel

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.agent.console import choose_model, make_parser, show_table
from examples.paper.agent.evaluation import recover_potential
from examples.paper.agent.plan import Plan
from examples.paper.agent.recording import (
    add_options,
    draw_run,
    label_model,
    leave_with_message,
    record,
    write_json,
)
from examples.paper.records import write_expressions
from examples.paper.symbolic.analysis import (
    PUBLISHED,
    RankCorrelation,
    SymbolicResults,
    study_expressions,
)
from examples.paper.symbolic.datasets import DataSet, make_decay, read_csv
from examples.paper.symbolic.fitting import Fitter
from examples.paper.symbolic.grammar import FUNCTIONS, PAPER_FUNCTIONS
from examples.paper.symbolic.grammar_model import GrammarChatModel, GrammarKernel, score_potential
from examples.paper.symbolic.task import SymbolicTask

__all__ = ["START", "main"]

START = "c"
"""The first expression: one constant, which can be fitted to anything."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment, and print its tables."""
    options = _parser().parse_args(arguments)
    with leave_with_message(options):
        functions = PAPER_FUNCTIONS if options.settings == "paper" else FUNCTIONS
        fitter = Fitter(_choose_data(options), functions=functions)
        kernel = GrammarKernel(
            fitter.data.variables, score_potential(fitter), max_complexity=options.complexity
        )
        counts = _record(fitter, kernel, options)
        if options.records is not None:
            write_expressions(options.records, counts, _log_errors(counts, fitter))
        results = study_expressions(counts, fitter, seed=options.seed)
        _show(results)
        if options.model is None:
            recovery = recover_potential(results.potential, kernel.potential)
            print()
            show_table(
                "The grammar's own potential, found again", ("", "value"), recovery.to_rows()
            )
        if options.output is not None:
            draw_run("symbolic", results.counts, options.output)
            write_json("symbolic", results.to_dict(), options.output)


def _parser() -> ArgumentParser:
    parser = make_parser("symbolic", __doc__, model="a grammar whose potential is known")
    paper = "raw text as states, and its list of functions"
    add_options(parser, state="an expression", probes="10000", paper=paper)
    parser.set_defaults(probes=10_000)
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help="table with a line of column names (CSV)")
    add("--target", metavar="COLUMN", help="of --data: what the formulas are to give")
    add(
        "--complexity",
        type=int,
        default=4,
        metavar="N",
        help="numbers, names and operators of the grammar's largest formulas (default: 4)",
    )
    return parser


def _choose_data(options: Namespace) -> DataSet:
    if options.data is None and options.target is None:
        return make_decay(seed=options.seed)
    if options.data is None or options.target is None:
        raise InvalidInputError("--data and --target belong together: a table, and its column")
    return read_csv(options.data, options.target)


def _record(fitter: Fitter, kernel: GrammarKernel, options: Namespace) -> TransitionCounts:
    name = label_model(options.model or f"grammar up to {options.complexity}", options)
    labels = {"model": name, "data": fitter.data.label}
    plan = Plan(START, options.probes, options.mode, labels, options.seed)

    def make(recorded: int) -> BaseChatModel:
        seed = options.seed + recorded
        return choose_model(options.model, lambda: GrammarChatModel(kernel=kernel, seed=seed))

    return record(make, SymbolicTask(fitter, raw=options.settings == "paper"), plan, options).counts


def _log_errors(counts: TransitionCounts, fitter: Fitter) -> dict[str, float]:
    errors = {state: fitter.fit(state).mse for state in counts.states}
    return {state: float(np.log10(max(error, 1e-12))) for state, error in errors.items()}


def _show(results: SymbolicResults) -> None:
    sizes = {name: getattr(results, name) for name in ("edges", "transitions")}
    sizes = {"states": len(results.counts), **sizes}
    found = [(name, f"{size:,}", f"{PUBLISHED[name]:,}") for name, size in sizes.items()]
    show_table("What was found", ("", "here", "published"), found)
    print()
    columns = ("expression", "complexity", "MSE", "V", "error")
    best = [(text, k, f"{mse:.3g}", v, error) for text, k, mse, v, error in results.best()]
    show_table("The best expressions; V in units of 1/beta, the lowest at 0", columns, best)
    print()
    compared = ("expressions that compare: the largest component", f"{len(results.inside):,}")
    rows = [compared, *results.balance.to_rows()]
    show_table("Detailed balance", ("", "value"), rows)
    print()
    ranks = {"mean squared error": results.error_ranks, "complexity": results.complexity_ranks}
    title = "Does low V go with a low ...? Spearman's correlation over states, 95% interval"
    show_table(title, ("", "r", "from", "to", "states"), _rank_rows(ranks))
    print()
    title = "Moves with T > 0.05 on an explicit potential V = theta . phi(expression)"
    show_table(title, ("features", "down", "up", "flat"), _direction_rows(results))


def _rank_rows(ranks: dict[str, RankCorrelation]) -> list[tuple[str, float, float, float, int]]:
    return [(name, r.value, r.low, r.high, r.states) for name, r in ranks.items()]


def _direction_rows(results: SymbolicResults) -> list[tuple[str, ...]]:
    rows = []
    for name, fit in results.explicit.items():
        for kind, score in (("", fit.directionality), (", held out", fit.held_out_directionality)):
            if score is not None:
                rows.append((name + kind, *(f"{share:.2%}" for share in score.shares)))
    published = (f"{PUBLISHED[way]:.2%}" for way in ("down", "up", "flat"))
    return [*rows, ("published", *published)]
