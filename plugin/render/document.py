"""What a renderer is given: a verdict in words, tables, and runs to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from detailed_balance.analyzers import ClassifiedRun

__all__ = ["ChosenRun", "Row", "Section", "Verdict", "VerdictOutcome"]

VerdictOutcome: TypeAlias = Literal["problem", "watch", "ok", "unknown", "different", "same"]
"""Of a report: something is wrong; something to look at; nothing, where it would have shown; or too
little to tell. Of a comparison: different, same, or unknown."""

Row: TypeAlias = tuple[str, ...]
"""The cells of a row, made safe to print."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report says, in words.

    Parameters
    ----------
    outcome : {"problem", "watch", "ok", "unknown", "different", "same"}
        Whether something was found; see `VerdictOutcome`.
    headline : str
        The answer in one line.
    sentences : tuple of str
        What it rests on, and what to do. State keys in them are made safe to print.
    """

    outcome: VerdictOutcome
    headline: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.headline, *self.sentences))


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
