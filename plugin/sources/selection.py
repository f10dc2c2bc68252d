"""Which runs of a source are meant, and what their states are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    Moment,
    find_since,
    make_context,
)
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.render.formatting import show_context

__all__ = ["Merge", "Selection", "no_such_labels"]

Merge: TypeAlias = "Mapping[str, str] | Callable[[str], str] | None"
"""New names of states: of exact names or patterns with ``*``, or a function."""

_LABELS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is wanted of a source; see `open_source` for the parameters."""

    context: ContextLike = None
    since: Moment = None
    until: Moment = None
    last: str | None = None
    hide: tuple[str, ...] = ()
    merge: Merge = None
    block: str | None = None

    @classmethod
    def of(cls, *, hide: Iterable[str] = (), **wanted: Any) -> Selection:
        """Return a selection, whose parts fit together.

        Raises
        ------
        InvalidInputError
            Where `last` and `since` are both given, or one of them means nothing.
        """
        wanted["since"] = find_since(wanted.get("since"), wanted.get("last"))
        return cls(hide=(hide,) if isinstance(hide, str) else tuple(hide), **wanted)

    @property
    def labels(self) -> Context:
        """The labels."""
        return make_context(self.context)

    @property
    def needs_runs(self) -> str:
        """Which option needs runs, empty where none does."""
        asked: dict[str, Any] = {"last": self.last, "since": self.since, "until": self.until}
        asked |= {"hide": self.hide or None, "block": self.block}
        return next((name for name, value in asked.items() if value is not None), "")

    def check_followed(self) -> None:
        """Refuse what cannot be chosen of a record that grows.

        Raises
        ------
        InvalidInputError
            Where `until` or `block` is given.
        """
        if self.until is not None:
            raise InvalidInputError(
                f"until={self.until!r} cannot be used with what is followed, which has no end; "
                "since= and last= say where it begins, and analyze() takes until="
            )
        if self.block is not None:
            raise InvalidInputError(
                f"block={self.block!r} is for runs that are finished; Monitor takes block= itself"
            )

    @cached_property
    def rename(self) -> Callable[[str], str]:
        """What gives a state the name that it is to have."""
        merge = self.merge
        if merge is None or callable(merge):
            return merge or (lambda state: state)
        patterns = [(old, new) for old, new in merge.items() if "*" in old]

        def rename(state: str) -> str:
            if state in merge or state in BOUNDARIES:
                return merge.get(state, state)
            found = (new for old, new in patterns if fnmatchcase(state, _literal(old)))
            return next(found, state)

        return rename

    def select_runs(self, runs: RunTable, description: str, *, strict: bool = True) -> RunTable:
        """Return the runs that are wanted: chosen, merged, hidden, in this order.

        Parameters
        ----------
        runs : RunTable
            All runs.
        description : str
            What they are of, for messages.
        strict : bool
            Whether labels that no run carries are a mistake: those of older runs may.

        Raises
        ------
        InsufficientDataError
            Where no run carries the labels, or none began in the time asked for.
        InvalidInputError
            Where a state to hide, or a label that names the block, is not there.
        """
        labelled = runs.where(self.labels)
        if strict and self.labels and len(runs) and not len(labelled):
            raise InsufficientDataError(no_such_labels(self.labels, runs.contexts))
        chosen = labelled.where(None, self.since, self.until)
        if len(labelled) and not len(chosen):
            raise InsufficientDataError(self._empty_window(labelled, description))
        if self.merge is not None:
            chosen = chosen.merge(self.rename)
        if self.hide and len(chosen):
            chosen = chosen.hide(self.hide)
        if self.block is not None and len(chosen):
            chosen = chosen.with_blocks(self.block)
        return chosen

    def select_last(self, runs: RunTable) -> RunTable:
        """Return the wanted of the last runs of a record that grows, perhaps none.

        A state to hide that is not there may come later.
        """
        chosen = runs.where(self.labels, self.since, self.until)
        if self.merge is not None:
            chosen = chosen.merge(self.rename)
        there = [state for state in self.hide if chosen.code(state) >= 0]
        return chosen.hide(there) if there else chosen

    def merge_counts(self, counts: TransitionCounts) -> TransitionCounts:
        """Return counts with the names that states are to have, and these sorted."""
        if self.merge is not None:
            edges, escapes = counts.counts.tocoo(), counts.escapes
            new = [self.rename(state) for state in counts.states]
            names = sorted(set(new))
            place = {name: i for i, name in enumerate(names)}
            codes = np.array([place[name] for name in new], dtype=np.int64)
            return TransitionCounts.from_arrays(
                tuple(names),
                np.concatenate([codes[edges.row], codes]),
                np.concatenate([codes[edges.col], np.full(len(codes), -1)]),
                np.concatenate([edges.data, escapes]),
            )
        order = sorted(counts.states)
        return counts if order == list(counts.states) else counts.restrict(order)

    def _empty_window(self, runs: RunTable, description: str) -> str:
        started = runs.runs.started
        if np.isnan(started).all():
            return (
                f"no run of {description} has a time, so none is known to have begun in the time "
                "asked for; of a file, time_field= (--time-field) names the field"
            )
        newest = datetime.fromtimestamp(float(np.nanmax(started)), UTC)
        return (
            f"no run of {description} began in the time asked for; the newest began "
            f"{newest:%Y-%m-%d %H:%M:%S} UTC"
        )


def no_such_labels(labels: Context, contexts: Iterable[Context]) -> str:
    """Say that nothing carries labels, and which there are."""
    seen = [show_context(each) for each in sorted(set(contexts)) if each][:_LABELS_SHOWN]
    return (
        f"no transition carries {show_context(labels)}; the labels seen are "
        f"{'; '.join(seen) or 'none'}. Of a file, context_fields= (on the command line "
        "--context-field) names the fields that hold labels"
    )


def _literal(pattern: str) -> str:
    """Return a pattern in which only ``*`` has a meaning."""
    return re.sub(r"([\[?])", r"[\1]", pattern)
