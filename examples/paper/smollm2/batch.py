"""`BatchReader`: many texts read side by side, what they share only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.smollm2.transformer import Past, Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchReader", "count_shared"]

_TOKENS_AT_A_TIME = 4096
"""Of one pass, padding included: more would only take more memory."""


class BatchReader:
    """Read b texts, and go on with each by one token at a time.

    The tokens with which all of them begin are read once, and so is a text that is there several
    times. Padding is never seen by a token.

    Parameters
    ----------
    transformer : Transformer
        What reads.
    texts : sequence of sequences of int, length b
        The tokens of each, at least one.

    Raises
    ------
    InvalidInputError
        Where there is no text, or an empty one.
    """

    def __init__(self, transformer: Transformer, texts: Sequence[Sequence[int]]) -> None:
        if not texts or not all(texts):
            raise InvalidInputError("give at least one text, each of at least one token")
        self._transformer = transformer
        different = sorted({tuple(text) for text in texts})
        # The last token of each is read by itself in any case: its logits are wanted.
        shared = min(count_shared(different), min(map(len, different)) - 1)
        self._head = self._read_head(different[0][:shared])
        after, own = self._read_rest([text[shared:] for text in different])
        rows = np.array([different.index(tuple(text)) for text in texts])
        self._own = own.rows(rows)
        self._lengths = np.array([len(text) for text in texts])
        self.logits: NDArray[np.float32] = transformer.logits(after)[rows]
        """(b, vocabulary): of the next token of each text."""

    def append(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        """Keep the texts `rows` alone, and add one token to each."""
        kept = np.array(rows, dtype=np.int64)
        self._own, self._lengths = self._own.rows(kept), self._lengths[kept] + 1
        new, places = np.array(tokens, dtype=np.int64)[:, None], self._lengths[:, None] - 1
        pasts = [self._head, self._own]
        hidden, past = self._transformer.forward(new, places, pasts, np.ones((1, 1), dtype=bool))
        self._own = self._own.then(past)
        self.logits = self._transformer.logits(hidden[:, 0])

    def _read_head(self, tokens: Sequence[int]) -> Past:
        if not tokens:
            return self._transformer.no_past()
        new = np.array([tokens], dtype=np.int64)
        n = new.size
        return self._transformer.forward(new, np.arange(n)[None], [], np.tri(n, dtype=bool))[1]

    def _read_rest(self, texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], Past]:
        """Read what follows the head: the last hidden state of each text, and their past."""
        lengths = np.array([len(text) for text in texts])
        width = int(lengths.max())
        tokens = np.array([[*text, *[0] * (width - len(text))] for text in texts], dtype=np.int64)
        real = np.arange(width) < lengths[:, None]
        places = self._head.seen.shape[1] + np.broadcast_to(np.arange(width), tokens.shape)
        visible, last, pasts = np.tri(width, dtype=bool), [], []
        for part in np.array_split(np.arange(len(texts)), -(-tokens.size // _TOKENS_AT_A_TIME)):
            if not part.size:
                continue
            hidden, past = self._transformer.forward(
                tokens[part], places[part], [self._head], visible, real[part]
            )
            last.append(hidden[np.arange(len(part)), lengths[part] - 1])
            pasts.append(past)
        return np.concatenate(last), Past(
            np.concatenate([past.keys for past in pasts], axis=1),
            np.concatenate([past.values for past in pasts], axis=1),
            real,
        )


def count_shared(texts: Sequence[tuple[int, ...]]) -> int:
    """Return with how many equal tokens all of `texts` begin.

    Examples
    --------
    >>> count_shared([(1, 2, 3), (1, 2, 4, 5)])
    2
    """
    first, last = min(texts), max(texts)  # all others lie between them
    pairs = zip(first, last, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))
