"""What a renderer is given: a document of statements, tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers.results import Result
from detailed_balance.render.formatting import count_noun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detailed_balance.analyzers import ClassifiedRun

__all__ = [
    "SURFACES",
    "ChosenRun",
    "Document",
    "Part",
    "Picture",
    "Row",
    "Section",
    "SideBySide",
    "Statement",
    "Surface",
    "Verdict",
    "VerdictOutcome",
]

VerdictOutcome: TypeAlias = Literal[
    "problem", "watch", "ok", "unknown", "worse", "better", "different", "same"
]
"""Of a report: something is wrong; something to look at; nothing, where it would have been found;
or too little to tell. Of a comparison: worse, better, different, same, or unknown."""

STATEMENT_INDENT = 9
"""Where the text of a statement begins, and two columns on that of its rows."""

Surface: TypeAlias = Literal["terminal", "notebook", "page"]
"""Where something is shown."""

SURFACES: tuple[Surface, ...] = get_args(Surface)
"""All of them."""

Row: TypeAlias = tuple[str, ...]
"""The cells of a row, made safe to print."""


@dataclass(frozen=True, slots=True)
class Statement(Result):
    """A word, what it says, and what stands under it.

    Parameters
    ----------
    word : str
        Such as ``"PROBLEM"`` or ``"BALANCE"``.
    text : str
        One line, safe to print.
    rows : tuple of (str, str)
        Labels with their texts, safe to print.

    Examples
    --------
    >>> print(Statement("OK", "all 30 runs succeeded", (("sure?", "nobody judged them"),)))
    OK       all 30 runs succeeded
      sure?    nobody judged them
    """

    word: str
    text: str
    rows: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        head = f"{self.word:<{STATEMENT_INDENT - 2}}  {self.text}"
        return "\n".join([head, *(f"  {label:<7}  {text}" for label, text in self.rows)])


@dataclass(frozen=True, slots=True)
class Verdict(Result):
    """What a report says, in words: its first screen.

    Parameters
    ----------
    outcome : VerdictOutcome
        Whether something was found.
    statements : tuple of Statement
        The answer, what else was found, and whether detailed balance holds.
    sentences : tuple of str
        What else to know, safe to print.
    """

    outcome: VerdictOutcome
    statements: tuple[Statement, ...]
    sentences: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The answer in one line."""
        return f"{self.statements[0].word}: {self.statements[0].text}"

    def __str__(self) -> str:
        return "\n".join((*map(str, self.statements), *self.sentences))

    def _content(self) -> dict[str, Any]:
        return self._values("outcome", "headline", "statements", "sentences")


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its title.

    Parameters
    ----------
    title : str
        What it shows.
    columns : tuple of str
        Their names; all but the first and those in `words` hold numbers.
    rows : tuple of tuple of str
        The cells, made safe to print.
    note : str
        What to know in order to read it.
    words : tuple of str
        The columns, besides the first, that hold words.
    noun : str
        What a row is, to say how many more there are.
    more : int
        How many rows were left out.
    printed : int or None
        How many rows a terminal shows; None for all.
    wide : tuple of str
        The columns that a terminal leaves out.
    on : tuple of Surface
        Where it is shown.

    Examples
    --------
    >>> section = Section("Runs", ("run", "moves"), (("a", "1"), ("b", "2")), noun="run")
    >>> section.shorten(1).rows, section.shorten(1).note
    ((('a', '1'),), 'And 1 more run.')
    >>> section = Section("Runs", ("run", "x"), (), "All runs. x: a number.", wide=("x",))
    >>> section.shorten(narrow=True).note
    'All runs.'
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    words: tuple[str, ...] = ()
    noun: str = "row"
    more: int = 0
    printed: int | None = None
    wide: tuple[str, ...] = ()
    on: tuple[Surface, ...] = SURFACES

    def shorten(self, limit: int | None = None, *, narrow: bool = False) -> Section:
        """Return the first rows, with a note of how many more there are.

        Where it is narrow, columns that a terminal leaves out go, and so do the sentences of the
        note that begin with the name of one.
        """
        rows = self.rows[:limit]
        more = self.more + len(self.rows) - len(rows)
        left = f"And {count_noun(more, f'more {self.noun}')}." if more else ""
        hidden = self.wide if narrow else ()
        kept = [i for i, name in enumerate(self.columns) if name not in hidden]
        silent = tuple(f"{name}: " for name in hidden)
        told = [each for each in re.split(r"(?<=\.) ", self.note) if not each.startswith(silent)]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in rows),
            note=" ".join(filter(None, [*told, left])),
            more=0,
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, drawn where it is shown.

    Parameters
    ----------
    draw : callable
        Returns a Figure of matplotlib.
    alt : str
        What is to be seen, for those who cannot; escaped where it is shown.
    caption : str
        How to read it.
    title : str
        What stands over it.
    on : tuple of Surface
        Where it is shown; a terminal shows none.
    """

    draw: Callable[[], Figure]
    alt: str
    caption: str
    title: str = ""
    on: tuple[Surface, ...] = ("notebook", "page")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Pictures beside each other.

    Parameters
    ----------
    title : str
        What stands over them.
    pictures : tuple of Picture
        From left to right.
    on : tuple of Surface
        Where they are shown.
    """

    title: str
    pictures: tuple[Picture, ...]
    on: tuple[Surface, ...] = ("page",)


Part: TypeAlias = Section | Picture | SideBySide
"""What a document is made of."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is shown of a result, in order; each renderer takes the parts that it can show.

    Parameters
    ----------
    verdict : Verdict
        The first screen.
    parts : tuple of Part
        Tables and pictures.
    settings : Section or None
        How it was computed.
    wide : bool
        Whether a page has room for two pictures side by side.
    links : mapping of str to str
        Where runs can be read in full, by their names as they are shown.
    """

    verdict: Verdict
    parts: tuple[Part, ...]
    settings: Section | None = None
    wide: bool = False
    links: Mapping[str, str] = field(default_factory=dict)

    def on(self, surface: Surface) -> tuple[Part, ...]:
        """Return the parts of one surface."""
        return tuple(part for part in self.parts if surface in part.on)


@dataclass(frozen=True, slots=True)
class ChosenRun:
    """A run to be drawn.

    Parameters
    ----------
    row : ClassifiedRun
        What it did.
    levels : tuple of float
        The potential after each move, against the lowest state of the largest component; NaN
        where it has no finite value.
    places : tuple of (str, float)
        The states that it visits most, with their potential.
    """

    row: ClassifiedRun
    levels: tuple[float, ...]
    places: tuple[tuple[str, float], ...]
