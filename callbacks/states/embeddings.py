"""`EmbeddingStates`, where texts that mean about the same are one state."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import BaseMessage

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.states._leader_clustering import LeaderClustering, unit_vectors
from detailed_balance.callbacks.states._tool_arguments import shorten
from detailed_balance.callbacks.states.base import Combinable, NodeRun
from detailed_balance.callbacks.states.cardinality import OTHER
from detailed_balance.callbacks.states.channels import written_values

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

__all__ = ["EmbeddingStates"]

_LONGEST_TEXT = 4_000
_LONGEST_KEY = 48
_CACHED = 10_000
_BATCH = 256
_Subject = TypeVar("_Subject")


def last_message_text(run: NodeRun) -> str | None:
    """Return the text of the last message that a node wrote to ``messages``, or returned.

    Examples
    --------
    >>> from langchain_core.messages import AIMessage
    >>> last_message_text(NodeRun("model", 1, output={"messages": [AIMessage("done")]}))
    'done'
    """
    written = list(written_values(run.output, "messages"))
    value = written[-1] if written else run.output
    last = value[-1] if isinstance(value, (list, tuple)) and value else value
    return last.text if isinstance(last, BaseMessage) else None


class EmbeddingStates(Combinable):
    """Texts that mean about the same: a text joins the nearest cluster, or opens one of its own.

    By itself it names the last message of a node. For prompts and answers, `of` makes it a part of
    `PromptStates`. The embedding runs where the handler runs, in the agent's own thread, once for
    each new text: take a small local model, or `assign` the texts afterwards.

    The key of a cluster is ``~`` and the text that opened it, cut to 48 characters with a hash of
    the whole; it never changes, for it may stand in a store already. `labels` gives each key its
    most central text so far, to show in its place. Which clusters there are depends on the order
    of the texts; the same texts in the same order give the same keys. A text that is no longer
    among the last 10,000 may join another cluster that has opened nearer to it.

    Parameters
    ----------
    embeddings : Embeddings
        Any embedding model of LangChain; only its ``embed_documents`` is called.
    radius : float
        The greatest cosine distance (1 - cosine) of a text from the one that opened its cluster.
        What is near depends on the model: look at `labels`.
    text : callable
        The text of a `NodeRun`; None, or an empty text, makes the node transparent.
    max_clusters : int
        The greatest number of clusters; a text that would open one more is `OTHER`.

    Raises
    ------
    InvalidInputError
        Where `embeddings` has no ``embed_documents``, or a number is out of range.

    Notes
    -----
    Of a text the first 4,000 characters count, and white space is collapsed. Thread-safe. A pickled
    or copied one has the model, the settings and the clusters, and goes on by itself.

    Examples
    --------
    >>> from langchain_core.embeddings import Embeddings
    >>> class Lengths(Embeddings):
    ...     def embed_documents(self, texts): return [[len(text), 10] for text in texts]
    ...     def embed_query(self, text): return self.embed_documents([text])[0]
    >>> states = EmbeddingStates(Lengths(), radius=0.05)
    >>> states.assign(["yes", "no", "a long refusal of what you asked", "yes"])
    ['~yes', '~yes', '~a long refusal of what you asked', '~yes']

    With model calls, prompts and answers in the same clusters:

    >>> from detailed_balance.callbacks.states import PromptStates, last_human_text, reply_text
    >>> calls = PromptStates(prompt=states.of(last_human_text), answer=states.of(reply_text))
    """

    def __init__(
        self,
        embeddings: Embeddings,
        radius: float = 0.4,
        text: Callable[[NodeRun], str | None] = last_message_text,
        max_clusters: int = 1_000,
    ) -> None:
        if not callable(getattr(embeddings, "embed_documents", None)):
            raise InvalidInputError(
                "embeddings must have embed_documents(texts), as the embedding models of LangChain "
                f"have; got {embeddings!r}"
            )
        self.embeddings = embeddings
        self.text = text
        self._clusters = LeaderClustering(radius, max_clusters)
        self._keys: list[str] = []
        self._begin()

    def _begin(self) -> None:
        """Make what no copy takes along."""
        self._cache: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.RLock()  # re-entrant: the garbage collector may run an agent's end
        self._warned = False

    def __call__(self, run: NodeRun) -> str | None:
        """Name the state of `run`."""
        return self._name(self.text, run)

    def of(self, text: Callable[[_Subject], str | None]) -> Callable[[_Subject], str | None]:
        """Return a function that names the cluster of what `text` reads; None stays None."""
        return partial(self._name, text)

    def assign(self, texts: Iterable[str]) -> list[str]:
        """Return the key of each text, as if they came one by one; the model gets them in batches.

        Raises
        ------
        InvalidInputError
            Where a text is empty, or the model gives no direction, or not one for each text.
        """
        cleaned = list(map(_clean, texts))
        if not all(cleaned):
            raise InvalidInputError(f"text {cleaned.index('')} is empty; leave it out")
        keys: dict[str, str] = {}
        new = list(dict.fromkeys(cleaned))
        for first in range(0, len(new), _BATCH):
            keys |= self._assign_batch(new[first : first + _BATCH])
        return [keys[text] for text in cleaned]

    def labels(self) -> dict[str, str]:
        """Return the most central text of each key, for people to read."""
        with self._lock:
            return dict(zip(self._keys, self._clusters.centers, strict=True))

    @property
    def leaders(self) -> tuple[str, ...]:
        """The texts that opened the clusters; `assign` them to a new one to have the same keys."""
        with self._lock:
            return tuple(self._clusters.leaders)

    def _name(self, read: Callable[[_Subject], str | None], subject: _Subject) -> str | None:
        text = _clean(read(subject) or "")
        return self._assign_batch([text])[text] if text else None

    def _assign_batch(self, texts: Sequence[str]) -> dict[str, str]:
        with self._lock:
            keys = {text: key for text in texts if (key := self._recall(text))}
        if new := [text for text in texts if text not in keys]:
            vectors = self._embed(new)  # slow: no lock is held
            with self._lock:
                for text, vector in zip(new, vectors, strict=True):
                    keys[text] = self._recall(text) or self._assign_new(text, vector)
        return keys

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = unit_vectors(self.embeddings.embed_documents(texts))
        if len(vectors) != len(texts):  # whose they are cannot be known
            raise InvalidInputError(
                f"the embedding model gave {len(vectors)} vectors for {len(texts)} texts"
            )
        return vectors

    def _recall(self, text: str) -> str | None:
        digest = _digest(text)
        if key := self._cache.get(digest):
            self._cache.move_to_end(digest)
        return key

    def _assign_new(self, text: str, vector: NDArray[np.float32]) -> str:
        index = self._clusters.assign(text, vector)
        if index is None:
            self._warn_once()
        elif index == len(self._keys):
            self._keys.append(self._new_key(text))
        key = self._cache[_digest(text)] = OTHER if index is None else self._keys[index]
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return key

    def _new_key(self, text: str) -> str:
        # "|" joins what happened side by side.
        key = "~" + shorten(text.replace("|", "\N{BROKEN BAR}"), _LONGEST_KEY)
        while key in self._keys:
            key += "'"
        return key

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            warn(
                f"{self._clusters.max_clusters} clusters of texts are full: from here on a text "
                f"far from all of them is {OTHER!r}; widen the radius of {self._clusters.radius}, "
                "or raise max_clusters"
            )

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            kept = {"_clusters": copy.deepcopy(self._clusters), "_keys": list(self._keys)}
        return {"embeddings": self.embeddings, "text": self.text, **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


def _clean(text: str) -> str:
    return " ".join(text[:_LONGEST_TEXT].split())


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
