"""The node of a task whose saver kept no path, by the id of the task.

LangGraph makes the id of a task of its checkpoint, its step, the name of its node and what
triggered it. So the names that a graph is known to have are tried, and an id that fits is a proof.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha1
from itertools import islice, product
from typing import Any, TypeAlias
from uuid import UUID

from detailed_balance.readers.checkpoints.rows import Key

_PULL, _PUSH = "__pregel_pull", "__pregel_push"
_TASK_ID = re.compile(r":[^|:]*")  # of the task that called a subgraph, in its namespace
_MOST, _MOST_SENDS = 2_000, 100_000  # names and triggers that are tried

_Trigger: TypeAlias = tuple[str, tuple[str, ...]]


class KnownNodes:
    """The nodes of each graph of a database, and the channels that trigger them.

    `versions_seen` of a checkpoint names the nodes that finished, and channels are named for the
    nodes that they trigger.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: defaultdict[str, dict[_Trigger, None]] = defaultdict(dict)

    def add(self, namespace: str, checkpoint: Mapping[str, Any]) -> None:
        """Learn the nodes that a checkpoint knows."""
        found = self._found[_TASK_ID.sub("", namespace)]
        for trigger in _read_triggers(checkpoint):
            if len(found) < _MOST:
                found[trigger] = None

    def tasks_from(self, key: Key, step: int, sends: Collection[str]) -> dict[str, str]:
        """Return the nodes of all tasks that may run from a checkpoint, by their ids.

        Parameters
        ----------
        key : Key
            The checkpoint.
        step : int
            The number of the superstep.
        sends : collection of str
            The nodes that were sent to.
        """
        found = self._found[_TASK_ID.sub("", key[1])]
        pulled = ((node, (_PULL, *triggers)) for node, triggers in found)
        numbers = product(dict.fromkeys(sends), range(len(sends)))
        pushed = ((node, (_PUSH, str(number))) for node, number in islice(numbers, _MOST_SENDS))
        return {
            task: node
            for calls in (pulled, pushed)
            for node, parts in calls
            for task in _task_ids(key, step, node, parts)
        }


def _read_triggers(checkpoint: Mapping[str, Any]) -> Iterator[_Trigger]:
    """Yield nodes with what may have triggered them: all of their channels, or one of them."""
    channels: defaultdict[str, set[str]] = defaultdict(set)
    for channel in _names(checkpoint.get("channel_versions")):
        node = channel.rpartition(":")[2]
        if node != channel:  # branch:to:node, join:a+b:node, start:node
            channels[node].add(channel)
    seen = checkpoint.get("versions_seen") or {}
    for node in _names(seen):
        channels[node].update(_names(seen[node]))
    for node, names in channels.items():
        yield node, tuple(sorted({*names, f"branch:to:{node}"}))
        yield node, tuple(sorted(names))
        yield from ((node, (name,)) for name in names)


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, dict) else []


def _task_ids(key: Key, step: int, node: str, parts: Iterable[str]) -> Iterator[str]:
    """Yield the id of a task, as different versions of LangGraph make it."""
    import xxhash  # comes with LangGraph; loaded for checkpoints alone

    place = f"{key[1]}|{node}" if key[1] else node
    text = "".join((place, str(step), node, *parts)).encode("utf-8", "surrogatepass")
    data = UUID(key[2]).bytes + text
    yield str(UUID(xxhash.xxh3_128_hexdigest(data)))
    yield str(UUID(bytes=sha1(data, usedforsecurity=False).digest()[:16]))
