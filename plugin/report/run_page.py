"""`show_run`: one run, with its path, what is known of its steps, and where it begins to repeat."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from html import escape
from math import isnan, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.markov.context_tree import ContextTree
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.diagnosis.onsets import find_onsets
from detailed_balance.diagnosis.words import say_times
from detailed_balance.render.document import Statement
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    safe_run,
    safe_text,
    show_context,
)
from detailed_balance.render.links import link_run
from detailed_balance.report.run_path import PathLine, list_path, say_chance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console, ConsoleOptions, RenderableType

    from detailed_balance.analyzers.repetition.result import RepeatingRun
    from detailed_balance.analyzers.runs.trajectory import Outcome

__all__ = ["RunPage", "find_run", "show_run"]

LINES_SHOWN = 200
"""The most lines that are printed."""

_NAMED = 5
_UNEXPECTED, _STATE, _PRIOR = 3, 40, 0.1
_FEWEST_OTHERS = 10
_MOST_LEARNED = 200_000
"""Moves of other runs from which it is learned what to expect."""

_SEARCHED = 10_000
_COMPARED = 100
_OUTCOMES = {
    "ended": "ended",
    "interrupted": "interrupted, still open",
    "failed": "failed",
    "recursion_limit": "stopped at the recursion limit",
    "cancelled": "cancelled",
    "abandoned": "abandoned",
}


@dataclass(frozen=True, slots=True)
class RunPage(Result):
    """One run; printing it shows it, and so does a notebook.

    Parameters
    ----------
    name, run : str or None
        Its key and its id, as recorded.
    head : Statement
        Its outcome, and what else is known of it as a whole, safe to print.
    lines : tuple of PathLine
        Its path.
    link : str
        Where to read it in full; empty where that is not known.
    outcome, success, judged
        As in `Trajectory`.
    onset : int or None
        The moves before it began to repeat itself.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> moves = tuple(zip(("__start__", *"xababab"), (*"xababab", "__end__")))
    >>> print(show_run(RunTable.of([Trajectory(moves, "t97")]), "t97"))
    RUN      t97: outcome unknown; not judged
      moves    8
    <BLANKLINE>
      step  state
         1  x
       2-7  a ⇄ b  x 3
         8  __end__
    """

    name: str | None
    run: str | None
    head: Statement
    lines: tuple[PathLine, ...]
    link: str = ""
    outcome: Outcome | None = None
    success: bool | None = None
    judged: bool = False
    onset: int | None = None

    def _content(self) -> dict[str, Any]:
        named = self._values("name", "run", "link", "outcome", "success", "judged", "onset")
        head = {"summary": self.head.text, "facts": dict(self.head.rows)}
        return {**named, **head, "lines": self.lines}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def shown(self, limit: int = LINES_SHOWN) -> Iterator[PathLine | int]:
        """Yield the lines of the path; of many the first, those at the onset and the last.

        What is left out is a number of lines.
        """
        last = -1
        for place in _choose(self.lines, limit):
            if place > last + 1:
                yield place - last - 1
            yield self.lines[place]
            last = place

    def __str__(self) -> str:
        return "\n".join(text.rstrip() for text, _ in self._print())

    def _print(self) -> Iterator[tuple[str, str]]:
        """Yield lines with their styles."""
        head, *about = str(self.head).split("\n")
        yield head, "bold"
        yield from ((row, "") for row in about)
        yield "", ""
        shown = list(self.shown(LINES_SHOWN - len(about) - 4))
        titles = ("step", "state", "what is known", "chance", "tokens", "cost")
        cells = [titles, *(_cells(each) for each in shown)]
        # The name of a run inside may be wider than what stands beside steps.
        rows = [row for row in cells if row[0]]
        widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
        widths[1:3] = [min(width, most) for width, most in zip(widths[1:3], (60, 40), strict=True)]
        empty = [not any(row[i] for row in cells[1:]) for i in range(len(titles))]
        for line, row in zip(("", *shown), cells, strict=True):
            said = [
                row[i].rjust(widths[i]) if i in (0, 3, 4, 5) else row[i].ljust(widths[i])
                for i in range(len(titles))
                if not empty[i]
            ]
            onset = line.onset if isinstance(line, PathLine) else ""
            text = "  ".join(["", *said]).rstrip()
            yield (f"{text}  <- {onset}" if onset else text), "bold red" if onset else ""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for text, style in self._print():
            yield Text(text, style=style, no_wrap=True, overflow="ignore")

    def _repr_html_(self) -> str:
        return "\n".join(_page_parts(self))


def _choose(lines: Sequence[PathLine], limit: int) -> list[int]:
    if len(lines) <= limit:
        return list(range(len(lines)))
    part = max(1, limit // 3)
    onset = next((i for i, line in enumerate(lines) if line.onset), 0)
    chosen = {*range(part), *range(len(lines) - part, len(lines))}
    chosen |= set(range(max(0, onset - part // 2), min(len(lines), onset + part // 2)))
    return sorted(chosen)


def _cells(line: PathLine | int) -> tuple[str, ...]:
    if isinstance(line, int):
        return "", f"... {count_noun(line, 'line')} left out", "", "", "", ""
    numbers = ["" if n is None else format_number(n) for n in (line.tokens, line.cost)]
    times = f"  x {line.times:,}" if line.times > 1 else ""
    return line.steps, f"{'  ' * line.depth}{line.text}{times}", line.facts, line.chance, *numbers


def _page_parts(page: RunPage) -> Iterator[str]:
    yield f"<h2>{escape(page.head.text)}</h2>\n<table>"
    for label, text in page.head.rows:
        yield f"<tr><th>{escape(label)}</th><td>{_link(text, page.link)}</td></tr>"
    yield "</table>\n<table>\n<tr><th>step</th><th>state</th><th>what is known</th>"
    yield "<th>chance</th><th>tokens</th><th>cost</th><th></th></tr>"
    for line in page.shown():
        onset = line.onset if isinstance(line, PathLine) else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*_cells(line), onset))
        yield f"<tr>{cells}</tr>"
    yield "</table>"


def _link(text: str, link: str) -> str:
    if text != link or not link:
        return escape(text)
    return f'<a href="{escape(link)}" rel="noreferrer">{escape(text)}</a>'


def show_run(
    runs: RunTable,
    run: str | int,
    *,
    onsets: Mapping[int, RepeatingRun] | None = None,
    run_url: str | None = None,
) -> RunPage:
    """Show one run.

    Parameters
    ----------
    runs : RunTable
        The runs; what a run repeats is found by comparing it with the others.
    run : str or int
        Its key, its id, or the beginning of one of them that no other run has; or its place.
    onsets : mapping of int to RepeatingRun, optional
        What `find_onsets` found in these runs; found again by default.
    run_url : str, optional
        Where runs can be read in full, with ``{run}`` for the key.

    Raises
    ------
    InvalidInputError
        Where there is no such run, or several; or `run_url` is not an address.
    """
    place = run if isinstance(run, int) else find_run(runs, run)
    onsets = find_onsets(runs) if onsets is None else onsets
    columns = runs.runs
    name, key = columns.name[place], columns.run[place]
    link = link_run(run_url, name or key)
    onset, surprisal = onsets.get(place), find_surprisal(runs, place)
    about = (
        *_rows(runs, place, onset, link),
        ("unexpected", _say_unexpected(runs, place, surprisal)),
    )
    rows = tuple((label, text) for label, text in about if text)
    outcome, success = int(columns.outcome[place]), int(columns.success[place])
    return RunPage(
        name,
        key,
        _head(runs, place, rows),
        tuple(_list(runs, place, onsets, surprisal)),
        link,
        OUTCOMES[outcome] if outcome >= 0 else None,
        bool(success) if success >= 0 else None,
        bool(columns.judged[place]),
        None if onset is None else onset.onset,
    )


def find_surprisal(runs: RunTable, place: int) -> NDArray[np.float64] | None:
    """(k,) array: the surprisal of the k moves of a run, by the other runs; None where too few.

    The other runs are those of other blocks, where runs have blocks; of many, evenly some.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "b"), ("b", "a")), str(i)) for i in range(20)]
    >>> find_surprisal(RunTable.of(runs), 0).round(2).tolist()
    [0.01, 0.01]
    >>> find_surprisal(RunTable.of(runs[:5]), 0)
    """
    blocks = runs.block_codes()
    others = np.flatnonzero((blocks < 0) | (blocks != blocks[place]))
    others = others[others != place]
    if len(others) < _FEWEST_OTHERS or not runs.lengths[place]:
        return None
    every = 1 + int(runs.lengths[others].sum()) // _MOST_LEARNED
    order = runs.order()
    chosen = order[np.isin(order, others)][::every]
    tree = ContextTree.fit(runs.select(chosen), prior=_PRIOR)
    return -tree.log_probabilities(runs.select([place]))


def _say_unexpected(runs: RunTable, place: int, surprisal: NDArray[np.float64] | None) -> str:
    """Name the steps that were least expected, if they were less probable than 1 in 20."""
    if surprisal is None:
        return ""
    run, names = runs.select([place]), (*runs.states, "no state")
    order = np.argsort(-surprisal, kind="stable")[:_UNEXPECTED].tolist()
    said = [
        f"step {i + 1}, {safe_text(names[run.source[i]], _STATE)} to "
        f"{safe_text(names[run.target[i]], _STATE)} ({say_chance(float(surprisal[i]))})"
        for i in order
        if surprisal[i] > log(20)
    ]
    return "; ".join(said)


def _list(
    runs: RunTable,
    place: int,
    onsets: Mapping[int, RepeatingRun],
    surprisal: NDArray[np.float64] | None,
) -> list[PathLine]:
    said = {
        i: (run.onset or 0, f"repeats itself from here: {say_times(run.kind, run.times)}")
        for i, run in onsets.items()
        if run.kind is not None
    }
    return list_path(runs, place, said, surprisal)


def find_run(runs: RunTable, run: str) -> int:
    """Return the place of a run; of several with the same key the one that began last.

    Parameters
    ----------
    runs : RunTable
        The runs.
    run : str
        Its key, its id, the key as reports show it, or the beginning of a key or an id that no
        other run has.

    Raises
    ------
    InvalidInputError
        Where there is no such run, or several.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> table = RunTable.of([Trajectory((("a", "b"),), name) for name in ("t70", "t97")])
    >>> find_run(table, "t9")
    1
    """
    names, ids = runs.runs.name.tolist(), runs.runs.run.tolist()
    for keys in (ids, names):
        hits = [i for i, key in enumerate(keys) if key == run]
        if hits:
            return hits[-1]
    shown = [i for i, key in enumerate(names) if key is not None and _is_shown_as(key, run)]
    if shown:
        return shown[-1]
    begins = {
        key: i
        for keys in (ids, names)
        for i, key in enumerate(keys)
        if run and key is not None and key.startswith(run)
    }
    if len(set(begins.values())) == 1:
        return next(iter(begins.values()))
    raise InvalidInputError(_say_unknown(run, begins, names))


def _is_shown_as(key: str, text: str) -> bool:
    """Say whether a report shows the key by this text, with escapes or without its middle."""
    return any(mark in text for mark in "\\…") and safe_run(key) == text


def _say_unknown(run: str, begins: Mapping[str, int], names: Sequence[str | None]) -> str:
    shown = safe_run(run)
    if begins:
        number = len(set(begins.values()))
        named = ", ".join(safe_run(key) for key in list(begins)[:_NAMED])
        more = f" and {number - _NAMED:,} more" if number > _NAMED else ""
        return f"{number:,} runs begin with {shown}: {named}{more}; give more of the key"
    known = {name[:_COMPARED]: name for name in names[-_SEARCHED:] if name is not None}
    close = get_close_matches(run[:_COMPARED], known, n=_NAMED, cutoff=0.5)
    close = close or list(known)[-_NAMED:]
    named = ", ".join(safe_run(known[name]) for name in close)
    like = f"; is it one of {named}?" if named else "; the runs have no keys"
    return f"there is no run {shown} among {count_noun(len(names), 'run')}{like}"


def _head(runs: RunTable, place: int, rows: tuple[tuple[str, str], ...]) -> Statement:
    columns = runs.runs
    outcome, success = int(columns.outcome[place]), int(columns.success[place])
    kind = OUTCOMES[outcome].value if outcome >= 0 else None
    word = {"recursion_limit": "LIMIT", None: "RUN"}.get(kind) or str(kind).upper()
    how = _OUTCOMES[kind] if kind else "outcome unknown"
    if columns.judged[place]:
        judged = f"judged {'successful' if success else 'not successful'}"
    elif success < 0:
        judged = "not judged"
    else:
        judged = f"not judged, counts as a {'success' if success else 'failure'}"
    key = safe_run(columns.name[place] or columns.run[place] or f"number {place + 1}")
    return Statement(word, f"{key}: {how}; {judged}", rows)


def _rows(
    runs: RunTable, place: int, onset: RepeatingRun | None, link: str
) -> Iterator[tuple[str, str]]:
    columns = runs.runs
    error = columns.error[place]
    yield "error", safe_text(error, 200) if error else ""
    yield "labels", show_context(runs.contexts[int(columns.context[place])])
    key, own = columns.name[place], columns.run[place]
    for label in ("run", "thread", "parent", "origin"):
        text = getattr(columns, label)[place]
        if label in ("parent", "origin") and text is not None:
            text = next(iter(columns.name[columns.run == text]), None) or text
        yield label, safe_run(text) if text and text != key else ""
    same = 0 if key is None else int((columns.name == key).sum())
    yield "key", f"shared by {same:,} runs; each has its own id" if same > 1 else ""
    inside = 0 if own is None else int((columns.parent == own).sum())
    yield "inside", count_noun(inside, "run") if inside else ""
    yield "time", _say_time(float(columns.started[place]), float(columns.ended[place]))
    moves, attempts = int(runs.lengths[place]), int(columns.attempts[place])
    after = "" if onset is None else f", {onset.after:,} after it started repeating"
    yield "moves", f"{moves:,}{after}" + (f"; {attempts} attempts" if attempts > 1 else "")
    part = slice(*runs.offsets[place : place + 2].tolist())
    facts, costs = runs.facts, runs.costs
    if facts is not None:
        yield "tokens", _total(np.where(facts.tokens[part] < 0, np.nan, facts.tokens[part]))
        costs = facts.cost if costs is None else costs
    yield "cost", "" if costs is None else _total(costs[part])
    yield "link", link


def _total(values: Any) -> str:
    known = values[~np.isnan(values)]
    return format_number(float(known.sum())) if known.size else ""


def _say_time(started: float, ended: float) -> str:
    if isnan(started):
        return ""
    said = f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return said if isnan(ended) else f"{said}, for {_say_duration(ended - started)}"


def _say_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{format_number(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
