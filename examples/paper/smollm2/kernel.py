"""Exact kernels: how likely a language model's whole answer is each word of a closed vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import logsumexp

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.smollm2.prompts import RELATED_WORD, Chat, Spellings, fill_prompt
from examples.paper.smollm2.tree import PrefixTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TokenModel", "answer_log_probabilities", "exact_kernel"]


class TokenModel(Protocol):
    """What exact kernels need of a language model."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a plain text; marks of the chat in it stay plain text."""
        ...

    def encode_chat(self, chat: Chat) -> list[int]:
        """Return the tokens up to where the answer to `chat` begins."""
        ...

    def tree_logits(self, prompt: Sequence[int], tree: PrefixTree) -> NDArray[np.float32]:
        """Return the (nodes, vocabulary) logits of the token after the prompt and each prefix."""
        ...


def exact_kernel(
    model: TokenModel,
    words: Sequence[str],
    *,
    prompt: Chat = RELATED_WORD,
    temperature: float = 1.0,
    spellings: Spellings = Spellings(),  # noqa: B008 - frozen
) -> Kernel:
    """Compute T(g<-f), the probability that the whole answer to the prompt with f is g.

    Nothing is sampled. The rest of a row is the probability of any other answer, `Kernel.escape`.

    Parameters
    ----------
    model : TokenModel
        Such as `SmolLM2`.
    words : sequence of str, length n
        The closed vocabulary, the states.
    prompt : Chat
        The question; ``{word}`` stands for the source.
    temperature : float
        Divides the logits of every token; above 0.
    spellings : Spellings
        Which answers count as a word. Each answer is followed through the tokens in which the
        tokeniser itself writes it; that a model may write it in other tokens counts as an escape.

    Returns
    -------
    Kernel
        Exact for this model: the error is that of its arithmetic.

    Raises
    ------
    InvalidInputError
        Where the temperature is not above 0, a word is there twice or empty, an answer counts as
        two words, or the prompt has no place for the word.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 1, for T.

    Examples
    --------
    >>> kernel = exact_kernel(SmolLM2(), ["dog", "cat", "horse"])  # doctest: +SKIP
    >>> kernel.probabilities.toarray(), kernel.escape              # doctest: +SKIP
    """
    (logs,) = answer_log_probabilities(
        model, words, prompt=prompt, temperatures=[temperature], spellings=spellings
    )
    return Kernel.from_matrix(np.exp(logs), tuple(words))


def answer_log_probabilities(
    model: TokenModel,
    words: Sequence[str],
    *,
    prompt: Chat = RELATED_WORD,
    temperatures: Sequence[float] = (1.0,),
    spellings: Spellings = Spellings(),  # noqa: B008 - frozen
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Compute log T(g<-f) at several temperatures from the same logits.

    Parameters
    ----------
    model, words, prompt, spellings
        As for `exact_kernel`.
    temperatures : sequence of float, length k
        Each above 0.
    progress : callable, optional
        Called with the number of sources done and of all sources.

    Returns
    -------
    (k, n, n) array of float
        Natural logarithms, ``[temperature, source, target]``.

    Raises
    ------
    InvalidInputError
        As for `exact_kernel`.
    """
    if not all(temperature > 0 for temperature in temperatures):
        raise InvalidInputError(f"temperatures {list(temperatures)}; each must be above 0")
    if len(set(words)) != len(words):
        raise InvalidInputError("a word is listed twice; the words are states, all different")
    answers = spellings.reader(words)
    place = {word: i for i, word in enumerate(words)}
    target = np.array([place[word] for word in answers.values()])
    tree = PrefixTree.from_sequences([model.encode(text) for text in answers])
    logs = np.full((len(temperatures), len(words), len(words)), -np.inf)
    for i, source in enumerate(words):
        logits = model.tree_logits(model.encode_chat(fill_prompt(prompt, source)), tree)
        for k, temperature in enumerate(temperatures):
            found = _answer_logs(logits / np.float32(temperature), tree, model.ends)
            np.logaddexp.at(logs[k, i], target, found)
        if progress is not None:
            progress(i + 1, len(words))
    return logs


def _answer_logs(
    logits: NDArray[np.float32], tree: PrefixTree, ends: Sequence[int]
) -> NDArray[np.float64]:
    """Return the log-probability of each sequence of the tree with an end after it."""
    most = logits.max(axis=1)
    totals = most + np.log(np.exp(logits - most[:, None]).sum(axis=1), dtype=np.float64)
    steps = np.zeros(len(tree))
    before = tree.parents[1:]
    steps[1:] = logits[before, tree.tokens[1:]] - totals[before]
    ending = logsumexp(logits[np.ix_(tree.leaves, np.array(ends))], axis=1) - totals[tree.leaves]
    return np.asarray(tree.add_along(steps)[tree.leaves] + ending)
