"""What the readers of tables share: from records, each with its line, to transitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from detailed_balance.analyzers import START
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.columns import has_field, unknown_field_message
from detailed_balance.readers.records.steps import connect_steps
from detailed_balance.readers.records.values import BadRecordError, Step

__all__ = ["FieldCheck", "read_records"]

_MOST_JUDGED = 100_000


def read_records(
    records: Iterable[LineRecord], options: ReadOptions, bad: BadLines
) -> Iterator[Record]:
    """Turn records into transitions, or steps where the options name their state; 0 counts none.

    Raises
    ------
    ReadError
        Where there is no record at all, or none has a field that was asked for.
    """
    if options.reads_steps:
        return connect_steps(read_steps(records, options, bad), bad)
    return _read_moves(_checked(records, options, bad), options, bad)


def read_steps(
    records: Iterable[LineRecord], options: ReadOptions, bad: BadLines
) -> Iterator[Step | Ending]:
    """Yield the step of each record that has a state; of another, what it says of its run's end."""
    for line, record in _checked(records, options, bad):
        try:
            state = options.name_state(record)
            step = options.fields.to_step(record, state)
        except BadRecordError as error:
            bad.report(line, str(error))
            continue
        bad.accepted += 1
        if state is not None or options.states is None:
            yield step
        elif step.outcome is not None or step.success is not None:
            told = step.outcome, None, step.success
            yield Ending(step.trajectory, *told, step.context, step.time)


def _read_moves(
    records: Iterable[LineRecord], options: ReadOptions, bad: BadLines
) -> Iterator[Record]:
    new_endings = _EndingFilter()
    for line, record in records:
        try:
            transition = options.fields.to_transition(record)
            ending = options.fields.to_ending(record, transition)
        except BadRecordError as error:
            bad.report(line, str(error))
            continue
        bad.accepted += 1
        if not transition.count:
            continue
        yield transition
        begins = options.every_ending or transition.source == START
        if ending is not None and new_endings.is_new(ending, begins=begins):
            yield ending


def _checked(
    records: Iterable[LineRecord], options: ReadOptions, bad: BadLines
) -> Iterator[LineRecord]:
    """Yield the records, and report at the end the fields that none of them had."""
    check = FieldCheck(options.fields.expected(steps=options.reads_steps))
    for line, record in records:
        check.record(record)
        yield line, record
    if check.there is None and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no transitions")
    check.report(bad)


class FieldCheck:
    """Finds fields that were asked for and that no record has: their name is a mistake.

    Parameters
    ----------
    expected : dict of str to str
        The fields, each with the option that names it.
    """

    def __init__(self, expected: dict[str, str]) -> None:
        self._missing = expected
        self.there: tuple[str, ...] | None = None

    def record(self, record: Mapping[str, Any]) -> None:
        """Cross off the fields that a record has."""
        self.there = self.there or tuple(record)
        if self._missing:
            self._missing = {n: o for n, o in self._missing.items() if not has_field(record, n)}

    def report(self, bad: BadLines) -> None:
        """Raise `ReadError` where there were records, and a field is still missing."""
        for name, option in self._missing.items() if self.there is not None else ():
            raise ReadError(f"{bad.name}: {unknown_field_message(name, option, self.there or ())}")


class _EndingFilter:
    """Lets through an ending that is new to its run: often every record of a run repeats it."""

    def __init__(self) -> None:
        self._last: dict[str | None, tuple[object, object]] = {}

    def is_new(self, ending: Ending, *, begins: bool = False) -> bool:
        said = (ending.outcome, ending.success)
        if self._last.get(ending.trajectory) == said and not begins:
            return False
        if len(self._last) >= _MOST_JUDGED:
            self._last.clear()  # to say it twice does no harm
        self._last[ending.trajectory] = said
        return True
