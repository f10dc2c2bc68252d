"""The action controller in an agent: `ActionControlMiddleware`, and `control_model` for graphs."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.runnables import Runnable, RunnableLambda

from detailed_balance.callbacks import TransitionGraph
from detailed_balance.callbacks.isolation import Faults

__all__ = ["ActionControlMiddleware", "Steering", "control_model"]

_FAULT = "the action controller failed: the model keeps its own setting"


class Steering(Protocol):
    """What steers: `ActionController`, or anything with these two."""

    @property
    def setting(self) -> float:
        """What to use for the next call of the model."""
        ...

    def update(self, source: str, target: str | None, *, count: int) -> None:
        """Take in a transition."""
        ...


class _Helm:
    """Tell the controller what the graph recorded, and the model what the controller says."""

    def __init__(self, controller: Steering, graph: TransitionGraph | None, parameter: str) -> None:
        self._controller, self._parameter = controller, parameter
        self._moves = graph.subscribe() if graph is not None else None
        self._lock = threading.Lock()
        self.faults = Faults()

    def options(self) -> dict[str, Any]:
        """Return what to call the model with; nothing where the controller fails."""
        try:
            with self._lock:
                for source, target, _, _, count in self._moves.take() if self._moves else ():
                    self._controller.update(source, target, count=count)
                return {self._parameter: self._controller.setting}
        except Exception:
            self.faults.note(_FAULT)
            return {}


class ActionControlMiddleware(AgentMiddleware[Any, Any]):
    """Call the model of an agent made by ``create_agent`` with the setting of a controller.

    Parameters
    ----------
    controller : ActionController
        The controller.
    graph : TransitionGraph, optional
        The live graph of the handler that records the agent: before each call the controller is
        told the moves since the last. Without it, somebody else calls `ActionController.update`.
    parameter : str
        What the setting is called in ``model_settings``. The model must take it call by call, as
        those of OpenAI and Anthropic take ``temperature``; some reasoning models refuse it.

    Notes
    -----
    Where several runs share the controller, moves that began before a change of the setting may
    be counted after it; keep its window long beside the number of runs at once. A fault of the
    controller is logged once and never reaches the agent.

    Examples
    --------
    >>> from examples.paper.control.controller import ActionController
    >>> control = ActionController(0.3, {"search": 1.0, "read": 0.0}, setting=(0.1, 1.0))
    >>> ActionControlMiddleware(control).faults
    0
    """

    def __init__(
        self,
        controller: Steering,
        graph: TransitionGraph | None = None,
        *,
        parameter: str = "temperature",
    ) -> None:
        super().__init__()
        self._helm = _Helm(controller, graph, parameter)

    @property
    def faults(self) -> int:
        """How often the controller failed."""
        return self._helm.faults.count

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Call the model with the present setting."""
        return handler(self._steer(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do the same where the agent runs in an event loop."""
        return await handler(self._steer(request))

    def _steer(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request.override(model_settings={**request.model_settings, **self._helm.options()})


def control_model(
    model: Runnable[Any, Any],
    controller: Steering,
    graph: TransitionGraph | None = None,
    *,
    parameter: str = "temperature",
) -> Runnable[Any, Any]:
    """Return `model`, each time called with the setting that the controller has then.

    For graphs made by hand. Bind tools before.

    Parameters
    ----------
    model : Runnable
        A chat model, or one with tools bound.
    controller, graph, parameter
        As for `ActionControlMiddleware`.

    Examples
    --------
    >>> from examples.paper.control.controller import ActionController
    >>> from langchain_core.runnables import RunnableLambda
    >>> control = ActionController(0.3, {"a": 1.0, "b": 0.0}, setting=(0.25, 1.0))
    >>> told = RunnableLambda(lambda text, temperature: f"{text} at {temperature}")
    >>> control_model(told, control).invoke("asked")
    'asked at 0.5'
    """
    helm = _Helm(controller, graph, parameter)

    def choose(_: Any) -> Runnable[Any, Any]:
        return model.bind(**helm.options())

    async def achoose(_: Any) -> Runnable[Any, Any]:
        return choose(_)

    return RunnableLambda(choose, achoose, name=model.get_name())
