"""What a renderer is given: a document of statements, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from detailed_balance.analyzers import ClassifiedRun

__all__ = ["ChosenRun", "Row", "Section", "Statement", "Verdict", "VerdictOutcome"]

VerdictOutcome: TypeAlias = Literal[
    "problem", "watch", "ok", "unknown", "worse", "better", "different", "same"
]
"""Of a report: something is wrong; something to look at; nothing, where it would have shown; or too
little to tell. Of a comparison: worse, better, different, same, or unknown."""

STATEMENT_INDENT = 9
"""Where the text of a statement begins, and two columns on that of its rows."""

Row: TypeAlias = tuple[str, ...]
"""The cells of a row, made safe to print."""


@dataclass(frozen=True, slots=True)
class Statement:
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
class Verdict:
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
        What to know in order to read it, and what was left out.
    words : tuple of str
        The columns, besides the first, that hold words.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    words: tuple[str, ...] = ()


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
