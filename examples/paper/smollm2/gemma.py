"""Gemma 3 as a `TokenModel`: it was not trained on chats, and reads one as a dialogue."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.smollm2.model import SmolLM2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.paper.smollm2.prompts import Chat

__all__ = ["Gemma3", "merge_pieces", "write_dialogue"]

_SPEAKERS = {"system": "", "user": "Q: ", "assistant": "A: "}


class Gemma3(SmolLM2):
    """The text model of Gemma 3, from a GGUF file; only prompts of less than 512 tokens.

    An answer is what follows "A:" up to the end of its line.

    Parameters
    ----------
    path : str or path
        The GGUF file.
    """

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer: the end of a text, and each run of line ends."""
        return self._ends

    def encode(self, text: str) -> list[int]:
        """Return the tokens of an answer, with the space that stands before it."""
        return self._encode(f" {text}")

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return "".join(self._words[token] for token in tokens).replace("▁", " ")

    def encode_chat(self, chat: Chat) -> list[int]:
        """Return the tokens of `chat` as a dialogue of questions and answers."""
        return [self._start, *self._encode(write_dialogue(chat))]

    def _read_tokenizer(self, fields: dict[str, Any], tokenizers: Any) -> None:
        words, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
        self._words: list[str] = words
        self._ranks = dict(zip(words, scores, strict=True))
        self._places = {word: i for i, word in enumerate(words)}
        self._start = self._places["<bos>"]
        ends = (i for word, i in self._places.items() if word and not word.strip("\n"))
        self._ends = (self._places["<eos>"], *ends)

    def _encode(self, text: str) -> list[int]:
        pieces = merge_pieces(text.replace(" ", "▁"), self._ranks)
        strange = [piece for piece in pieces if piece not in self._places]
        if strange:
            raise InvalidInputError(f"{strange[0]!r} is no piece of this model; use plain letters")
        return [self._places[piece] for piece in pieces]


def write_dialogue(chat: Chat) -> str:
    r"""Return a chat as lines, up to where the answer begins.

    Examples
    --------
    >>> write_dialogue([("system", "Be brief."), ("user", "Hot?")])
    'Be brief.\nQ: Hot?\nA:'
    """
    lines = [f"{_SPEAKERS[role]}{text}" for role, text in chat]
    return "\n".join([*lines, "A:"])


def merge_pieces(text: str, ranks: dict[str, float]) -> list[str]:
    """Cut a text as SentencePiece's BPE does: join the neighbours with the best rank, again.

    Examples
    --------
    >>> merge_pieces("abcab", {"ab": -1.0, "bc": 0.0, "abc": -2.0})
    ['abc', 'ab']
    """
    pieces, none = list(text), -float("inf")
    while True:
        joins = [(ranks.get(a + b, none), -i) for i, (a, b) in enumerate(pairwise(pieces))]
        best, place = max(joins, default=(none, 0))
        if best == none:
            return pieces
        pieces[-place : 2 - place] = [pieces[-place] + pieces[1 - place]]
