"""What scripted agents are made of, and the stage on which they play."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from operator import add
from types import SimpleNamespace
from typing import Annotated, Any, TypeAlias, TypedDict
from unittest.mock import patch

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from detailed_balance.callbacks import TransitionCallbackHandler
from detailed_balance.callbacks.recorder import handler as recorder
from detailed_balance.callbacks.store import _runs as judging

Turn: TypeAlias = str | tuple[str, str] | list[tuple[str, str]] | AIMessage
"""What a model says: an answer, a tool with its argument, several of them, or a whole message."""

FIRST = 1_772_442_000.0
"""When the first run begins: 2 March 2026, 9:00 UTC."""

BETWEEN = 600.0
_ids = count()


class ServiceError(Exception):
    """What a tool or a node of these agents raises."""


def tokens(used: int) -> dict[str, Any]:
    """Return the field of a message that says how many tokens it used."""
    return {"usage_metadata": {"input_tokens": used, "output_tokens": 0, "total_tokens": used}}


def call(*calls: tuple[str, str], **more: Any) -> AIMessage:
    """Return the message of a model that asks for tools, each with an argument."""
    asked = [{"name": name, "args": {"q": q}, "id": f"call-{next(_ids)}"} for name, q in calls]
    return AIMessage("", tool_calls=asked, **more)


def to_message(turn: Turn) -> AIMessage:
    """Return what a model says as a message."""
    if isinstance(turn, str):
        return AIMessage(turn)
    if isinstance(turn, AIMessage):
        return turn
    return call(turn) if isinstance(turn, tuple) else call(*turn)


class ScriptedModel(BaseChatModel):
    """A chat model that says the turns of a script, one after the other."""

    script: Any = ()

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> ScriptedModel:
        """Ignore the tools; the script names them."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=to_message(next(self.script)))])


def make_tool(name: str, answer: Callable[[str], str] = "answer to {}".format) -> BaseTool:
    """Return a tool; a `ToolException` of it is told to the model, any other error is raised."""

    def run(q: str) -> str:
        return answer(q)

    return StructuredTool.from_function(run, name=name, description=name, handle_tool_error=True)


def refuse(q: str) -> str:
    """Be a tool that reports an error."""
    raise ToolException("no connection")


@dataclass(frozen=True)
class Agent:
    """An agent of `create_agent` whose model follows a script.

    Parameters
    ----------
    tools : tuple of str or BaseTool
        Its tools, or their names.
    settings : mapping
        As for `create_agent`.
    """

    tools: tuple[str | BaseTool, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    model: ScriptedModel = field(default_factory=ScriptedModel)
    graph: Any = field(init=False)

    def __post_init__(self) -> None:
        tools = [make_tool(tool) if isinstance(tool, str) else tool for tool in self.tools]
        object.__setattr__(self, "graph", create_agent(self.model, tools, **self.settings))

    def run(self, stage: Stage, key: str, script: Iterable[Turn], **config: Any) -> None:
        """Answer a question by a script."""
        self.model.script = iter(script)
        stage.run(self.graph, key, {"messages": [("user", "please")]}, **config)


class State(TypedDict):
    """The state of the graphs."""

    case: dict[str, Any]
    steps: Annotated[int, add]


def node(act: Callable[[dict[str, Any], int], Any] = lambda case, steps: None) -> Any:
    """Return a node that does something with the case and the number of steps so far."""

    def run(state: State) -> Any:
        done = act(state.get("case", {}), state.get("steps", 0))
        return {"steps": 1} if done is None else done

    return run


class Stage:
    """Where agents play: a handler that records them, and a clock that is set by hand.

    Parameters
    ----------
    handler : TransitionCallbackHandler
        Records them.

    Attributes
    ----------
    judged : dict of str to bool
        Which runs did their work, where somebody says so.
    watch : callable
        Called after every ten runs.
    listeners : list of handlers
        Others that hear of all runs.
    began : list of (str, float)
        The runs, and when they began.
    """

    def __init__(self, handler: TransitionCallbackHandler) -> None:
        self.handler = handler
        self.judged: dict[str, bool] = {}
        self.watch: Callable[[], object] = lambda: None
        self.listeners: list[Any] = []
        self.began: list[tuple[str, float]] = []
        self.now = FIRST
        self._runs = 0

    def config(self, key: str, limit: int = 60, **more: Any) -> dict[str, Any]:
        """Return the configuration of the next run, and set the clock."""
        if self._runs % 10 == 9:
            self.watch()
        self.now = max(self.now, FIRST + BETWEEN * self._runs)
        self._runs += 1
        self.began.append((key, self.now))
        given = {"callbacks": [self.handler, *self.listeners], "recursion_limit": limit}
        return {**given, "configurable": {"thread_id": key}, **more}

    def run(self, graph: Any, key: str, inputs: Any, **config: Any) -> None:
        """Run an agent to where it stops."""
        with suppress(RecursionError, ServiceError):
            graph.invoke(inputs, self.config(key, **config))

    def case(self, graph: Any, key: str, limit: int = 60, **case: Any) -> None:
        """Run a graph of `State`."""
        self.run(graph, key, {"case": case, "steps": 0}, limit=limit)

    def read_clock(self) -> float:
        """Return the time, a second later each time."""
        self.now += 1
        return self.now


@contextmanager
def set_stage(handler: TransitionCallbackHandler) -> Iterator[Stage]:
    """Yield a stage whose clock is that of the handler."""
    stage = Stage(handler)
    clock = SimpleNamespace(time=stage.read_clock)
    with patch.object(recorder, "time", clock), patch.object(judging, "time", clock):
        yield stage
