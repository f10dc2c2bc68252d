"""A chat model that walks over small expressions, whose potential is known.

One mutation grows a part of an expression, shrinks it, swaps its operator or function, or puts
another name in its place. Two expressions are neighbours where a mutation leads from each to the
other. `GrammarKernel` proposes a neighbour and accepts it by the rule of Metropolis and Hastings,
so that detailed balance holds for the potential that it is given. `GrammarChatModel` answers by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from langchain_core.messages import BaseMessage
from scipy.sparse import csr_array

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.agent.simulated import REFUSAL, SimulatedChatModel
from examples.paper.symbolic.expressions import canonical_text, parse_expression
from examples.paper.symbolic.fitting import FitError, Fitter
from examples.paper.symbolic.grammar import ExpressionError, Node
from examples.paper.symbolic.task import asked_expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GrammarChatModel", "GrammarKernel", "Height", "mutate", "score_potential"]

Height: TypeAlias = Callable[[str], float]
"""From a canonical expression to V; infinite where it may not be."""

_FUNCTIONS = ("exp", "log", "sin")
_SWAPS = {"+": ("*",), "*": ("+",)} | {
    name: tuple(other for other in _FUNCTIONS if other != name) for name in _FUNCTIONS
}


def mutate(text: str, variables: Iterable[str]) -> tuple[str, ...]:
    """Return the expressions that one mutation leads to, the shortest first, without `text`.

    Examples
    --------
    >>> mutate("x", ["x"])
    ('c', '-x', '1 / x', 'c * x', 'c + x', 'x * x', 'x + x', 'exp(x)', 'log(x)', 'sin(x)')
    """
    variables = tuple(variables)
    leaves = tuple(Node(name) for name in (*variables, "c"))
    found = set()
    for tree in _mutants(parse_expression(text, variables).tree, leaves):
        try:
            found.add(canonical_text(tree))
        except ExpressionError:  # beyond a limit
            continue
    return tuple(sorted(found - {text}, key=lambda other: (len(other), other)))


def _mutants(node: Node, leaves: tuple[Node, ...]) -> Iterator[Node]:
    """Yield the tree with one of its parts changed."""
    yield from _changes(node, leaves)
    for place, argument in enumerate(node.arguments):
        before, after = node.arguments[:place], node.arguments[place + 1 :]
        for changed in _mutants(argument, leaves):
            yield Node(node.head, (*before, changed, *after))


def _changes(node: Node, leaves: tuple[Node, ...]) -> Iterator[Node]:
    head, arguments = node.head, node.arguments
    yield from (Node(name, (node,)) for name in (*_FUNCTIONS, "-", "/"))  # grow
    yield from (Node(sign, (node, leaf)) for sign in "+*" for leaf in leaves)
    if not arguments:
        yield from leaves
    elif len(arguments) == 1:  # shrink
        yield arguments[0]
    else:
        yield from (Node(head, arguments[:i] + arguments[i + 1 :]) for i in range(len(arguments)))
    yield from (Node(other, arguments) for other in _SWAPS.get(head, ()))


def score_potential(fitter: Fitter, *, per_node: float = 0.5, per_decade: float = 1.5) -> Height:
    """Return V = `per_node` * complexity + `per_decade` * log10(MSE / variance of the target).

    The ratio counts as 1e-9 below that (a fit without error) and as 10 above (one as bad as any),
    so that V stays within what can be measured. It is infinite where there is no fit.
    """
    variance = float(np.var(fitter.data.target)) or 1.0

    def potential(text: str) -> float:
        try:
            fit = fitter.fit(text)
        except FitError:
            return float("inf")
        ratio = min(max(fit.mse / variance, 1e-9), 10.0)
        return per_node * fit.expression.complexity + per_decade * float(np.log10(ratio))

    return potential


class GrammarKernel:
    """The transition probabilities of a proposer that obeys detailed balance.

    Parameters
    ----------
    variables : iterable of str
        The variables that expressions may have.
    potential : callable
        V.
    max_complexity : int
        Numbers, names and operators of the largest expressions.
    escape_rate : float
        The probability of an answer that is not an expression, the same from everywhere.

    Notes
    -----
    From f, one of its d(f) neighbours is drawn, and accepted with the probability
    min(1, exp(V(f) - V(g)) d(f) / d(g)); otherwise f stays. Hence
    T(g<-f) exp(-V(f)) = T(f<-g) exp(-V(g)).

    Examples
    --------
    >>> kernel = GrammarKernel(["x"], potential=len, max_complexity=2)
    >>> sorted(kernel.neighbours("c"))
    ['-c', '1 / c', 'exp(c)', 'log(c)', 'sin(c)', 'x']
    """

    def __init__(
        self,
        variables: Iterable[str],
        potential: Height,
        *,
        max_complexity: int = 5,
        escape_rate: float = 0.05,
    ) -> None:
        if not 0 <= escape_rate < 1:
            raise InvalidInputError(f"escape_rate={escape_rate!r}; it is at least 0 and below 1")
        self.variables = tuple(variables)
        self.potential = cache(potential)
        self.max_complexity = max_complexity
        self.escape_rate = escape_rate
        self._mutants = cache(lambda text: frozenset(mutate(text, self.variables)))
        self._complexity = cache(lambda text: parse_expression(text, self.variables).complexity)
        self.neighbours = cache(self._neighbours)
        self.row = cache(self._row)

    def _neighbours(self, text: str) -> tuple[str, ...]:
        """Return what a mutation leads to and back from, sorted."""
        return tuple(
            other
            for other in sorted(self._mutants(text))
            if self._complexity(other) <= self.max_complexity
            and text in self._mutants(other)
            and np.isfinite(self.potential(other))
        )

    def _row(self, text: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return the neighbours of an expression and their probabilities, without its own."""
        targets = self.neighbours(text)
        degrees = np.array([len(self.neighbours(target)) for target in targets])
        drops = self.potential(text) - np.array([self.potential(target) for target in targets])
        accepted = np.exp(np.minimum(0.0, drops + np.log(len(targets) / degrees)))
        return targets, (1 - self.escape_rate) * accepted / len(targets)

    def states(self, start: str) -> tuple[str, ...]:
        """Return what can be reached from an expression, itself first."""
        found = {start: None}
        waiting = [start]
        while waiting:
            new = [text for text in self.neighbours(waiting.pop()) if text not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return tuple(found)

    def exact(self, start: str) -> Kernel:
        """Return the kernel on all that can be reached from an expression, exactly."""
        states = self.states(start)
        place = {text: i for i, text in enumerate(states)}
        rows = [self.row(text) for text in states]
        sizes = [len(targets) for targets, _ in rows]
        source = np.repeat(np.arange(len(states)), sizes)
        target = np.array([place[text] for targets, _ in rows for text in targets], dtype=np.int64)
        values = np.concatenate([probabilities for _, probabilities in rows])
        left = 1 - self.escape_rate - np.bincount(source, values, len(states))
        stay = np.maximum(0.0, left)  # rounding
        own = np.arange(len(states))
        everything = (
            np.concatenate([values, stay]),
            (np.concatenate([source, own]), np.concatenate([target, own])),
        )
        return Kernel(states, csr_array(everything, shape=(len(states), len(states))))


class GrammarChatModel(SimulatedChatModel):
    """A chat model that answers the question of a `SymbolicTask` by a `GrammarKernel`.

    Attributes
    ----------
    kernel : GrammarKernel
        Where it goes from each expression, and with what probability.
    seed : int
        Of its answers, which depend on the order of the questions.
    delay : float
        How many seconds an answer takes.

    Examples
    --------
    >>> from langchain_core.messages import HumanMessage
    >>> model = GrammarChatModel(kernel=GrammarKernel(["x"], potential=len, max_complexity=2))
    >>> model.invoke([HumanMessage("Expression: exp(x)")]).text
    'sin(x)'
    """

    kernel: GrammarKernel

    def _read(self, messages: Sequence[BaseMessage]) -> str | None:
        return asked_expression(messages)

    def _answer(self, source: str, /) -> str:
        targets, probabilities = self.kernel.row(source)
        chance = self._random.random()
        if chance >= 1 - self.kernel.escape_rate:
            return REFUSAL
        place = int(np.searchsorted(np.cumsum(probabilities), chance, side="right"))
        return targets[place] if place < len(targets) else source
