"""A dashboard in the browser: `build_app` for an ASGI server, `serve` as a program."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import DetailedBalanceError

if TYPE_CHECKING:
    from detailed_balance.dashboard.app import build_app
    from detailed_balance.dashboard.server import make_server, serve

__all__ = ["build_app", "make_server", "serve"]

_HOMES = {"build_app": "app", "make_server": "server", "serve": "server"}
_NEEDED = {"starlette", "uvicorn"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise DetailedBalanceError(
            f"{error.name} is not installed: pip install 'detailed-balance[dashboard]'"
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
