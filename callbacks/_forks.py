"""What a forked process must make anew: a lock that another thread held is never released there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "renew_after_fork"]


class Forkable(Protocol):
    """An object that is used on both sides of a fork."""

    def _after_fork(self) -> None: ...


_OWNERS: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(owner: Forkable) -> None:
    """Let `owner` make its locks anew in every process that is forked from here, as it lives."""
    _OWNERS.add(owner)


def _renew() -> None:
    for owner in list(_OWNERS):
        owner._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew)
