"""Answers drawn token by token, many prompts at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Reader", "choose_token", "generate_answers"]


@dataclass(frozen=True, slots=True)
class Answer:
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
) -> list[Answer]:
    """Draw one answer to each prompt.

    Parameters
    ----------
    reader : Reader
        Of b prompts.
    randoms : sequence of Generator, length b
        One for each prompt, so that its answer does not hang on the others.
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
    answers: dict[int, Answer] = {}
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
) -> Answer | None:
    """Return the answer if `tokens` are all of it."""
    ended = tokens[-1] in ends
    if not (stop or ended or len(tokens) >= max_tokens):
        return None
    text = decode(tokens[:-1] if ended else tokens)
    cuts = [text.index(mark) for mark in stop if mark in text]
    if cuts or ended:
        return Answer(text[: min(cuts, default=None)], tuple(tokens), "stop")
    return Answer(text, tuple(tokens), "length") if len(tokens) >= max_tokens else None
