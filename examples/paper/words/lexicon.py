"""A chat model whose potential is known: it steps between 64 English words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.agent.evaluation import BalanceSummary
from examples.paper.agent.simulated import REFUSAL, SimulatedChatModel
from examples.paper.words.task import asked_word

__all__ = [
    "DRIVEN_AFFINITY",
    "LEXICON",
    "LexiconChatModel",
    "count_false",
    "count_found",
    "driven_lexicon",
]

_WORDS = """
ANALYSIS APPLYING ARRIVALS ATTITUDE BEGINNINGS BOTANIST BOULEVARD BOUNDARY BROWSER BUZZY CARPENTER
CHIMPANZEE CLOCKWISE COMPANION CONGRESS CORRIDOR COUSINS CULTURE DELIVERY DISCIPLINE DRIZZLE
ELEPHANTS ENVOYS EXCELLENT FLURRY FOUNTAIN GRUMPY HARMONICS HIGHWAYS HONEYCOMB HOSPITAL INFLATION
INTELLECT KEYBOARDS LIGHTNING LIKELIHOOD LOWLANDS MITTENS MOTORS ORNAMENT PASTURE PERSONAL PISTACHIO
POWDERS PROBLEMS PRODUCER PUMPKIN QUARRY QUARTER RESEARCHER RIVERBANK ROOMMATE SCRAPBOOK SOURCES
STARFISH STYLES TELEPHONE TELESCOPE THIRTY TOWERS TURKEY VARIETY VIOLINS WRITING
"""

LEXICON: tuple[str, ...] = tuple(_WORDS.split())
"""English words whose letters (A=1 ... Z=26) sum to 100."""


DRIVEN_AFFINITY = 6.0
"""Of the loop of `driven_lexicon`, in nats."""

_STEPS = (-9, -8, -1, 1, 8, 9)  # to the neighbours on a lattice of 8 by 8, row after row
_OTHER_SUM = "WORD"  # 60


class LexiconChatModel(SimulatedChatModel):
    """A chat model that steps between the words of `LEXICON` in detailed balance.

    The words stand in random order on a triangular lattice of 8 by 8 that is closed to a torus, so
    each has six neighbours. The model proposes each of them with the same probability, and answers
    it with the probability min(1, exp(-(V(g) - V(f)) / temperature)); else it answers the word that
    it was given (Metropolis). So log T(g<-f) / T(f<-g) is exactly (V(f) - V(g)) / temperature, but
    for the loops in `driving`.

    Attributes
    ----------
    temperature : float
        The unit of V: beta is 1 / temperature.
    seed : int
        Of its random answers, which depend on the order of the questions.
    delay : float
        How many seconds an answer takes.
    landscape : int
        The seed of the potential and of the order on the lattice.
    spread : float
        The standard deviation of V.
    invalid, wrong_sum : float
        How often an answer is not a single word, and how often a word of another sum.
    driving : dict of tuple of str to float
        Loops of words, and the affinity in nats that each is driven with: the log of the product
        of its rates that way round over the other, 0 or more. See `triangles`.

    Raises
    ------
    pydantic.ValidationError
        Where a setting is out of range, or a driven loop has a step that the model never makes. It
        is a ValueError.

    Notes
    -----
    A simulation: no language model was asked.

    Examples
    --------
    >>> model = LexiconChatModel(temperature=2.0)
    >>> T, V = model.kernel().probabilities, model.potential
    >>> f, g = 0, model.words.index(model.neighbours(model.words[0])[0])
    >>> bool(np.isclose(np.log(T[f, g] / T[g, f]), (V[f] - V[g]) / 2))
    True
    """

    temperature: float = 1.0
    landscape: int = 0
    spread: float = 0.8
    invalid: float = 0.05
    wrong_sum: float = 0.05
    driving: dict[tuple[str, ...], float] = Field(default_factory=dict)
    _places: list[int] = PrivateAttr()
    _potential: NDArray[np.float64] = PrivateAttr()
    _matrix: NDArray[np.float64] = PrivateAttr()
    _cumulative: NDArray[np.float64] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Draw the landscape, and compute the kernel."""
        super().model_post_init(context)
        self._check()
        rng = np.random.default_rng(self.landscape)
        self._places = rng.permutation(len(LEXICON)).tolist()
        heights = rng.normal(scale=self.spread, size=len(LEXICON))
        self._potential = heights - heights.min()
        self._matrix = self._metropolis()
        for loop, affinity in self.driving.items():
            self._drive(loop, affinity)
        unchanged = 1 - self.invalid - self.wrong_sum - self._matrix.sum(axis=1)
        np.fill_diagonal(self._matrix, np.maximum(unchanged, 0))  # rounding may pass below 0
        self._cumulative = np.cumsum(self._matrix, axis=1)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it knows."""
        return LEXICON

    @property
    def potential(self) -> NDArray[np.float64]:
        """(n,) array: V of each of `words`, the lowest at 0; beta V is V / temperature."""
        return self._potential

    def height(self, word: str) -> float:
        """Return beta V of a word, which is V / temperature."""
        return float(self._potential[LEXICON.index(word)] / self.temperature)

    def kernel(self) -> Kernel:
        """Return the exact probabilities; the diagonal is "unchanged", what a row lacks fails."""
        return Kernel.from_matrix(self._matrix, self.words)

    def neighbours(self, word: str) -> tuple[str, ...]:
        """Return the words that it may answer to `word`, beside `word` itself."""
        place = self._places.index(LEXICON.index(word))
        return tuple(LEXICON[self._places[(place + step) % len(LEXICON)]] for step in _STEPS)

    def triangles(self) -> list[tuple[str, str, str]]:
        """Return the loops of three words that it may walk, each once."""
        return [
            (word, second, third)
            for word in LEXICON
            for second in self.neighbours(word)
            for third in self.neighbours(second)
            if word < second < third and third in self.neighbours(word)
        ]

    def _check(self) -> None:
        if not self.temperature > 0:
            raise InvalidInputError(f"temperature={self.temperature!r}; it must be positive")
        if min(self.invalid, self.wrong_sum) < 0 or self.invalid + self.wrong_sum >= 1:
            raise InvalidInputError(
                f"invalid={self.invalid!r} and wrong_sum={self.wrong_sum!r} are probabilities; "
                "their sum must stay under 1"
            )

    def _metropolis(self) -> NDArray[np.float64]:
        proposed = np.zeros((len(LEXICON), len(LEXICON)))
        for i, word in enumerate(LEXICON):
            proposed[i, [LEXICON.index(other) for other in self.neighbours(word)]] = 1
        rate = (1 - self.invalid - self.wrong_sum) / len(_STEPS)
        climb = (self._potential[None, :] - self._potential[:, None]) / self.temperature
        return rate * proposed * np.exp(-np.maximum(climb, 0))

    def _drive(self, loop: tuple[str, ...], affinity: float) -> None:
        """Slow the way back down: that lengthens no row, so all stay probabilities."""
        steps = list(pairwise((*loop, loop[0])))
        for f, g in steps:
            if g not in (self.neighbours(f) if f in LEXICON else ()):
                raise InvalidInputError(
                    f"driving: the model never steps from {f!r} to {g!r}; allowed are loops of "
                    "words that are neighbours(), such as those of triangles()"
                )
            self._matrix[LEXICON.index(g), LEXICON.index(f)] *= np.exp(-affinity / len(steps))

    def _read(self, messages: Sequence[BaseMessage]) -> str | None:
        return asked_word(messages)

    def _answer(self, word: str, /) -> str:
        if word not in LEXICON:
            return REFUSAL
        chance = self._random.random()
        row = self._cumulative[LEXICON.index(word)]
        if chance < row[-1]:
            return LEXICON[int(np.searchsorted(row, chance, side="right"))]
        return REFUSAL if chance < row[-1] + self.invalid else _OTHER_SUM


def driven_lexicon(seed: int = 0) -> LexiconChatModel:
    """Return the model with one loop driven: the three words of the flattest potential.

    Examples
    --------
    >>> list(driven_lexicon().driving.values())
    [6.0]
    """
    model = LexiconChatModel(seed=seed)
    height = dict(zip(model.words, model.potential.tolist(), strict=True))
    heights = {loop: [height[word] for word in loop] for loop in model.triangles()}
    flattest = min(heights, key=lambda loop: max(heights[loop]) - min(heights[loop]))
    return LexiconChatModel(seed=seed, driving={flattest: DRIVEN_AFFINITY})


def count_found(balance: BalanceSummary, model: LexiconChatModel) -> int:
    """Return how many of the loops that a model drives are among the violations."""
    found = {frozenset(_steps(violation.loop)) for violation in balance.violations}
    return sum(frozenset(_steps(loop)) in found for loop in model.driving)


def count_false(balance: BalanceSummary, model: LexiconChatModel) -> int:
    """Return how many of the violations have no affinity in a model that is known."""
    rates = model.kernel().probabilities.toarray()
    place = {word: i for i, word in enumerate(model.words)}
    false = 0
    for violation in balance.violations:
        ways = np.array([(place[f], place[g]) for f, g in _steps(violation.loop)]).T
        affinity = np.log(rates[ways[0], ways[1]]).sum() - np.log(rates[ways[1], ways[0]]).sum()
        false += bool(np.isclose(affinity, 0, atol=1e-9))
    return false


def _steps(loop: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(loop, (*loop[1:], loop[0]), strict=True))
