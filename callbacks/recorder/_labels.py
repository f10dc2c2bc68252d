"""Labels that a trajectory gets by itself: its model, its graph, its prompt, its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.callbacks.isolation import warn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_OWN_TAGS = ("graph:step:", "seq:step:", "map:key:")


def read_model(metadata: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    """Return the name of the model that an event's call is made to, as the model itself says it.

    Examples
    --------
    >>> read_model({"ls_model_name": "gpt-4o"}, {})
    'gpt-4o'
    """
    name = metadata.get("ls_model_name")
    if not name:
        parameters = event.get("invocation_params") or {}
        name = parameters.get("model") or parameters.get("model_name")
    return name if isinstance(name, str) and name else None


def hash_prompt(messages: Sequence[BaseMessage]) -> str | None:
    """Return a stable hash of the system message of a call; None where there is none."""
    first = messages[0] if messages else None
    return _hash([first.text]) if first is not None and first.type == "system" else None


def hash_template(serialized: Any) -> str | None:
    """Return a stable hash of the texts of a prompt template, whatever its variables are.

    Examples
    --------
    >>> hash_template({"kwargs": {"template": "Sum up {text}", "partial_variables": {"day": 1}}})
    '71e5a03c9b23'
    """
    texts = list(_templates(serialized))
    return _hash(texts) if texts else None


def _templates(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        text = node.get("template")
        if isinstance(text, str):
            yield text
    children: Iterable[Any] = node.values() if isinstance(node, Mapping) else node
    for child in children if isinstance(node, Mapping | list | tuple) else ():
        yield from _templates(child)


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


class Labels:
    """Make the context of a trajectory.

    Parameters
    ----------
    fixed : Context
        Labels of every trajectory; they win over those that are read off.
    names : sequence of str
        What to read off: ``"model"``, ``"graph"``, ``"agent"``, ``"tags"``, ``"prompt"``, and
        besides these the keys of the metadata of a run.
    most : int
        Contexts made, at most; beyond it no label is added.

    Raises
    ------
    InvalidInputError
        Where `names` are not names.

    Examples
    --------
    >>> labels = Labels((("version", "2"),), ("graph", "tier"))
    >>> labels.of_graph({"tier": "gold"}, ["mine"], "planner")
    (('graph', 'planner'), ('tier', 'gold'), ('version', '2'))
    """

    def __init__(self, fixed: Context, names: Sequence[str], most: int = 1000) -> None:
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise InvalidInputError(
                "labels must be a sequence of names such as ('model', 'graph') or of metadata "
                f"keys; got {names!r}"
            )
        self._fixed = fixed
        taken = {name for name, _ in fixed}
        self._names = tuple(name for name in names if name not in taken)
        self._keys = frozenset(self._names)
        self._made: set[Context] = set()
        self._most = most

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def of_graph(
        self, metadata: Mapping[str, Any], tags: Sequence[str] | None, graph: str | None
    ) -> Context:
        """Return the labels of a trajectory that begins; the model is not known yet."""
        known = {
            "graph": graph,
            "agent": metadata.get("lc_agent_name"),
            "tags": ",".join(sorted(t for t in tags or () if not t.startswith(_OWN_TAGS))),
        }
        context = self._fixed
        for name in self._names:
            value = known[name] if name in known else metadata.get(name)
            context = self.add(context, name, value)
        return context

    def add(self, context: Context, name: str, value: object) -> Context:
        """Return `context` with one label more, or with another value of it."""
        if value in (None, "") or name not in self._keys:
            return context
        label = (name, str(value))
        if label in context:
            return context
        made = tuple(sorted((*(old for old in context if old[0] != name), label)))
        return made if self._has_room(made, name) else context

    def _has_room(self, context: Context, name: str) -> bool:
        """Say whether there may be one context more; each divides all counts once more."""
        if context in self._made:
            return True
        if len(self._made) < self._most:
            self._made.add(context)
            return True
        if len(self._made) == self._most:
            self._made.add(())  # said once
            warn(
                "more than %d different contexts: further labels are left out; %r seems to "
                "differ from run to run; take it out of labels=",
                self._most,
                name,
            )
        return False
