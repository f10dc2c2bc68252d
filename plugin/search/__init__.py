"""Search for an explicit potential: a chat model writes feature functions, held-out moves judge."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.search.sandbox import (
        Limits,
        SandboxedFeatures,
        SandboxResult,
        run_candidate,
    )

__all__ = ["Limits", "SandboxResult", "SandboxedFeatures", "run_candidate"]

_HOMES = {
    "Limits": "sandbox",
    "SandboxResult": "sandbox",
    "SandboxedFeatures": "sandbox",
    "run_candidate": "sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
