"""Counting inside of a database: tables of events that no memory holds become counts."""

from __future__ import annotations

from detailed_balance.sources._ibis import count_events
from detailed_balance.sources.tables import count_table

__all__ = ["count_events", "count_table"]
