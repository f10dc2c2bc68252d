"""The run guard in an agent: `RunGuardMiddleware` for `create_agent`, `stop_when` for graphs."""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage

from detailed_balance.analyzers import END, START, RunGuard, RunWatch
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks._run_path import (
    RunPath,
    RunPathState,
    StepReaders,
    keep_path,
    last_run,
)
from detailed_balance.callbacks.isolation import Faults, warn
from detailed_balance.callbacks.states.messages import RunStep, StepReader, message_steps

__all__ = ["RunGuardMiddleware", "StopEvent", "action_path", "action_steps", "stop_when"]

_ANSWERS = ("warn", "message", "end")
_REMEMBERED = 10_000
_FEWEST_STEPS = 5
_FAULT = "the run guard failed: the agent continues without it"


@dataclass(frozen=True, slots=True)
class StopEvent:
    """What the guard says about a run that is to be stopped.

    Parameters
    ----------
    trajectory : str
        The thread of the run, or else the id of the message that began it.
    step : int
        The step at which the risk exceeded the threshold.
    risk : float
        The risk now.
    threshold : float
        What the risk exceeded.
    repetition : str
        What the run keeps repeating, as a part of a sentence.
    why : str
        Why it is to be stopped, in one sentence.

    Examples
    --------
    >>> StopEvent("T", 31, 4.2, 3.1, "it went a -> b -> a 9 times", "stopped at step 31").step
    31
    """

    trajectory: str
    step: int
    risk: float
    threshold: float
    repetition: str
    why: str


OnStop: TypeAlias = Literal["warn", "message", "end"] | Callable[[StopEvent], str | None]
StopMessage: TypeAlias = str | Callable[[StopEvent], str]


def action_path(
    messages: Sequence[Any], tools: Sequence[Any] | None = None, **known: Any
) -> list[str]:
    """Return the states of the run that the last human message began; see `action_steps`.

    Examples
    --------
    >>> from langchain_core.messages import ToolMessage
    >>> call = {"name": "search", "args": {}, "id": "1"}
    >>> action_path([HumanMessage("hi"), AIMessage("", tool_calls=[call]),
    ...              ToolMessage("found", tool_call_id="1", name="search"), AIMessage("done")])
    ['search', 'model']
    """
    return [step.state for step in action_steps(messages, tools, **known)]


def action_steps(
    messages: Sequence[Any],
    tools: Sequence[Any] | None = None,
    *,
    schemas: Collection[str] = (),
    refused: Collection[str] = (),
) -> list[RunStep]:
    """Return the steps of the run that the last human message began, read from its messages.

    The states are those that `ActionStates` records of ``create_agent``: the tools that ran, side
    by side joined by ``|``, and ``model`` for a plain answer or a structured output. Calls without
    a result are left out. A summary that a middleware wrote begins no run. Facts are those that the
    recorder keeps of steps; the text is what the model wrote beside its calls.

    Parameters
    ----------
    messages : sequence of BaseMessage
        The messages of the agent's state.
    tools : sequence of BaseTool or dict, or None
        The tools that there are: an error in the name of another one is a call of a tool that does
        not exist, whatever its text. None: the texts say it.
    schemas : collection of str
        The names of the schemas of structured outputs, where their texts are your own.
    refused : collection of str
        The ids of calls that are known not to have run; else the texts of the answers say it.

    Examples
    --------
    >>> step, = action_steps([HumanMessage("hi"), AIMessage("Hello!")])
    >>> step.state, step.text
    ('model', 'Hello!')
    """
    names = None if tools is None else {_tool_name(tool) for tool in tools}
    known: dict[str, Any] = {"tools": names, "schemas": schemas, "refused": refused}
    return message_steps(last_run(messages)[1], reader=StepReader(), **known)


def _tool_name(tool: Any) -> Any:
    return tool.get("name") if isinstance(tool, dict) else getattr(tool, "name", None)


class RunGuardMiddleware(AgentMiddleware[Any, Any]):
    """Let a `RunGuard` watch every run of an agent made by ``create_agent``.

    Before each call of the model, the guard rates the run that the last question of a person
    began. The states are those that the default `ActionStates` records: fit the guard on records
    of the same agent. Other middleware changes nothing of that, since hooks that change nothing are
    no states.

    The path of the run is in the private state of the agent, so the guard goes on after a resume,
    in any process, and for any number of runs at once, and a summary or a cut of old messages takes
    nothing from it. It changes no message, and adds no node. LangChain before 1.2.9 cannot keep
    it: there it is read from the messages each time. When a run that was interrupted is resumed,
    counting starts again: a person has seen it.

    Parameters
    ----------
    guard : RunGuard
        The guard.
    on_stop : {"warn", "message", "end"} or callable
        What to do with a run that is to be stopped. ``"warn"``: log it, once per run.
        ``"message"``: tell the model what it keeps repeating, with this call and every later
        one of the run; the message is not kept in the state. ``"end"``: end the run with
        `message`, without calling the model. A callable is given the `StopEvent`, once per
        run and process, and may return one of the three words to have that done from then on.
    message : str, callable or None
        What the customer reads when the run is ended: a text, or a function of the `StopEvent`
        that returns one; None says why it was ended.

    Raises
    ------
    InvalidInputError
        Where `on_stop` or `message` is none of these.

    Notes
    -----
    A fault of the guard, or of a callable, is logged once and never reaches the agent. Once too it
    logs that a run has states, or mostly moves, that were in none of the runs the guard was fitted
    on: of those it knows nothing.

    Examples
    --------
    >>> guard = RunGuard.from_rules(max_rounds=5)
    >>> sorry = "I could not finish this. A colleague will get back to you."
    >>> RunGuardMiddleware(guard, on_stop="end", message=sorry).faults
    0
    """

    state_schema = RunPathState

    def __init__(
        self, guard: RunGuard, on_stop: OnStop = "warn", message: StopMessage | None = None
    ) -> None:
        super().__init__()
        if on_stop not in _ANSWERS and not _is_plain_function(on_stop):
            raise InvalidInputError(
                f"on_stop must be one of {', '.join(map(repr, _ANSWERS))}, or a plain function of "
                f"a StopEvent; it is {on_stop!r}"
            )
        if message is not None and not isinstance(message, str) and not _is_plain_function(message):
            raise InvalidInputError(
                f"message must be a text, or a plain function of a StopEvent that returns one; "
                f"it is {message!r}"
            )
        self.guard = guard
        self._on_stop = on_stop
        self._message = message
        self._answers: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._faults = Faults()
        self._stranger = _Stranger(guard)
        self._readers = StepReaders() if getattr(guard.score, "reads_steps", False) else None

    @property
    def faults(self) -> int:
        """How often the guard failed."""
        return self._faults.count

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:
        """Call the model, or end the run, as the guard says."""
        decided, path = self._decide(request)
        response = decided if isinstance(decided, AIMessage) else handler(decided)
        return keep_path(response, path, texts=self.guard.reads_text)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """Do the same where the agent runs in an event loop."""
        decided, path = self._decide(request)
        response = decided if isinstance(decided, AIMessage) else await handler(decided)
        return keep_path(response, path, texts=self.guard.reads_text)

    def _decide(
        self, request: ModelRequest[Any]
    ) -> tuple[ModelRequest[Any] | AIMessage, RunPath | None]:
        """Return what to ask the model, or the last message of the run; and the path to keep."""
        path = None
        try:
            schemas = _name_schemas(request.response_format)
            state = cast("Mapping[str, Any]", request.state or {})
            path = RunPath.read(state, schemas, self._readers)
            watch = _watch(self.guard, path.moves, path.led, self._stranger)
            if not watch.stopped:
                return request, path
            run = path.name()
            event = _event(watch, run[0] or run[1])
            answer = self._answer(run, event)
            if answer == "end":
                return AIMessage(self._last_words(event)), path
            if answer == "message":
                note = f"This run is likely to fail: so far {event.repetition}. Do something else."
                return request.override(messages=[*request.messages, HumanMessage(note)]), path
        except Exception:
            self._faults.record(_FAULT)
        return request, path

    def _last_words(self, event: StopEvent) -> str:
        """Return what the customer reads at the end."""
        try:
            message = self._message(event) if callable(self._message) else self._message
            if message is not None:
                return str(message)
        except Exception:
            self._faults.record(_FAULT)
        return f"Run guard: {event.why}."

    def _answer(self, run: tuple[str, str], event: StopEvent) -> str | None:
        """Return what to do with this run: what was said before, or is said now."""
        if run in self._answers:
            return self._answers[run]
        self._answers[run] = None  # a callable that raises is not called again
        answer = self._on_stop(event) if callable(self._on_stop) else self._on_stop
        if answer == "warn":
            warn("run %s: %s", event.trajectory, event.why)
        self._answers[run] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return answer


def _is_plain_function(value: Any) -> bool:
    return callable(value) and not inspect.iscoroutinefunction(value)


def _name_schemas(response_format: Any) -> list[str]:
    """Return the names of the schemas that the model answers as if they were tools."""
    specs = getattr(response_format, "schema_specs", None) or ()
    return [str(spec.name) for spec in specs]


def _event(watch: RunWatch, trajectory: str) -> StopEvent:
    return StopEvent(
        trajectory,
        watch.stopped_at or 0,
        watch.risk or 0.0,
        watch.threshold or 0.0,
        watch.repetition,
        watch.describe(),
    )


def _watch(
    guard: RunGuard, moves: list[tuple[str, str]], steps: Sequence[RunStep], stranger: _Stranger
) -> RunWatch:
    """Watch the moves of a run, and the steps that they led to."""
    stranger.look(moves, steps)
    facts, texts = [step.facts for step in steps], [step.text for step in steps]
    return guard.watch(moves, facts, texts)


class _Stranger:
    """Warns, once, of a run that is unlike all that a guard was fitted on."""

    def __init__(self, guard: RunGuard) -> None:
        self._guard = guard
        self._warned = self._warned_of_steps = False

    def look(self, moves: Sequence[tuple[str, str]], steps: Sequence[RunStep]) -> None:
        self._look_for_steps(steps)
        if not self._warned and (unknown := self._guard.find_unknown(moves)):
            self._warned = True
            warn(
                "the run guard does not know this agent: %s. Its promise does not hold for such "
                "runs; fit it again, on records of this agent with the same names of states",
                unknown,
            )

    def _look_for_steps(self, steps: Sequence[RunStep]) -> None:
        """Warn, once, where the guard was fitted with what these steps do not have."""
        if len(steps) < _FEWEST_STEPS or self._warned_of_steps:
            return
        wanted = {"facts": self._guard.reads_facts, "text": self._guard.reads_text}
        missing = [
            name
            for name, want in wanted.items()
            if want and all(getattr(step, name) is None for step in steps)
        ]
        if missing:
            self._warned_of_steps = True
            warn(
                "the run guard was fitted with the %s of steps, and this run has none: its promise "
                "does not hold for such runs; let path= return RunSteps, as action_steps does, or "
                "fit it without",
                " and the ".join(missing),
            )


def _path_of_messages(state: Any) -> list[RunStep]:
    return action_steps(state["messages"] if isinstance(state, dict) else state.messages)


def stop_when(
    guard: RunGuard,
    route: Callable[..., Any],
    *,
    path: Callable[[Any], Sequence[str | RunStep]] = _path_of_messages,
) -> Callable[..., Any]:
    """Return the router `route`, but to END once the guard stops the run.

    A router is where a graph decides to go round again, and it is given the state; so the run is
    read from the state, needs no memory, and goes on to be watched after a resume. What stops a
    run is logged. A fault of the guard is logged once, and the router decides.

    Parameters
    ----------
    guard : RunGuard
        The guard, fitted on records in which the states have the same names.
    route : callable
        The router, with any arguments that LangGraph gives one, plain or async. Where its edge has
        a ``path_map``, that needs END.
    path : callable
        Gives the states of the run so far, or `RunStep`s with their facts and texts, in order, from
        the graph's state; by default read from its ``messages``, see `action_steps`.

    Examples
    --------
    >>> guard = RunGuard.from_rules(max_rounds=2)
    >>> route = stop_when(guard, lambda state: "work", path=lambda state: state["log"])
    >>> route({"log": ["plan", "work"]}), route({"log": 4 * ["plan", "work"]})
    ('work', '__end__')

    In a graph it is one word more: ``add_conditional_edges("b", stop_when(guard, route))``.
    """
    faults, stranger = Faults(), _Stranger(guard)

    def stops(state: Any) -> bool:
        try:
            found = path(state)
            steps = [step if isinstance(step, RunStep) else RunStep(step) for step in found]
            moves = list(pairwise([START, *(step.state for step in steps)]))
            watch = _watch(guard, moves, steps, stranger)
            if watch.stopped:
                warn("the run ends: %s", watch.describe())
            return watch.stopped
        except Exception:
            faults.record(_FAULT)
            return False

    @functools.wraps(route)
    def plain(state: Any, *args: Any, **kwargs: Any) -> Any:
        return END if stops(state) else route(state, *args, **kwargs)

    @functools.wraps(route)
    async def waiting(state: Any, *args: Any, **kwargs: Any) -> Any:
        return END if stops(state) else await route(state, *args, **kwargs)

    router = waiting if inspect.iscoroutinefunction(route) else plain
    router.__annotations__ = _with_end(route)
    return router


def _with_end(route: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a router; LangGraph reads its targets there, so END joins them."""
    try:
        hints = get_type_hints(route)
    except (NameError, TypeError):  # names that are not defined here, or no plain function
        return {}
    if get_origin(hints.get("return")) is Literal:
        hints["return"] = Literal[(*get_args(hints["return"]), END)]
    return hints
