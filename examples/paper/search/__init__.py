"""Search for an explicit potential: a chat model writes feature functions, held-out moves judge."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.paper.search.proposals import Proposal
    from examples.paper.search.result import PotentialSearch
    from examples.paper.search.sandbox import (
        Limits,
        SandboxedFeatures,
        SandboxResult,
        run_candidate,
    )
    from examples.paper.search.search import search_potential

__all__ = [
    "Limits",
    "PotentialSearch",
    "Proposal",
    "SandboxResult",
    "SandboxedFeatures",
    "run_candidate",
    "search_potential",
]

_HOMES = {
    "Limits": "sandbox",
    "PotentialSearch": "result",
    "Proposal": "proposals",
    "SandboxResult": "sandbox",
    "SandboxedFeatures": "sandbox",
    "run_candidate": "sandbox",
    "search_potential": "search",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
