"""The symbolic task: an expression in, the next one out, which fits better or is simpler.

The model is shown the expression, how well it fits and the language. An answer that cannot be read
or fitted is an escape, after which the agent keeps what it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states import PromptStates
from examples.paper.symbolic.fitting import FitError, Fitter
from examples.paper.symbolic.grammar import ExpressionError

__all__ = ["SymbolicTask", "asked_expression"]

_ASKED = re.compile(r"^Expression: (.+)$", re.MULTILINE)
_LONGEST_ANSWER = 4_000


def asked_expression(messages: Sequence[BaseMessage]) -> str | None:
    r"""Return the expression that the last message asks about; None where it asks something else.

    Examples
    --------
    >>> asked_expression([HumanMessage("Expression: c * x\nMean squared error: 1")])
    'c * x'
    """
    found = _ASKED.search(messages[-1].text) if messages else None
    return found.group(1) if found else None


@dataclass(frozen=True, slots=True)
class SymbolicTask:
    r"""The question of one probe, and the judge of its answer.

    Parameters
    ----------
    fitter : Fitter
        Of the data, with the functions that the question allows.
    raw : bool
        A state is the text of an answer as it stands, as in the paper, so that "x + c" and "c + x"
        are two; else it is the canonical text of all ways to write the same.

    Notes
    -----
    Paper: the symbolic fitting agent, whose states are expressions. The wording is ours.

    Examples
    --------
    >>> from examples.paper.symbolic.datasets import make_decay
    >>> task = SymbolicTask(Fitter(make_decay()))
    >>> task.judge("x", "Try this:\n`c1*exp(-c2*x)`"), task.judge("x", "exp(x")
    ('move', 'unreadable')
    """

    fitter: Fitter
    raw: bool = False

    def ask(self, expression: str) -> list[BaseMessage]:
        """Return the messages that ask for an expression after `expression`."""
        data, fit = self.fitter.data, self.fitter.fit(expression)
        return [
            HumanMessage(
                f"Find a simple formula for {data.target_name}, step by step.\n"
                f"Expression: {expression}\n"
                f"Mean squared error: {fit.mse:.4g}\n"
                "Change it a little, so that it fits better or is simpler. Allowed are + - * / **,"
                f" parentheses, numbers, the functions {', '.join(self.fitter.functions)}, the"
                f" variables {', '.join(data.variables)}, and c for each constant to be fitted"
                " (c0, c1, ..."
                " where one constant is used twice). Answer with one expression on one line, and"
                " nothing else."
            )
        ]

    def check(self, state: str) -> None:
        """Raise where `state` is no expression that can be fitted, or is not canonical.

        Raises
        ------
        InvalidInputError
            Where it is none, or another form of one and states are not raw.
        FitError
            Where it has no finite values on the data.
        """
        canonical = self.fitter.fit(state).expression.text
        if not self.raw and state != canonical:
            raise InvalidInputError(f"start={state!r} is not canonical; write {canonical!r}")

    def read(self, answer: BaseMessage) -> str | None:
        """Return the expression that is the answer; None where it cannot be read or fitted."""
        try:
            return self._find(answer.text)
        except (ExpressionError, FitError):
            return None

    def judge(self, source: str, text: str) -> str:
        """Return what an answer to `source` is: "move", "unchanged", "unreadable" or "unfitted"."""
        try:
            return "unchanged" if self._find(text) == source else "move"
        except ExpressionError:
            return "unreadable"
        except FitError:
            return "unfitted"

    def states(self) -> PromptStates:
        """Return the state function: the expression asked about, and the one answered.

        An unchanged expression is a self-loop; what cannot be read or fitted is an escape.
        """
        return PromptStates(prompt=asked_expression, answer=self.read)

    def _find(self, text: str) -> str:
        """Return the expression on the last line that is not empty."""
        lines = [line.strip(" \t\r`$") for line in text[-_LONGEST_ANSWER:].splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        canonical = self.fitter.fit(last).expression.text
        return last if self.raw else canonical
