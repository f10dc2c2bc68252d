"""A dashboard in the browser: `build_app` for an ASGI server, `serve` as a program."""

from typing import Any

import lazy_loader

from detailed_balance.analyzers.errors import DetailedBalanceError

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_NEEDED = {"starlette", "uvicorn"}


def __getattr__(name: str) -> Any:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise DetailedBalanceError(
            f"{error.name} is not installed: pip install 'detailed-balance[dashboard]'"
        ) from None
