"""One recorder for a whole process, asked for by an environment variable alone."""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import Any, ClassVar, Self

from langchain_core.tracers.context import register_configure_hook

from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.recorder.handler import TransitionCallbackHandler
from detailed_balance.callbacks.transition import ContextLike

__all__ = ["CONTEXT_VARIABLE", "STORE_VARIABLE", "ProcessRecorder", "install"]

STORE_VARIABLE = "DETAILED_BALANCE_STORE"
"""Names the store: a URL, or the path of a file that SQLite keeps."""

CONTEXT_VARIABLE = "DETAILED_BALANCE_CONTEXT"
"""Names the labels of all that is recorded: ``version=2,team=search``."""


class ProcessRecorder(TransitionCallbackHandler):
    """The one recorder of this process, made when the first agent runs.

    LangChain asks for it in every thread while the variable `STORE_VARIABLE` is set. Where the
    store cannot be opened it says so once in the log, and the agents run as they would.

    Examples
    --------
    >>> ProcessRecorder() is ProcessRecorder()
    True
    """

    _only: ClassVar[ProcessRecorder | None] = None
    _making: ClassVar[threading.RLock] = threading.RLock()

    def __new__(cls) -> Self:
        """Return the only one."""
        with cls._making:
            if not isinstance(cls._only, cls):
                only = super().__new__(cls)
                only._set_up()
                cls._only = only
            return cls._only

    def __init__(self) -> None:
        """Leave all as it is: Python calls this each time that the recorder is asked for."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def _set_up(self) -> None:
        context = _read_context(os.environ.get(CONTEXT_VARIABLE, ""))
        store = _read_store(os.environ.get(STORE_VARIABLE, ""))
        try:
            super().__init__(store=store, context=context)
        except Exception:
            warn("%s=%s: nothing is stored", STORE_VARIABLE, store)
            super().__init__(context=context)


def _read_store(value: str) -> str | None:
    if not value or "://" in value:
        return value or None
    return f"sqlite:///{value}"


def _read_context(value: str) -> ContextLike:
    pairs = (pair.partition("=") for pair in value.split(",") if pair.strip())
    return {name.strip(): label.strip() for name, _, label in pairs}


_SLOT: ContextVar[TransitionCallbackHandler | None] = ContextVar(
    "detailed_balance_process_recorder", default=None
)
_installed = False


def install() -> None:
    """Let LangChain ask for the recorder of this process wherever the variable is set.

    ``import detailed_balance`` does it where the variable is set by then; the command
    ``detailed-balance record`` does it for programs that do not import it.

    Examples
    --------
    >>> install()  # once or more often is the same
    """
    global _installed
    if not _installed:
        _installed = True
        register_configure_hook(_SLOT, True, ProcessRecorder, STORE_VARIABLE)
