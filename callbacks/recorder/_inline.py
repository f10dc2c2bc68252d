"""`Inline`, which says whether LangChain calls a handler in the thread of the agent."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import overload

from langchain_core.callbacks.manager import AsyncCallbackManager


class Inline:
    """The attribute `run_inline` of a handler: True, but where that would hide others.

    ``AsyncCallbackManager.on_llm_start`` tells of a completion model either the handlers that run
    inline or all others, so that one that does takes the event away from all that do not. Asked
    from there, and only from there, the answer is False, unless another handler runs inline
    anyway: then this one would be among those that hear nothing. The event then goes to all in one
    call, which asks again, and calls this handler inline as ever.

    Where LangChain has no such function any more, the answer is always True.

    Examples
    --------
    >>> class Handler:
    ...     run_inline = Inline()
    >>> Handler().run_inline
    True
    """

    @overload
    def __get__(self, handler: None, owner: type) -> Inline: ...

    @overload
    def __get__(self, handler: object, owner: type) -> bool: ...

    def __get__(self, handler: object | None, owner: type) -> Inline | bool:
        if handler is None:
            return self
        try:
            frame = sys._getframe(1)
            return id(frame.f_code) not in _CODES or _is_inline_anyway(frame)
        except Exception:  # LangChain may be another
            return True


def _is_inline_anyway(frame: FrameType | None) -> bool:
    """Say whether a handler that is not ours runs inline, in the frame that tells them all."""
    while frame is not None and "self" not in frame.f_locals:
        frame = frame.f_back  # before Python 3.12 a comprehension has a frame of its own
    handlers = [] if frame is None else getattr(frame.f_locals["self"], "handlers", [])
    return any(
        handler.run_inline
        for handler in handlers
        if not isinstance(getattr(type(handler), "run_inline", None), Inline)
    )


def _find_codes(function: object) -> Iterator[CodeType]:
    """Yield the code of a function, and of what is in it, as a comprehension is."""
    codes = [getattr(inspect.unwrap(function), "__code__", None)] if callable(function) else []
    for code in codes:
        if code is not None:
            yield code
            codes.extend(const for const in code.co_consts if isinstance(const, CodeType))


_KEPT = tuple(_find_codes(getattr(AsyncCallbackManager, "on_llm_start", None)))
_CODES = frozenset(map(id, _KEPT))  # the hash of a code itself takes long
