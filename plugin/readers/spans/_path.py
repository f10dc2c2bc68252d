"""From the spans of one run to its path: which of them are steps, and what ran side by side.

These rules hold for every framework; `semantic_conventions` says what kind of span each is.

- A tool is a step, and what is inside of it is its own. An agent without steps inside is a step;
  one with steps inside is not: they are. A handoff is a step.
- A model is a step where it answers. Where it asks for tools it is none: its reply says so, or,
  where its reply is not known, a tool follows it before the next model of the same agent.
- Tools between two models of an agent were asked for by one message, so they are one step, unless
  that message is known to ask for one call or for none (then code called them). Elsewhere tools
  are one step where they overlap in time.
- Agents whose steps overlap in time are one step together.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from detailed_balance.readers.spans._runs import HIDES, SpanRun
from detailed_balance.readers.spans._trace_assembly import SpanRow
from detailed_balance.readers.spans.requests import CODE
from detailed_balance.readers.spans.span import Span

CANCELLED = "CancelledError"
_NO_TOOLS = (CODE, "final_result")
"""Code, and how a model of pydantic-ai writes its answer, are not tools by themselves."""
_WORKFLOW = ("gen_ai.workflow.name", "traceloop.workflow.name")
_SAYS_NOTHING = re.compile(
    r"^agent workflow$|^[A-Z]{3,7} /|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{16}", re.IGNORECASE
)
"""Names that frameworks give by themselves, with an id in them, or of a request."""


@dataclass(eq=False, slots=True)
class _Agent:
    """An agent in a run, and the one that it is inside of."""

    place: int
    name: str
    above: _Agent | None
    start: int
    stop: int
    order: int
    row: SpanRow
    error: str | None

    def around(self) -> Iterator[_Agent]:
        """Yield it and all that it is inside of."""
        agent: _Agent | None = self
        while agent is not None:
            yield agent
            agent = agent.above


@dataclass(eq=False, slots=True)
class Action:
    """A span that may be a step of a run.

    Parameters
    ----------
    row : SpanRow
        The span.
    kind : str
        ``"model"``, ``"tool"``, ``"handoff"`` or ``"agent"``.
    name : str
        What its state is called, unless it is a model.
    agent : _Agent or None
        The agent that it is a step of.
    start, stop : int
        Nanoseconds since 1970.
    order : int
        Its place in the tree.
    error : str or None
        The type of its error.
    asks : tuple of str or None
        Of a model, the tools that its reply asks for.
    is_transparent : bool
        Whether it is a model that asks for tools, and so no state.
    """

    row: SpanRow
    kind: str
    name: str
    agent: _Agent | None
    start: int
    stop: int
    order: int
    error: str | None = None
    asks: tuple[str, ...] | None = None
    is_transparent: bool = False

    @property
    def agents(self) -> Iterator[_Agent]:
        """All agents that it is inside of, the innermost first."""
        return iter(()) if self.agent is None else self.agent.around()


@dataclass(frozen=True, slots=True)
class SpanPath:
    """The path of one run.

    Parameters
    ----------
    top : Span or None
        The span that is the run.
    name, agent : str or None
        What the run is called, and its first agent.
    thread : str or None
        The conversation that it belongs to.
    steps : list of list of Action
        Its steps, and the actions of each, which ran side by side.
    error : str or None
        The type of the error that it stopped with.
    """

    top: Span | None
    name: str | None
    agent: str | None
    thread: str | None
    steps: list[list[Action]]
    error: str | None


def find_path(run: SpanRun, load: Callable[[SpanRow], Span]) -> SpanPath:
    """Return the path of a run; `load` returns the span of a row."""
    top = None if run.top is None else load(run.top)
    found, agents, thread = _collect(run, load, None if top is None else _read_thread(top))
    agents = _drop_agents_of_tools(found, agents)
    actions = _order(found, agents)
    for closed in (_find_called, _find_side_by_side):
        actions = _close(actions, closed(actions, agents))
    _name_handoffs(actions, agents)
    _find_transparent(actions)
    names = [agent.name for agent in agents if not _SAYS_NOTHING.search(agent.name)]
    return SpanPath(
        top,
        _find_name(top, names),
        names[0] if names else None,
        thread,
        list(_group(actions)),
        _find_error(run, top, actions, agents, load),
    )


def _read_thread(span: Span) -> str | None:
    found = span.metadata.get("thread_id") or span.metadata.get("session.id")
    return None if found in (None, "") else str(found)


def _collect(
    run: SpanRun, load: Callable[[SpanRow], Span], thread: str | None
) -> tuple[list[Action], list[_Agent], str | None]:
    """Return the calls of a run, its agents in the order of the tree, and its conversation.

    A span that does not say what it is, is a tool where a model asked for one of its name.
    """
    tree, actions, agents = run.tree, [], []
    asked: set[str] = set()
    waiting: list[tuple[int, _Agent | None]] = [(place, None) for place in reversed(run.parts)]
    while waiting:
        place, agent = waiting.pop()
        row, start = tree.rows[place], tree.starts[place]
        times = (start, max(start, start if row.stop is None else row.stop), tree.order[place])
        kind = row.kind
        if kind in ("chain", "foreign") and asked and load(row).name in asked:
            holds_tool = any(tree.rows[child].kind == "tool" for child in tree.children[place])
            kind = kind if holds_tool else "tool"
        if kind in ("model", "tool", "handoff", "agent"):
            span = load(row)
            asked.update(span.asks or ())
            thread = thread or _read_thread(span)
            if kind == "agent":
                agent = _Agent(place, span.name, agent, *times, row, span.error)
                agents.append(agent)
            elif kind != "model" or not _has_models(run, place):
                known = (row, kind, span.name, agent, *times, span.error, span.asks)
                actions.append(Action(*known))
        if kind not in (*HIDES, "handoff"):
            waiting += [(child, agent) for child in reversed(tree.children[place])]
    return actions, agents, thread


def _has_models(run: SpanRun, place: int) -> bool:
    """Say whether a model is only a frame around the calls of models."""
    inside = run.tree.walk_inside(place, HIDES)
    return any(run.tree.rows[part].kind == "model" for part in inside if part != place)


def _drop_agents_of_tools(actions: list[Action], agents: list[_Agent]) -> list[_Agent]:
    """Leave out agents that ran while a tool did: they are part of it, wherever they stand."""
    tools = [a for a in actions if a.kind == "tool" and a.row.stop is not None]
    tools.sort(key=lambda tool: (tool.start, tool.order))
    begins = [(tool.start, tool.order) for tool in tools]  # those inside of an agent come after it
    ends = list(accumulate((tool.stop for tool in tools), max))
    hidden: set[_Agent] = set()
    for agent in agents:
        before = bisect_left(begins, (agent.start, agent.order))
        if agent.above in hidden or (before and ends[before - 1] >= agent.stop > agent.start):
            hidden.add(agent)
    actions[:] = [action for action in actions if action.agent not in hidden]
    return [agent for agent in agents if agent not in hidden]


def _order(actions: list[Action], agents: list[_Agent]) -> list[Action]:
    """Return the actions by time, agents that hold none among them."""
    busy = {agent for action in actions for agent in action.agents}
    found = list(actions)
    for agent in reversed(agents):  # the inner ones first
        if agent not in busy:
            found.append(_to_action(agent))
            busy.update(agent.around())
    return sorted(found, key=lambda action: (action.start, action.order))


def _to_action(agent: _Agent, kind: str = "agent", inside: Sequence[Action] = ()) -> Action:
    start = min((action.start for action in inside), default=agent.start)
    stop = max((action.stop for action in inside), default=agent.stop)
    place = (agent.above, start, stop, agent.order)
    return Action(agent.row, kind, agent.name, *place, agent.error)


def _close(actions: list[Action], closed: dict[_Agent, str]) -> list[Action]:
    """Put one action in the place of all inside of each of these agents."""
    if not closed:
        return actions
    kept: list[Action] = []
    inside: dict[_Agent, list[Action]] = defaultdict(list)
    for action in actions:
        outer = next((agent for agent in reversed([*action.agents]) if agent in closed), None)
        (kept if outer is None else inside[outer]).append(action)
    kept += [_to_action(agent, closed[agent], held) for agent, held in inside.items()]
    return sorted(kept, key=lambda action: (action.start, action.order))


def _find_called(actions: list[Action], agents: list[_Agent]) -> dict[_Agent, str]:
    """Return the agents that a model called as a tool, where no span of a tool says so."""
    own = _by_agent(actions)
    called: dict[_Agent, str] = {}
    for agent in agents:
        before = [a for a in own.get(agent.above, ()) if a.start <= agent.start]
        model = next((a for a in reversed(before) if a.kind == "model"), None)
        if model is not None and model.asks and agent.name in model.asks:
            called[agent] = "tool"
    return called


def _find_side_by_side(actions: list[Action], agents: list[_Agent]) -> dict[_Agent, str]:
    """Return the agents beside one another whose steps overlap in time."""
    spans: dict[_Agent, tuple[int, int]] = {}
    for action in actions:
        for agent in action.agents:
            start, stop = spans.get(agent, (action.start, action.stop))
            spans[agent] = (min(start, action.start), max(stop, action.stop))
    beside: dict[_Agent | None, list[_Agent]] = defaultdict(list)
    for agent in spans:
        beside[agent.above].append(agent)
    found: dict[_Agent, str] = {}
    for group in beside.values():
        group.sort(key=lambda agent: spans[agent])
        last = group[0]
        for agent in group[1:]:
            if spans[agent][0] < spans[last][1]:
                found |= dict.fromkeys((last, agent), "agent")
            last = max(last, agent, key=lambda a: spans[a][1])
    return found


def _by_agent(actions: Iterable[Action]) -> dict[_Agent | None, list[Action]]:
    own: dict[_Agent | None, list[Action]] = defaultdict(list)
    for action in actions:
        own[action.agent].append(action)
    return own


def _name_handoffs(actions: Iterable[Action], agents: Sequence[_Agent]) -> None:
    """Name handoffs that do not say to whom by the agent that comes next."""
    for action in actions:
        if action.kind == "handoff" and action.name == "handoff":
            later = (agent.name for agent in agents if agent.start >= action.start)
            name = next(later, None)
            action.name = action.name if name is None else f"handoff_to_{name}"


def _find_transparent(actions: Iterable[Action]) -> None:
    for own in _by_agent(actions).values():
        for action, after in pairwise((*own, None)):
            if action is None or action.kind != "model" or action.error is not None:
                continue
            asks = any(not name.startswith(_NO_TOOLS) for name in action.asks or ())
            # Where the reply is known to be an answer, the tools after it are not part of it.
            calls = action.asks != () and after is not None and after.kind in ("tool", "handoff")
            action.is_transparent = asks or calls


def _group(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """Yield the steps: the actions that ran side by side."""
    group: list[Action] = []
    messages: dict[_Agent | None, Action] = {}  # the last model of each agent
    until = 0
    for action in actions:
        message = messages.get(action.agent)
        if group and (action.start < until or _is_one_message(group[-1], action, message)):
            beside = (action.kind == "model") == (group[-1].kind == "model")
        else:
            beside = False
        if not beside and group:
            yield group
            group = []
        until = max(until, action.stop) if beside else action.stop
        group.append(action)
        if action.kind == "model":
            messages[action.agent] = action
    if group:
        yield group


def _is_one_message(last: Action, action: Action, message: Action | None) -> bool:
    """Say whether two tools, one after the other, were asked for by the same message."""
    if message is None or message.error is not None or action.agent is not last.agent:
        return False
    if action.kind != "tool" or last.kind != "tool":
        return False
    unknown = action.agent is not None and message.asks in (None, ("",))
    return unknown or len(message.asks or ()) > 1


def _find_name(top: Span | None, agents: Sequence[str]) -> str | None:
    """Return what a run is called: by its workflow or its agent, else by its span."""
    if top is not None:
        named = [top.metadata.get(key) for key in ("lc_agent_name", *_WORKFLOW)]
        own = [str(name) for name in named if name]
        if not own and (len(set(agents)) > 1 or not agents):
            own = [top.name]
        if name := next((name for name in own if not _SAYS_NOTHING.search(name)), None):
            return name
    return agents[0] if agents else None


def _find_error(
    run: SpanRun,
    top: Span | None,
    actions: Sequence[Action],
    agents: Sequence[_Agent],
    load: Callable[[SpanRow], Span],
) -> str | None:
    """Return the error that a run stopped with: its own, else that of an agent in it."""
    last = actions[-1] if actions else None
    if top is not None:
        error = top.error
    elif run.is_whole:
        error = None if last is None else last.error
    else:
        error = load(run.tree.rows[run.tops[-1]]).error
    if error is None:
        error = next((agent.error for agent in agents if agent.error is not None), None)
    if error is None and last is not None and last.error == CANCELLED:
        return CANCELLED
    return error
