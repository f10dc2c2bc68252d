"""What records: the callback handler, its state functions, the live graph and the store."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.callbacks.ending import Ending
    from detailed_balance.callbacks.graph import TransitionGraph
    from detailed_balance.callbacks.middleware import RunGuardMiddleware, StopEvent, stop_when
    from detailed_balance.callbacks.recorder.handler import TransitionCallbackHandler
    from detailed_balance.callbacks.recorder.record import record_transitions
    from detailed_balance.callbacks.states import (
        ActionStates,
        ChannelStates,
        CombinedStates,
        EmbeddingStates,
        ModelCallStates,
        NodeRun,
        NodeStates,
        PromptStates,
        ToolStates,
    )
    from detailed_balance.callbacks.store.store import TransitionStore
    from detailed_balance.callbacks.transition import Transition

__all__ = [
    "ActionStates",
    "ChannelStates",
    "CombinedStates",
    "EmbeddingStates",
    "Ending",
    "ModelCallStates",
    "NodeRun",
    "NodeStates",
    "PromptStates",
    "RunGuardMiddleware",
    "StopEvent",
    "ToolStates",
    "Transition",
    "TransitionCallbackHandler",
    "TransitionGraph",
    "TransitionStore",
    "record_transitions",
    "stop_when",
]

# Loaded when first asked for, so that a graph needs no LangChain and a handler no SQLAlchemy.
_HOMES = {
    "Ending": "ending",
    "RunGuardMiddleware": "middleware",
    "StopEvent": "middleware",
    "Transition": "transition",
    "TransitionCallbackHandler": "recorder.handler",
    "TransitionGraph": "graph",
    "TransitionStore": "store.store",
    "record_transitions": "recorder.record",
    "stop_when": "middleware",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES.get(name, 'states')}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
