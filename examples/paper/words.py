"""The paper's conditioned word agent: a word in, a word out whose letters sum to 100 as well.

Without --model nothing is asked over a network. Four models are at hand:

  claude   Claude-4 as the paper's table records it, each answer played once in random order
  gemini   Gemini-2.5-flash, reconstructed: counts of ours that have its published potentials
  lexicon  a simulation whose potential is known
  driven   the same with one driven loop, which breaks detailed balance

With --store a run that was stopped goes on where it was: give the same command again.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel

from detailed_balance import analyze
from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.analyzers.potential import estimate_potential
from detailed_balance.analyzers.tables import plain
from detailed_balance.paper.console import choose_model, make_parser, show_table
from detailed_balance.paper.lexicon import LexiconChatModel, driven_lexicon
from detailed_balance.paper.word_plan import WordPlan
from detailed_balance.paper.word_recording import Recording, read_vocabulary, record
from detailed_balance.paper.word_results import (
    BalanceSummary,
    compare_published,
    recover_potential,
    summarize_balance,
)
from detailed_balance.paper.word_tables import TableChatModel, TableName, WordTable
from detailed_balance.paper.word_task import WordTask
from detailed_balance.plots import plot_landscape, plot_loops, plot_pairs
from detailed_balance.text import safe_text

__all__ = ["main"]

SHOWN = 20
"""Of more words the ones asked about most are printed."""

_TASK = WordTask()

_Result: TypeAlias = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiments, and print their tables."""
    options = _parser().parse_args(arguments)
    chosen = {name: _OFFLINE[name] for name in options.only or _OFFLINE}
    try:
        asked = {"model": _ask_model} if options.model else chosen
        results = {name: run(options) for name, run in asked.items()}
    except DetailedBalanceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped" + ("; the same command goes on from here" if options.store else ""))
    if options.output:
        text = json.dumps(plain(results), indent=1, allow_nan=False)
        (options.output / "words.json").write_text(text + "\n", encoding="utf-8")


def _parser() -> ArgumentParser:
    parser = make_parser(__doc__, model="the four that need no network")
    add = parser.add_argument
    add("--only", nargs="+", choices=list(_OFFLINE), help="which of the four (default: all)")
    add(
        "--mode",
        choices=["probe", "walk"],
        default="probe",
        help="ask about a word drawn from "
        "those found so far, as in the paper, or about the last answer (default: probe)",
    )
    add(
        "--probes",
        type=int,
        metavar="N",
        help="questions to each model (default: 20000 to "
        "claude and to --model, 10000 to lexicon and driven, 4000 to gemini)",
    )
    add("--concurrency", type=int, default=8, metavar="N", help="at the same time (default: 8)")
    add("--store", type=Path, metavar="FILE", help="SQLite file to record to, and to go on from")
    add("--output", type=Path, metavar="DIR", help="folder for figures and the tables as JSON")
    add("--start", default="TURKEY", metavar="WORD", help="the first word of --model")
    add("--target", type=int, default=100, metavar="SUM", help="of the letters, for --model")
    add("--vocabulary", type=Path, metavar="FILE", help="words allowed for --model, one a line")
    add("--prices", type=float, nargs=2, metavar=("IN", "OUT"), help="of a million tokens")
    return parser


def _record(make: Callable[[int], BaseChatModel], plan: WordPlan, options: Namespace) -> Recording:
    return record(
        make,
        plan,
        store=options.store,
        max_concurrency=options.concurrency,
        prices=options.prices,
        durable=options.model is not None,
    )


def _plan(
    options: Namespace, model: str, start: str, probes: int, task: WordTask = _TASK
) -> WordPlan:
    asked = probes if options.probes is None else options.probes
    return WordPlan(start, asked, options.mode, task, model, options.seed)


def _play_table(name: str, table_name: TableName, probes: int, options: Namespace) -> _Result:
    table = WordTable.load(table_name)
    kind = "reconstructed" if table.reconstructed else "recorded"
    plan = _plan(options, f"{table.model}, {kind}", table.top, probes)

    def make(recorded: int) -> TableChatModel:
        return TableChatModel(table=table_name, replay=True, seed=options.seed + recorded)

    recording = _record(make, plan, options)
    columns = ("word", "V of the table", "V of the run", "error", "published")
    rows = compare_published(table, recording.counts)
    show_table(f"{plan.model}: V in units of 1/beta", columns, rows)
    print(f"{table.origin}\n")
    _draw(name, recording, options)
    potentials = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"origin": table.origin, "potentials": potentials, "tally": recording.tally}


def _find_known(name: str, make: Callable[[int], LexiconChatModel], options: Namespace) -> _Result:
    plan = _plan(options, f"{name}, simulated", "TURKEY", 10_000)
    recording = _record(lambda recorded: make(options.seed + recorded), plan, options)
    model, potential = make(options.seed), estimate_potential(recording.counts)
    recovery = recover_potential(model, potential)
    balance = summarize_balance(recording.counts, potential)
    rows = [
        ("words compared with the lowest one", f"{len(recovery.words)} of {len(model.words) - 1}"),
        ("V less the lowest within 1.96 errors (95% is right)", f"{recovery.coverage:.1%}"),
        ("the same of words linked both ways", f"{recovery.linked_coverage:.1%}"),
        ("root mean square error of V", f"{recovery.rms:.3f}"),
        *_balance_rows(balance),
        ("driven loops, of them found", f"{len(model.driving)}, {balance.count_found(model)}"),
        ("violations where nothing drives", str(balance.count_false(model))),
    ]
    show_table(f"{plan.model}: what is known, found again", ("", "value"), rows)
    print()
    _draw(name, recording, options)
    return {"recovery": recovery, "balance": balance, "tally": recording.tally}


def _ask_model(options: Namespace) -> _Result:
    vocabulary = read_vocabulary(options.vocabulary, options.target)
    task = WordTask(options.target, vocabulary)
    plan = _plan(options, options.model, options.start.upper(), 20_000, task)
    model = choose_model(options.model, TableChatModel)
    recording = _record(lambda recorded: model, plan, options)
    potential = estimate_potential(recording.counts)
    name, table = safe_text(plan.model), potential.to_table()
    columns = ("state", "potential", "error", "attempts")
    busiest = sorted(
        zip(*(table[column] for column in columns), strict=True), key=lambda row: -row[3]
    )
    show_table(f"{name}: the words asked about most", columns, busiest[:SHOWN])
    balance = summarize_balance(recording.counts, potential)
    show_table(f"{name}: detailed balance", ("", "value"), _balance_rows(balance))
    _draw("model", recording, options)
    return {"potential": potential.to_dict(), "balance": balance, "tally": recording.tally}


def _balance_rows(balance: BalanceSummary) -> list[tuple[str, str]]:
    return [
        ("pairs of words seen both ways", f"{balance.pairs:,}"),
        ("Pearson r of log ratio and potential drop", f"{balance.correlation:.3f}"),
        ("chi-square / degree of freedom", f"{balance.chi2_multinomial:.2f}"),
        ("the same with the errors of the paper", f"{balance.chi2_paper:.2f}"),
        ("triplets tested (loops of any length)", f"{balance.triplets:,} ({balance.loops:,})"),
        ("loops that break detailed balance", f"{len(balance.violations):,}"),
    ]


def _draw(name: str, recording: Recording, options: Namespace) -> None:
    """Draw the figures, where a folder is given for them."""
    if options.output is None:
        return
    options.output.mkdir(parents=True, exist_ok=True)
    report = analyze(recording.counts)
    for kind, plot in (("pairs", plot_pairs), ("loops", plot_loops), ("landscape", plot_landscape)):
        plot(report).savefig(options.output / f"{name}-{kind}.png", dpi=150)


_OFFLINE: dict[str, Callable[[Namespace], _Result]] = {
    "claude": partial(_play_table, "claude", "claude_4", 20_000),
    "gemini": partial(_play_table, "gemini", "gemini_2_5_flash", 4_000),
    "lexicon": partial(_find_known, "lexicon", lambda seed: LexiconChatModel(seed=seed)),
    "driven": partial(_find_known, "driven", driven_lexicon),
}

if __name__ == "__main__":
    main()
