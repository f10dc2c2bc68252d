"""The edge between an agent and the handler: what is called there raises nothing.

Starts and ends of runs have one signature each, written out, and hand on by place: `*args,
**kwargs` would be packed and unpacked at every event, which takes as long as an empty hook. Every
argument has a default, since a call that does not fit would raise before it is guarded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from detailed_balance.callbacks._isolation import LOST, Faulty

__all__ = ["Metadata", "More", "Tags", "ends", "notes", "starts"]

Metadata: TypeAlias = Mapping[str, Any]
"""The metadata of a run; empty where there is none."""

Tags: TypeAlias = Sequence[str]
"""The tags of a run."""

More: TypeAlias = Mapping[str, Any]
"""What else an event says, by name."""

_NOTHING: Metadata = {}
_NO_RUN = UUID(int=0)
"""Of an event that names none: it is about nothing that was seen to start."""


def starts(
    method: Callable[[Any, Any, Any, int, int | None, Metadata, Tags, More], None],
) -> Callable[..., None]:
    """Make a hook for starts of a method: it is told the run, the parent and the rest by place.

    Errors are noted in `_faults`, and none is raised.
    """

    @functools.wraps(method)
    def hook(
        self: Faulty,
        serialized: Any = None,
        given: Any = None,
        /,
        *,
        run_id: UUID = _NO_RUN,
        parent_run_id: UUID | None = None,
        metadata: Metadata | None = None,
        tags: Tags | None = None,
        **more: Any,
    ) -> None:
        try:
            parent_id = parent_run_id.int if parent_run_id else None
            metadata, tags = metadata or _NOTHING, tags or ()
            method(self, serialized, given, run_id.int, parent_id, metadata, tags, more)
        except Exception:
            self._faults.note(LOST)

    return hook


def ends(method: Callable[[Any, Any, int], None]) -> Callable[..., None]:
    """Make a hook for ends of a method that is told what the run gave, and which run it was.

    Errors are noted in `_faults`, and none is raised.
    """

    @functools.wraps(method)
    def hook(
        self: Faulty,
        given: Any = None,
        /,
        *,
        run_id: UUID = _NO_RUN,
        parent_run_id: UUID | None = None,
        tags: Tags | None = None,
        **more: Any,
    ) -> None:
        try:
            method(self, given, run_id.int)
        except Exception:
            self._faults.note(LOST)

    return hook


def notes(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Let a method of one argument note its errors in `_faults`, and raise none."""

    @functools.wraps(method)
    def guarded(self: Faulty, given: Any) -> None:
        try:
            method(self, given)
        except Exception:
            self._faults.note(LOST)

    return guarded
