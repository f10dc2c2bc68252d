"""The book of all runs that are going on: which belongs to which node, path and root."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from detailed_balance.callbacks.supersteps import Ending, Move, Path, join_names

__all__ = ["ModelCall", "NodeTask", "Root", "Run", "Runs", "name_trajectory"]


@dataclass(slots=True)
class Root:
    """A run without a parent, and all that is to be forgotten when it ends."""

    id: int
    open: set[int] = field(default_factory=set)
    """Its runs that have not ended."""
    paths: dict[int, Path] = field(default_factory=dict)
    """Its open paths, by the run of their graph."""


@dataclass(slots=True)
class Run:
    """A run that owns what runs inside it: a root, a node, a tool or a model."""

    id: int
    root: Root

    def end(self, ending: Ending, names: tuple[str, ...]) -> Sequence[Move]:
        """Return the moves that its end makes certain."""
        return ()


def name_trajectory(metadata: Mapping[str, Any], root: Root) -> str:
    """Name a trajectory by its thread, or else its root; a subgraph adds its place.

    Examples
    --------
    >>> labels = {"thread_id": "T", "langgraph_checkpoint_ns": "sub:1f3a|node:9b2c"}
    >>> name_trajectory(labels, Root(1))
    'T/sub:1f3a'
    """
    thread = metadata.get("thread_id")
    name = str(UUID(int=root.id)) if thread in (None, "") else str(thread)
    parents = metadata.get("langgraph_checkpoint_ns", "").rpartition("|")[0]
    return f"{name}/{parents}" if parents else name


@dataclass(slots=True)
class NodeTask(Run):
    """A run of a graph node, and what has run inside it."""

    metadata: Mapping[str, Any]
    path: Path
    tools: list[str] = field(default_factory=list)
    called_model: bool = False

    def end(self, ending: Ending, names: tuple[str, ...]) -> Sequence[Move]:
        """Hand the state keys of the node to its path."""
        return self.path.end_task(self.metadata["langgraph_checkpoint_ns"], ending, names)


@dataclass(slots=True)
class ModelCall(Run):
    """A model call that is a transition by itself."""

    metadata: Mapping[str, Any]
    source: str

    def end(self, ending: Ending, names: tuple[str, ...]) -> Sequence[Move]:
        """Return the transition; failed, or without a state key, it is an escape."""
        if ending not in (Ending.FINISHED, Ending.FAILED):
            return ()
        trajectory = name_trajectory(self.metadata, self.root)
        target = join_names(names) or None
        return (Move(trajectory, self.source, target, self.metadata.get("langgraph_step")),)


class Runs:
    """Follow runs from start to end, and return the moves that become certain; thread-safe.

    Runs are told apart by their id, so an event that comes twice counts once; the id is the
    integer of a UUID, which is six times as fast a key. A run that is no root, node, tool or model
    (a router, a chain, the run of a subgraph) is part of its owner.

    Parameters
    ----------
    max_roots : int
        Roots followed at the same time; beyond it the oldest is forgotten.
    max_interrupted : int
        Interrupted paths kept for their resumption; beyond it the oldest is forgotten.
    """

    def __init__(self, max_roots: int = 10_000, max_interrupted: int = 10_000) -> None:
        # Re-entrant: the garbage collector may close an abandoned stream, whose last events then
        # come in the midst of one of these methods, on the same thread.
        self._lock = threading.RLock()
        self._owners: dict[int, Run] = {}
        self._roots: OrderedDict[int, Root] = OrderedDict()
        self._interrupted: OrderedDict[str, Path] = OrderedDict()
        self._max_roots = max_roots
        self._max_interrupted = max_interrupted

    def __len__(self) -> int:
        """Return the number of runs that are going on."""
        return len(self._owners)

    def get(self, run_id: int) -> Run | None:
        """Return the open root, node, tool or model that has this id."""
        owner = self._owners.get(run_id)
        return owner if owner is not None and owner.id == run_id else None

    def start(self, run_id: int, parent_id: int | None) -> None:
        """Start a run that matters only for what runs inside it."""
        with self._lock:
            if owner := self._owner_of_new(run_id, parent_id):
                self._add(run_id, owner)

    def start_node(self, run_id: int, graph_id: int, metadata: Mapping[str, Any]) -> Sequence[Move]:
        """Start a node of the graph whose run is `graph_id`."""
        with self._lock:
            owner = self._owners.get(graph_id)
            if owner is None or run_id in self._owners:
                return ()  # the root was forgotten, or the event has come before
            root = owner.root
            path = root.paths.get(graph_id) or self._open_path(root, graph_id, metadata)
            self._add(run_id, NodeTask(run_id, root, metadata, path))
            return path.start_task(metadata["langgraph_checkpoint_ns"], metadata["langgraph_step"])

    def start_tool(self, run_id: int, parent_id: int | None, name: str) -> None:
        """Start a tool; what runs inside it belongs to the tool and not to the node."""
        with self._lock:
            if owner := self._owner_of_new(run_id, parent_id):
                self._add(run_id, Run(run_id, owner.root))
                if isinstance(owner, NodeTask):
                    owner.tools.append(name)

    def start_model(self, run_id: int, parent_id: int | None) -> None:
        """Start a model call that is no transition by itself."""
        with self._lock:
            if owner := self._owner_of_new(run_id, parent_id):
                self._add(run_id, Run(run_id, owner.root))
                if isinstance(owner, NodeTask):
                    owner.called_model = True

    def start_call(
        self, run_id: int, parent_id: int | None, metadata: Mapping[str, Any], source: str
    ) -> None:
        """Start a model call that is a transition from the state `source`."""
        with self._lock:
            if owner := self._owner_of_new(run_id, parent_id):
                self._add(run_id, ModelCall(run_id, owner.root, metadata, source))

    def interrupt(self, graph_id: int) -> None:
        """Note that a graph stops between two supersteps and may be resumed."""
        with self._lock:
            owner = self._owners.get(graph_id)
            if owner and graph_id in owner.root.paths:
                owner.root.paths[graph_id].interrupted = True

    def end(self, run_id: int, ending: Ending, names: tuple[str, ...] = ()) -> Sequence[Move]:
        """End a run; `names` are the state keys of a node that finished or a model's reply."""
        with self._lock:
            owner = self._owners.pop(run_id, None)
            if owner is None:
                return ()
            root = owner.root
            root.open.discard(run_id)
            moves = owner.end(ending, names) if owner.id == run_id else ()
            if path := root.paths.pop(run_id, None):
                moves = self._end_path(path, ending)
            if root.id == run_id:
                self._forget(root)
            return moves

    def _owner_of_new(self, run_id: int, parent_id: int | None) -> Run | None:
        """Return the owner of what runs in the parent; None where the run is known already.

        A run whose parent is unknown is a root: nothing was seen of what is above it.
        """
        if run_id in self._owners:
            return None
        owner = self._owners.get(parent_id) if parent_id else None
        return owner or self._open_root(run_id)

    def _open_root(self, run_id: int) -> Run:
        if len(self._roots) >= self._max_roots:
            self._forget(next(iter(self._roots.values())))
        root = self._roots[run_id] = Root(run_id)
        return Run(run_id, root)

    def _add(self, run_id: int, owner: Run) -> None:
        self._owners[run_id] = owner
        owner.root.open.add(run_id)

    def _forget(self, root: Root) -> None:
        self._roots.pop(root.id, None)
        for run_id in root.open:
            self._owners.pop(run_id, None)

    def _open_path(self, root: Root, graph_id: int, metadata: Mapping[str, Any]) -> Path:
        """Return a new path for a graph run, or the one that an interrupt has left open."""
        trajectory = name_trajectory(metadata, root)
        path = self._interrupted.pop(trajectory, None) or Path(trajectory)
        path.interrupted = False
        root.paths[graph_id] = path
        return path

    def _end_path(self, path: Path, ending: Ending) -> Sequence[Move]:
        if path.interrupted or ending is Ending.INTERRUPTED:
            self._keep_open(path)
            return path.stop()
        return path.finish() if ending is Ending.FINISHED else path.stop()

    def _keep_open(self, path: Path) -> None:
        self._interrupted[path.trajectory] = path
        if len(self._interrupted) > self._max_interrupted:
            self._interrupted.popitem(last=False)
