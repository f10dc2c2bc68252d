"""The state function that spans are played back with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from detailed_balance.callbacks.states import (
    ActionStates,
    ModelCallStates,
    NodeRun,
    StateFunction,
    state_names,
)
from detailed_balance.callbacks.states.base import Combinable
from detailed_balance.readers.records.base import ReadOptions
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.render.formatting import safe_text

__all__ = ["RECORD", "NamedStates"]

RECORD = "__record__"
"""Where the metadata of a node hold it as it stands in the trace."""


class NamedStates:
    """Names nodes as the options say, by default by what they did, and notes what fails.

    A state function of the live handler (`NodeStates`, `ToolStates`, ...) is given a `NodeRun`;
    any other one, and the fields of a state, the span as it stands in the trace, its metadata
    beside its fields, and ``node`` and ``tool``.

    Attributes
    ----------
    of_calls : bool
        Whether the states are those of model calls (`PromptStates`).
    of_trace : bool
        Whether they are named by what stands in the trace.
    failure : str
        Why the last name could not be found; "" where it could.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self.failure = ""
        given = options.states
        self.of_calls = isinstance(given, ModelCallStates)
        is_live = isinstance(given, Combinable) or hasattr(given, "name_tool")
        self.of_trace = options.reads_steps and not is_live
        self.live = cast("StateFunction", given) if is_live else ActionStates()

    @property
    def for_handler(self) -> StateFunction | ModelCallStates:
        """What the handler is given: itself, unless the states are those of model calls."""
        return cast("ModelCallStates", self._options.states) if self.of_calls else self

    def __call__(self, run: NodeRun) -> Iterable[str]:
        """Name a node; one whose name cannot be found is no state."""
        try:
            if self.of_trace:
                name = self._options.name_state(self._show(run))
                return state_names(None if name is None else (name,))
            return state_names(self.live(run))
        except BadRecordError as error:
            self.failure = str(error)
        except Exception as error:  # whatever a user's function raises
            what = safe_text(f"{type(error).__name__}: {error}", 120)
            self.failure = f"the state function failed ({what})"
        return ()

    def name_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Name a tool that starts."""
        of_tool = getattr(self.live, "name_tool", None)
        return name if of_tool is None else str(of_tool(name, arguments))

    @staticmethod
    def _show(run: NodeRun) -> dict[str, Any]:
        shown = dict(run.metadata)
        record = shown.pop(RECORD, None) or {}
        return {"node": run.name, "tool": "|".join(run.tools)} | shown | record
