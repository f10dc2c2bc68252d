"""Record the state transitions of LLM agents, and find where they want to go and what drives them.

The names here are the everyday ones; `detailed_balance.callbacks` records, and
`detailed_balance.analyzers` measures.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.analyzers.counts import TransitionCounts
    from detailed_balance.callbacks.graph import TransitionGraph
    from detailed_balance.callbacks.store.store import TransitionStore
    from detailed_balance.callbacks.transition import Transition
    from detailed_balance.comparison._compare import compare
    from detailed_balance.comparison.comparison import Comparison
    from detailed_balance.monitor import Monitor
    from detailed_balance.readers import read_transitions
    from detailed_balance.report.report import Report, analyze
    from detailed_balance.sources.runs import read_trajectories

    __version__: str

__all__ = [
    "Comparison",
    "Monitor",
    "Report",
    "Transition",
    "TransitionCounts",
    "TransitionGraph",
    "TransitionStore",
    "__version__",
    "analyze",
    "compare",
    "read_trajectories",
    "read_transitions",
]

# Loaded when first asked for, so that the mathematics needs neither LangChain nor SQLAlchemy.
_HOMES = {
    "Comparison": "comparison.comparison",
    "Monitor": "monitor",
    "Report": "report.report",
    "Transition": "callbacks.transition",
    "TransitionCounts": "analyzers.counts",
    "TransitionGraph": "callbacks.graph",
    "TransitionStore": "callbacks.store.store",
    "analyze": "report.report",
    "compare": "comparison._compare",
    "read_trajectories": "sources.runs",
    "read_transitions": "readers",
}

if os.environ.get("DETAILED_BALANCE_STORE"):  # then all agents of this process are recorded
    import_module(f"{__name__}.callbacks.automatic").install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("detailed-balance")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
