"""Answers drawn token by token, many prompts at a time, and what they share read only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.smollm2.transformer import Past, Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BatchReader",
    "GeneratedAnswer",
    "Reader",
    "choose_token",
    "count_shared",
    "generate_answers",
]

_TOKENS_AT_A_TIME = 4096
"""Of one pass, padding included: more would only take more memory."""


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """What a model answered.

    Parameters
    ----------
    text : str
        Without the token that ends it, and up to a stop sequence.
    tokens : tuple of int
        All that were drawn, the end included.
    finish_reason : str
        "stop" at the end token or a stop sequence, "length" where `max_tokens` were drawn.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: str


class Reader(Protocol):
    """Texts that are read side by side; see `BatchReader`."""

    logits: NDArray[np.float32]

    def append(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        """Keep the texts `rows` alone, and add one token to each."""


def generate_answers(
    reader: Reader,
    randoms: Sequence[np.random.Generator],
    *,
    decode: Callable[[Sequence[int]], str],
    ends: Sequence[int],
    temperature: float,
    max_tokens: int,
    stop: Sequence[str] = (),
) -> list[GeneratedAnswer]:
    """Draw one answer to each prompt.

    Parameters
    ----------
    reader : Reader
        Of b prompts.
    randoms : sequence of Generator, length b
        One for each prompt, so that its answer does not depend on the others.
    decode : callable
        The text of tokens.
    ends : sequence of int
        The tokens that end an answer.
    temperature : float
        Divides the logits; 0 takes the likeliest token.
    max_tokens : int
        Of each answer, the end included.
    stop : sequence of str
        Texts before which an answer is cut.
    """
    tokens: list[list[int]] = [[] for _ in randoms]
    answers: dict[int, GeneratedAnswer] = {}
    alive = list(range(len(randoms)))
    while alive:
        for row, i in enumerate(alive):
            tokens[i].append(choose_token(reader.logits[row], temperature, randoms[i]))
            found = _finished(tokens[i], decode, ends, max_tokens, stop)
            if found is not None:
                answers[i] = found
        rows = [row for row, i in enumerate(alive) if i not in answers]
        alive = [alive[row] for row in rows]
        if alive:
            reader.append([tokens[i][-1] for i in alive], rows)
    return [answers[i] for i in range(len(randoms))]


def choose_token(
    logits: NDArray[np.float32], temperature: float, random: np.random.Generator
) -> int:
    """Draw a token by its probability at `temperature`; the likeliest one at 0.

    Examples
    --------
    >>> choose_token(np.array([0.0, 3.0, 1.0], np.float32), 0, np.random.default_rng(0))
    1
    """
    if temperature == 0:
        return int(logits.argmax())
    # Gumbel's way: no other rounding of the logits than one between the two best changes the
    # choice, where a search in cumulative sums may fall among many rare tokens.
    races = random.standard_exponential(len(logits))
    return int(np.argmax(logits / temperature - np.log(races)))


def _finished(
    tokens: list[int],
    decode: Callable[[Sequence[int]], str],
    ends: Sequence[int],
    max_tokens: int,
    stop: Sequence[str],
) -> GeneratedAnswer | None:
    """Return the answer if `tokens` are all of it."""
    ended = tokens[-1] in ends
    if not (stop or ended or len(tokens) >= max_tokens):
        return None
    text = decode(tokens[:-1] if ended else tokens)
    cuts = [text.index(mark) for mark in stop if mark in text]
    if cuts or ended:
        return GeneratedAnswer(text[: min(cuts, default=None)], tuple(tokens), "stop")
    return GeneratedAnswer(text, tuple(tokens), "length") if len(tokens) >= max_tokens else None


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
