"""The action controller in an agent: `ActionControlMiddleware`, and `control_model` for graphs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.runnables import Runnable, RunnableLambda

from detailed_balance.callbacks import TransitionGraph

__all__ = ["ActionControlMiddleware", "Controller", "control_model"]

_logger = logging.getLogger(__name__)


class Controller(Protocol):
    """What chooses the setting: `ActionController`, or anything with these two."""

    @property
    def setting(self) -> float:
        """What to use for the next call of the model."""
        ...

    def update(self, source: str, target: str | None, *, count: int) -> None:
        """Count a transition."""
        ...


class _ControlLoop:
    """Give the controller what the graph recorded, and the model the setting of the controller."""

    def __init__(
        self, controller: Controller, graph: TransitionGraph | None, parameter: str
    ) -> None:
        self._controller, self._parameter = controller, parameter
        self._moves = graph.subscribe() if graph is not None else None
        self._lock = threading.Lock()
        self.faults = 0

    def options(self) -> dict[str, Any]:
        """Return what to call the model with; nothing where the controller fails."""
        with self._lock:
            try:
                for source, target, _, _, count, _ in self._moves.pop() if self._moves else ():
                    self._controller.update(source, target, count=count)
                return {self._parameter: self._controller.setting}
            except Exception:
                self.faults += 1
                if self.faults == 1:
                    _logger.exception("the action controller failed: the model keeps its setting")
                return {}


class ActionControlMiddleware(AgentMiddleware[Any, Any]):
    """Call the model of an agent made by ``create_agent`` with the setting of a controller.

    Parameters
    ----------
    controller : ActionController
        The controller.
    graph : TransitionGraph, optional
        The live graph of the handler that records the agent: before each call the controller is
        given the moves since the last. Without it, call `ActionController.update` yourself.
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
    >>> from examples.paper.control import ActionController
    >>> control = ActionController(0.3, {"search": 1.0, "read": 0.0}, setting=(0.1, 1.0))
    >>> ActionControlMiddleware(control).faults
    0
    """

    def __init__(
        self,
        controller: Controller,
        graph: TransitionGraph | None = None,
        *,
        parameter: str = "temperature",
    ) -> None:
        super().__init__()
        self._loop = _ControlLoop(controller, graph, parameter)

    @property
    def faults(self) -> int:
        """How often the controller failed."""
        return self._loop.faults

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
        return request.override(model_settings={**request.model_settings, **self._loop.options()})


def control_model(
    model: Runnable[Any, Any],
    controller: Controller,
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
    >>> from examples.paper.control import ActionController
    >>> from langchain_core.runnables import RunnableLambda
    >>> control = ActionController(0.3, {"a": 1.0, "b": 0.0}, setting=(0.25, 1.0))
    >>> model = RunnableLambda(lambda text, temperature: f"{text} at {temperature}")
    >>> control_model(model, control).invoke("asked")
    'asked at 0.5'
    """
    loop = _ControlLoop(controller, graph, parameter)

    def choose(_: Any) -> Runnable[Any, Any]:
        return model.bind(**loop.options())

    async def achoose(_: Any) -> Runnable[Any, Any]:
        return choose(_)

    return RunnableLambda(choose, achoose, name=model.get_name())
