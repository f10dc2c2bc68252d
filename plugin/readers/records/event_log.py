"""Event logs: what their columns are called."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from detailed_balance.readers.records.base import ReadOptions
from detailed_balance.readers.records.columns import FieldNames

__all__ = ["ACTIVITY", "CASE", "TIMESTAMP", "adapt_to_event_log"]

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"


def adapt_to_event_log(columns: Collection[str], options: ReadOptions) -> ReadOptions:
    """Return options for the columns of an event log, where the table is one.

    Case, activity and timestamp become trajectory, state and time, as far as no other name was
    given for them. Any other table keeps its options.

    Examples
    --------
    >>> options = adapt_to_event_log([CASE, ACTIVITY], ReadOptions(FieldNames()))
    >>> options.fields.state, options.fields.trajectory
    ('concept:name', 'case:concept:name')
    """
    usual, fields = FieldNames(), options.fields
    if CASE not in columns or fields.source in columns or fields.target in columns:
        return options
    if fields.trajectory == usual.trajectory:
        fields = replace(fields, trajectory=CASE)
    if fields.state is None and options.states is None:
        fields = replace(fields, state=ACTIVITY)
    if fields.time == usual.time and TIMESTAMP in columns:
        fields = replace(fields, time=TIMESTAMP)
    return replace(options, fields=fields)
