"""The checkpoints of LangGraph agents: the nodes that ran, by the writes that they left.

Nothing of the agent is needed, no class is imported and nothing is written; see
`docs/reference/readers.md` for what a checkpoint does not hold.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.callbacks.names import order_names
from detailed_balance.readers.checkpoints._names import ThreadNames
from detailed_balance.readers.checkpoints._nodes import KnownNodes
from detailed_balance.readers.checkpoints.rows import (
    OPAQUE,
    Checkpoint,
    Key,
    Write,
    connect,
    count,
    has_checkpoints,
    has_paths,
    read_checkpoints,
    read_values,
)
from detailed_balance.readers.databases import is_sqlite
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import FieldCheck
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]

_KEY = ("thread_id", "checkpoint_ns", "checkpoint_id")
_PULL, _PUSH = "~__pregel_pull, ", "~__pregel_push, "
_HANDLER = ", node_error_handler, 0000000000"
_SENDS, _ERROR, _INTERRUPT = "__pregel_tasks", "__error__", "__interrupt__"
_RETURN = "__return__"  # of a task of a functional workflow
_SPECIAL = {_SENDS, _ERROR, _INTERRUPT, "__resume__", "__scheduled__", "__error_source_node__"}
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
_NO_NODES = ("__input__", "__interrupt__", START)
_PENDING = ("branch:to:", "join:", _SENDS, START)
_KNOWN_CHECKPOINTS = 10_000  # of a thread; a fork from an earlier one has no known source
_ERROR_NAME = re.compile(r"\w+(?=\()")


def looks_like(opening: Opening) -> bool:
    """Say whether a file is a SQLite database with the tables of a saver."""
    url = URL.create("sqlite", database=str(opening.path))
    return is_sqlite(opening.head) and has_checkpoints(url)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a database that `SqliteSaver` wrote."""
    return read_url(URL.create("sqlite", database=str(path)), options, bad)


def read_url(url: str | URL, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a saver's database, thread by thread."""
    try:
        with connect(url) as connection:
            total = count(connection)
            nodes = None if has_paths(connection) else _find_nodes(connection)
            for item in _by_trajectory(read_checkpoints(connection), options, bad, nodes):
                yield item
                if options.progress and (bad.accepted + bad.count) % 1_000 == 0:
                    options.progress(bad.accepted + bad.count, total)
            if options.progress:
                options.progress(total, total)
    except (SQLAlchemyError, ValueError, TypeError) as error:  # columns of another kind
        cause = safe_text(str(getattr(error, "orig", error)), 200)
        raise ReadError(f"the checkpoints of {bad.name} cannot be read: {cause}") from error
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no checkpoints")


def name_task(record: Mapping[str, Any]) -> str | tuple[str, ...] | None:
    """Name the state of a task as `ActionStates` does, as far as its writes show what it did.

    Examples
    --------
    >>> task = {"node": "tools", "tools": ("search",), "called_model": False, "opaque": False}
    >>> name_task({**task, "acts": None})
    ('search',)
    """
    if record["opaque"]:
        raise BadRecordError(
            "it holds values that only code can read (pickled or encrypted); name states by "
            "state_field='node' (on the command line --state-field node)"
        )
    if record["acts"] is not None:  # a hook of a middleware
        return tuple(record["acts"])
    if record["tools"] and not record["called_model"]:
        return tuple(record["tools"])
    if record["asked_tools"]:
        return None
    return tuple(record["attempt"]) or str(record["node"])


def _find_nodes(connection: Connection) -> KnownNodes:
    """Return the nodes that the checkpoints name; damaged ones are reported when they are read."""
    nodes = KnownNodes()
    for namespace, checkpoint in read_values(connection):
        with suppress(*_DAMAGE):
            nodes.add(namespace, checkpoint())
    return nodes


def _by_trajectory(
    items: Iterable[Checkpoint | Key],
    options: ReadOptions,
    bad: BadLines,
    nodes: KnownNodes | None,
) -> Iterator[Record]:
    check = FieldCheck(options.fields.expected_labels())
    for (thread, namespace), group in groupby(items, _place):
        name = f"{thread}/{namespace}" if namespace else thread
        yield from _Thread(name, options, bad, check, nodes).follow(group)
    check.report(bad)


def _place(item: Checkpoint | Key) -> tuple[str, str]:
    key = item.key if isinstance(item, Checkpoint) else item
    return key[0], key[1]


@dataclass(frozen=True, slots=True)
class _Reached:
    """Where the agent stood at a checkpoint, and what ran from there."""

    state: str | None
    step: int
    time: float | None
    context: Context
    keys: frozenset[str] = frozenset()
    sent: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    pending: bool = False
    errors: tuple[str | None, ...] = ()
    nameless: bool = False
    ran: frozenset[str | None] = frozenset()
    seen: Mapping[str, int] = field(default_factory=dict)

    def missing(self, seen: Mapping[str, int]) -> list[str]:
        """Return the nodes that ran from here and left no writes, as cached ones may not."""
        return [
            node
            for node, version in sorted(seen.items())
            if version != self.seen.get(node) and node not in self.ran
        ]

    def end(self, trajectory: str) -> Iterator[Record]:
        """Yield the outcome of the run whose last checkpoint this is."""
        outcome = Outcome.INTERRUPTED if self.pending else Outcome.ENDED
        outcome = Outcome.FAILED if self.errors else outcome
        place = (self.context, self.step + 1, self.time)
        if outcome is Outcome.ENDED and self.state is not None:
            yield Transition(self.state, END, trajectory, *place)
        error = self.errors[-1] if self.errors else None
        yield Ending(trajectory, outcome, error, None, self.context, self.time)


@dataclass(slots=True)
class _Thread:
    """The way through the checkpoints of one graph in one thread, forks included."""

    trajectory: str
    options: ReadOptions
    bad: BadLines
    check: FieldCheck
    nodes: KnownNodes | None
    known: OrderedDict[str, _Reached] = field(default_factory=OrderedDict)
    last: _Reached | None = None
    names: ThreadNames = field(default_factory=ThreadNames)

    def follow(self, items: Iterable[Checkpoint | Key]) -> Iterator[Record]:
        for item in items:
            if not isinstance(item, Checkpoint):
                self.bad.report(f"checkpoint {item[2]}", "only its writes are there")
                continue
            try:
                yield from self._arrive(item)
            except (BadRecordError, *_DAMAGE) as error:
                self.last = None
                self.bad.report(f"checkpoint {item.key[2]}", f"cannot be read: {error}")
        if self.last is not None:
            yield from self.last.end(self.trajectory)

    def _arrive(self, checkpoint: Checkpoint) -> Iterator[Record]:
        values, labels = checkpoint.values(), checkpoint.labels()
        origin, parent = labels.get("source"), self.known.get(checkpoint.parent or "")
        moves: list[Record] = []
        if origin == "input":
            moves += self.last.end(self.trajectory) if self.last else ()
            state: str | None = START
        else:
            # Where somebody changed the values by hand, nobody knows what the agent did before.
            state = parent.state if parent and origin != "update" else None
            if parent:
                for target in self._targets(parent, values, labels):
                    if state is not None:
                        moves.append(self._move(parent, target, _time(values), state))
                    state = target
        reached = self._run(checkpoint, values, labels, state, parent)
        moves += [self._move(reached, None, reached.time) for _ in reached.errors if state]
        self.bad.accepted += 1
        self._remember(checkpoint.key[2], reached)
        yield from moves

    def _targets(
        self, parent: _Reached, values: dict[str, Any], labels: dict[str, Any]
    ) -> tuple[str, ...]:
        """Return the states that lead from a checkpoint to the next one, of these values."""
        if labels.get("source") != "loop":
            return ()
        if parent.nameless:
            raise BadRecordError(
                "the node that led to it is not known: its saver kept no paths of tasks "
                "(langgraph-checkpoint-sqlite before 3.1), and no node of this graph has the id of "
                "the task; record the agent live, or with a newer saver"
            )
        keys = set(parent.keys)
        for node in parent.missing(_read_seen(values)):
            record = {**labels, "node": node, **self.names.read(node, {}), "opaque": False}
            keys.update(self.options.name_states({**record, "writes": {}}, name_task))
        return tuple(order_names(keys)) if keys else ()

    def _move(
        self, at: _Reached, target: str | None, time: float | None, source: str | None = None
    ) -> Transition:
        source = source or at.state or ""
        return Transition(source, target, self.trajectory, at.context, at.step + 1, time)

    def _remember(self, key: str, reached: _Reached) -> None:
        self.known[key] = self.last = reached
        if len(self.known) > _KNOWN_CHECKPOINTS:
            self.known.popitem(last=False)

    def _run(
        self,
        checkpoint: Checkpoint,
        values: dict[str, Any],
        labels: dict[str, Any],
        state: str | None,
        parent: _Reached | None,
    ) -> _Reached:
        """Return where the agent stands, and what ran from there."""
        step = int(labels["step"])
        sends = (parent.sent or parent.sends) if parent else ()
        shared = dict(zip(_KEY, checkpoint.key, strict=True))
        find_node = partial(
            _find_node, sends=sends, nodes=self._name_tasks(checkpoint, step, sends)
        )
        keys: set[str] = set()
        sent: list[str] = []
        errors: list[str | None] = []
        ran: set[str | None] = set()
        nameless = False
        for _, group in groupby(checkpoint.writes, attrgetter("path", "task")):
            task = _Task.read(list(group), find_node)
            sent += task.sent
            errors += task.errors
            nameless |= task.is_nameless
            ran.add(task.node)
            if task.is_step:
                read = {**task.record(), **self.names.read(task.node, task.writes)}
                record = {**labels, **shared, "step": step + 1, **read}
                self.check.record(record)
                keys.update(self.options.name_states(record, name_task))
        record = {**labels, **shared, "step": step + 1}
        return _Reached(
            state,
            step,
            _time(values),
            self.options.fields.read_labels(record),
            frozenset(keys),
            tuple(sent),
            sends,
            _is_pending(values),
            tuple(errors),
            nameless,
            frozenset(ran),
            _read_seen(values),
        )

    def _name_tasks(
        self, checkpoint: Checkpoint, step: int, sends: tuple[str, ...]
    ) -> dict[str, str]:
        """Return the nodes of tasks by their ids, where some path is missing."""
        if self.nodes is None or all(write.path for write in checkpoint.writes):
            return {}
        return self.nodes.tasks_from(checkpoint.key, step + 1, sends)


@dataclass(frozen=True, slots=True)
class _Task:
    """One task of a superstep, by its writes."""

    node: str | None
    writes: Mapping[str, list[Any]]
    sent: tuple[str, ...]
    errors: tuple[str | None, ...]
    done: bool

    path: str

    @classmethod
    def read(cls, writes: list[Write], find_node: Callable[[Write], str | None]) -> _Task:
        values: dict[str, list[Any]] = {}
        for write in writes:
            values.setdefault(write.channel, []).append(write.value())
        done = not values.keys() <= _SPECIAL - {_SENDS}
        failed = values.get(_ERROR, ())
        node = find_node(writes[0]) if done or failed else None
        sent = tuple(map(_read_send, values.get(_SENDS, ())))
        errors = tuple(_read_error(value, node) for value in failed)
        kept = {name: value for name, value in values.items() if name not in _SPECIAL}
        return cls(node, kept, sent, errors, done, writes[0].path)

    @property
    def is_step(self) -> bool:
        """Whether it finished, and is a node other than that of the input."""
        return self.done and self.node not in (None, START)

    @property
    def is_nameless(self) -> bool:
        """Whether it finished, and may be a node whose name is not known."""
        return self.done and not self.path and self.node is None and self.writes.keys() != {_RETURN}

    def record(self) -> dict[str, Any]:
        """Return what a state function is given of it, besides what its messages tell."""
        values = [value for values in self.writes.values() for value in values]
        return {
            "node": self.node,
            "opaque": any(value is OPAQUE for value in values),
            "writes": dict(self.writes),
        }


def _find_node(write: Write, sends: tuple[str, ...], nodes: Mapping[str, str]) -> str | None:
    """Return the node of the task of a write, None where it is not a node of the graph."""
    return _read_path(write.path, sends) if write.path else nodes.get(write.task)


def _read_path(path: str, sends: tuple[str, ...]) -> str | None:
    if path.endswith(_HANDLER):
        return f"__error_handler__{_read_path(path.removesuffix(_HANDLER), sends)}"
    if path.startswith(_PULL):
        return path.removeprefix(_PULL)
    number = path.removeprefix(_PUSH).partition(",")[0]
    if not path.startswith(_PUSH) or not number.isdecimal():
        return None  # a task of a functional workflow, or a write from outside
    if int(number) >= len(sends):
        raise BadRecordError("it runs a node that no checkpoint before it sends to")
    return sends[int(number)]


def _read_send(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return value[0]
    raise BadRecordError("a Send in it names no node")


def _read_error(value: Any, node: str | None) -> str | None:
    found = _ERROR_NAME.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    return f"{found[0]} in {node}" if node else found[0]


def _is_pending(values: Mapping[str, Any]) -> bool:
    """Say whether something was still to run."""
    names = values.get("updated_channels")
    if names is None and isinstance(there := values.get("channel_values"), dict):
        names = [name for name, value in there.items() if value != []]  # before LangGraph 0.6
    return any(str(name).startswith(_PENDING) for name in names or ())


def _read_seen(values: Mapping[str, Any]) -> dict[str, int]:
    """Return the nodes that a checkpoint has seen run, each with a hash of what it had read."""
    seen = values.get("versions_seen")
    nodes = seen.items() if isinstance(seen, dict) else ()
    # One that is sent to, or called, has read no channel.
    return {node: hash(repr(read)) for node, read in nodes if read and node not in _NO_NODES}


def _time(values: Mapping[str, Any]) -> float | None:
    moment = values.get("ts")
    return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else None
