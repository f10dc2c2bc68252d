"""The paper's conditioned word agent: a word in, a word out whose letters sum to 100 as well.

Without --model nothing is asked over a network. Four models are built in:

  claude   Claude-4 as the paper's counts record it, each answer played once in random order
  gemini   Gemini-2.5-flash likewise
  lexicon  a simulation whose potential is known
  driven   the same with one driven loop, which breaks detailed balance

With --store a run that was stopped goes on where it was: give the same command again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel

from detailed_balance.analyzers import estimate_potential
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.agent.console import choose_model, make_parser, show_table
from examples.paper.agent.evaluation import recover_potential, summarize_balance
from examples.paper.agent.plan import Plan
from examples.paper.agent.recording import (
    Recording,
    add_options,
    draw_run,
    label_model,
    leave_with_message,
    record,
    write_json,
)
from examples.paper.records import write_answers
from examples.paper.words.lexicon import LexiconChatModel, count_false, count_found, driven_lexicon
from examples.paper.words.tables import TableChatModel, TableName, WordTable, compare_published
from examples.paper.words.task import (
    WRONG_SUM,
    WordTask,
    leave_out_repeats,
    read_vocabulary,
)

__all__ = ["main"]

SHOWN = 20
"""Of more words the ones asked about most are printed."""

_Result: TypeAlias = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiments, and print their tables."""
    options = _parser().parse_args(arguments)
    chosen = {name: _OFFLINE[name] for name in options.only or _OFFLINE}
    with leave_with_message(options):
        if options.records is not None and not options.model and len(chosen) > 1:
            raise InvalidInputError("--records takes one model: name it with --only or --model")
        asked = {"model": _ask_model} if options.model else chosen
        results = {name: run(options) for name, run in asked.items()}
        if options.output is not None:
            write_json("words", results, options.output)


def _parser() -> ArgumentParser:
    parser = make_parser("words", __doc__, model="the four that need no network")
    probes = "10000 to lexicon and driven, 20000 to the others"
    paper = (
        "one message that explains the numbers of the letters, the first word BUZZY, words of "
        "another sum as one state, and repeated words left out"
    )
    add_options(parser, state="a word", probes=probes, paper=paper)
    add = parser.add_argument
    add("--only", nargs="+", choices=list(_OFFLINE), help="which of the four (default: all)")
    add(
        "--start",
        metavar="WORD",
        help="the first word of --model (default: TURKEY, with the paper's settings BUZZY)",
    )
    add("--target", type=int, default=100, metavar="SUM", help="of the letters, for --model")
    add("--vocabulary", type=Path, metavar="FILE", help="words allowed for --model, one a line")
    return parser


def _plan(options: Namespace, model: str, start: str, probes: int) -> Plan:
    asked = probes if options.probes is None else options.probes
    labels = {"model": label_model(model, options)}
    return Plan(start, asked, options.mode, labels, options.seed, shared=True, unasked=WRONG_SUM)


def _start(options: Namespace) -> str:
    return "BUZZY" if options.settings == "paper" else "TURKEY"


def _record(
    make: Callable[[int], BaseChatModel],
    plan: Plan,
    options: Namespace,
    target: int = 100,
    vocabulary: frozenset[str] | None = None,
) -> Recording:
    paper = options.settings == "paper"
    recording = record(make, WordTask(target, vocabulary, paper), plan, options)
    return replace(recording, counts=leave_out_repeats(recording.counts)) if paper else recording


def _play_table(name: str, table_name: TableName, probes: int, options: Namespace) -> _Result:
    table = WordTable.load(table_name)
    plan = _plan(options, f"{table.model}, recorded", table.top, probes)

    def make(recorded: int) -> TableChatModel:
        return TableChatModel(table=table_name, replay=True, seed=options.seed + recorded)

    recording = _record(make, plan, options)
    columns = ("word", "V of the table", "V of the run", "error", "published")
    rows = compare_published(table, recording.counts)
    show_table(f"{plan.name}: V in units of 1/beta", columns, rows)
    print(f"{table.origin}\n")
    _draw(name, recording, options)
    potentials = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"origin": table.origin, "potentials": potentials, "answers": recording.counter}


def _find_known(name: str, make: Callable[[int], LexiconChatModel], options: Namespace) -> _Result:
    plan = _plan(options, f"{name}, simulated", _start(options), 10_000)
    recording = _record(lambda recorded: make(options.seed + recorded), plan, options)
    model, potential = make(options.seed), estimate_potential(recording.counts)
    recovery = recover_potential(potential, model.height)
    balance = summarize_balance(recording.counts, potential)
    rows = [
        *recovery.to_rows(),
        *balance.to_rows(),
        ("driven loops, of them found", f"{len(model.driving)}, {count_found(balance, model)}"),
        ("violations where nothing drives", str(count_false(balance, model))),
    ]
    show_table(f"{plan.name}: what is known, found again", ("", "value"), rows)
    print()
    _draw(name, recording, options)
    return {"recovery": recovery, "balance": balance, "answers": recording.counter}


def _ask_model(options: Namespace) -> _Result:
    vocabulary = read_vocabulary(options.vocabulary, options.target)
    plan = _plan(options, options.model, (options.start or _start(options)).upper(), 20_000)
    model = choose_model(options.model, TableChatModel)
    recording = _record(lambda recorded: model, plan, options, options.target, vocabulary)
    potential = estimate_potential(recording.counts)
    table = potential.to_table()
    columns = ("state", "potential", "error", "attempts")
    busiest = sorted(
        zip(*(table[column] for column in columns), strict=True), key=lambda row: -row[3]
    )
    show_table(f"{plan.name}: the words asked about most", columns, busiest[:SHOWN])
    balance = summarize_balance(recording.counts, potential)
    show_table(f"{plan.name}: detailed balance", ("", "value"), balance.to_rows())
    _draw("model", recording, options)
    return {"potential": potential.to_dict(), "balance": balance, "answers": recording.counter}


def _draw(name: str, recording: Recording, options: Namespace) -> None:
    """Draw the figures and write the records, where a place is given for them."""
    if options.records is not None:
        write_answers(options.records, recording.counts)
    if options.output is not None:
        draw_run(name, recording.counts, options.output)


_OFFLINE: dict[str, Callable[[Namespace], _Result]] = {
    "claude": partial(_play_table, "claude", "claude_4", 20_000),
    "gemini": partial(_play_table, "gemini", "gemini_2_5_flash", 20_000),
    "lexicon": partial(_find_known, "lexicon", lambda seed: LexiconChatModel(seed=seed)),
    "driven": partial(_find_known, "driven", driven_lexicon),
}
