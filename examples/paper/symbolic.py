"""The paper's symbolic fitting agent: its states are formulas, its moves are a model's changes.

Without --data the formulas are fitted to 60 points of the law y = exp(-0.6 x) with noise. Without
--model nothing is asked over a network: a grammar proposes, whose potential is known, so that what
is found can be compared with the truth.

With --store a run that was stopped goes on where it was: give the same command again.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detailed_balance import analyze
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks import TransitionStore
from detailed_balance.paper.console import choose_model, make_parser, show_table
from detailed_balance.paper.datasets import DataSet, make_decay, read_csv
from detailed_balance.paper.exploring import Plan, Tally, explore
from detailed_balance.paper.fitting import Fitter
from detailed_balance.paper.grammar_model import GrammarChatModel
from detailed_balance.paper.mutations import GrammarKernel, score_potential
from detailed_balance.paper.symbolic_agent import SymbolicTask, build_symbolic_agent
from detailed_balance.paper.symbolic_results import (
    PUBLISHED,
    RankCorrelation,
    SymbolicResults,
    recover_potential,
    study_expressions,
)
from detailed_balance.plots import plot_landscape, plot_loops, plot_pairs
from detailed_balance.text import rich_text

__all__ = ["START", "main"]

START = "c"
"""The first expression: one constant, which can be fitted to anything."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment, and print its tables."""
    options = _parser().parse_args(arguments)
    try:
        fitter = Fitter(_choose_data(options))
        kernel = GrammarKernel(
            fitter.data.variables, score_potential(fitter), max_complexity=options.complexity
        )
        counts = _record(fitter, kernel, options)
        results = study_expressions(counts, fitter, seed=options.seed)
        _show(results)
        if options.model is None:
            _show_truth(results, kernel)
        if options.output is not None:
            _write(results, options.output)
    except DetailedBalanceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped" + ("; the same command goes on from here" if options.store else ""))


def _parser() -> ArgumentParser:
    parser = make_parser(__doc__, model="a grammar whose potential is known")
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help="table with a line of column names (CSV)")
    add("--target", metavar="COLUMN", help="of --data: what the formulas are to give")
    add("--probes", type=int, default=10_000, metavar="N", help="questions (default: 10000)")
    add(
        "--mode",
        choices=["probe", "walk"],
        default="probe",
        help="ask about an expression drawn from those found so far, as in the paper, or about the"
        " last answer (default: probe)",
    )
    add("--concurrency", type=int, default=8, metavar="N", help="at the same time (default: 8)")
    add("--store", type=Path, metavar="FILE", help="SQLite file to record to, and to go on from")
    add("--output", type=Path, metavar="DIR", help="folder for figures and the results as JSON")
    add("--prices", type=float, nargs=2, metavar=("IN", "OUT"), help="of a million tokens")
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
    """Ask what is not recorded yet, and say what it came to."""
    name = options.model or f"grammar up to {options.complexity}"
    labels = {"model": name, "data": fitter.data.label}
    plan = Plan(START, options.probes, options.mode, labels, options.seed)
    url = "sqlite://" if options.store is None else f"sqlite:///{options.store}"
    task, tally = SymbolicTask(fitter), Tally()
    with TransitionStore(url, durability="sync" if options.model else "batched") as store:
        done = plan.recall(store).questions.total()

        def simulate() -> BaseChatModel:
            return GrammarChatModel(kernel=kernel, seed=options.seed, answered=done)

        agent = build_symbolic_agent(choose_model(options.model, simulate), task, tally)
        with _bar(plan, done, tally, options.prices) as progress:
            asyncio.run(
                explore(
                    agent,
                    plan,
                    store,
                    task.states(),
                    max_concurrency=options.concurrency,
                    progress=progress,
                )
            )
        counts = store.counts(context=plan.context)
    before = f"{done:,} recorded before; " if done else ""
    text = f"{name} on {fitter.data.label}: {before}{tally.describe(options.prices)}"
    Console(highlight=False).print(rich_text(text, 200))
    return counts


def _show(results: SymbolicResults) -> None:
    sizes = {name: getattr(results, name) for name in ("edges", "transitions")}
    sizes = {"states": len(results.counts), **sizes}
    rows = [(name, f"{size:,}", f"{PUBLISHED[name]:,}") for name, size in sizes.items()]
    show_table("What was found", ("", "here", "published"), rows)
    print()
    columns = ("expression", "complexity", "MSE", "V", "error")
    best = [(text, k, f"{mse:.3g}", v, error) for text, k, mse, v, error in results.best()]
    show_table("The best expressions; V in units of 1/beta, the lowest at 0", columns, best)
    print()
    show_table("Detailed balance", ("", "value"), _balance_rows(results))
    print()
    ranks = {"mean squared error": results.error_ranks, "complexity": results.complexity_ranks}
    title = "Does low V go with a low ...? Spearman's correlation over states, 95% interval"
    show_table(title, ("", "r", "from", "to", "states"), _rank_rows(ranks))
    print()
    title = "Moves with T > 0.05 on an explicit potential V = theta . phi(expression)"
    show_table(title, ("features", "down", "up", "flat"), _direction_rows(results))


def _balance_rows(results: SymbolicResults) -> list[tuple[str, str]]:
    balance, freedom = results.balance, results.balance.degrees_of_freedom or math.nan
    tested, driven = results.triplets()
    return [
        ("expressions that compare: the largest component", f"{len(results.inside):,}"),
        ("pairs seen both ways", f"{len(balance.pairs):,}"),
        ("Pearson r of log ratio and potential drop", f"{balance.correlation:.3f}"),
        ("chi-square / degree of freedom", f"{balance.chi2 / freedom:.2f}"),
        ("the same with the errors of the paper", f"{results.balance_paper.chi2 / freedom:.2f}"),
        ("triplets tested (that break detailed balance)", f"{tested:,} ({driven:,})"),
        ("loops tested (that break it)", f"{len(balance.loops):,} ({len(balance.violations):,})"),
    ]


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


def _show_truth(results: SymbolicResults, kernel: GrammarKernel) -> None:
    found = recover_potential(results, kernel.potential)
    rows = [
        ("expressions compared", f"{found.states:,}"),
        ("Pearson r of V found and true", f"{found.correlation:.3f}"),
        ("root mean square difference, nats", f"{found.deviation:.3f}"),
        ("standard deviation of the true V, nats", f"{found.spread:.3f}"),
        ("chi-square / degree of freedom", f"{found.chi2 / max(found.states - 1, 1):.2f}"),
    ]
    print()
    show_table("The grammar's own potential, found again", ("", "value"), rows)


def _write(results: SymbolicResults, folder: Path) -> None:
    """Write the figures and the results."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report = analyze(results.counts)
        figures = (
            ("pairs", plot_pairs(report)),
            ("loops", plot_loops(report)),
            ("landscape", plot_landscape(report)),
        )
        for kind, figure in figures:
            figure.savefig(folder / f"symbolic-{kind}.png", dpi=150, bbox_inches="tight")
        text = json.dumps(results.to_dict(), indent=1, allow_nan=False)
        (folder / "symbolic.json").write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"--output {str(folder)!r}: {error}") from error


@contextmanager
def _bar(
    plan: Plan, done: int, tally: Tally, prices: tuple[float, float] | None
) -> Iterator[Callable[[], None]]:
    """Show how far it is, on a terminal."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[tally]}", markup=False),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=plan.questions, completed=done, tally="")
        yield lambda: bar.update(
            task, completed=done + tally.questions, tally=tally.describe(prices)
        )


if __name__ == "__main__":
    main()
