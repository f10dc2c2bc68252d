"""Fitting the parameters of an expression, and how well it then does."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.optimize import least_squares

from detailed_balance.analyzers.errors import DetailedBalanceError
from examples.paper.symbolic.datasets import DataSet
from examples.paper.symbolic.expressions import Expression, evaluate, parse_expression
from examples.paper.symbolic.grammar import FUNCTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Residuals: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["Fit", "FitError", "Fitter", "fit_expression"]

MAX_PARAMETERS = 12
"""Parameters that are fitted; an expression with more is refused."""


class FitError(DetailedBalanceError):
    """An expression has no finite values on the data, whatever its parameters were set to."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """An expression and how well it does.

    Parameters
    ----------
    expression : Expression
        The expression, in its canonical form.
    mse : float
        The mean of the squared residuals, in the square of the target's unit.
    parameters : (p,) array of float
        Their best values, in the order of `evaluate`.
    """

    expression: Expression
    mse: float
    parameters: NDArray[np.float64]


def fit_expression(
    expression: Expression,
    data: DataSet,
    *,
    starts: int = 4,
    max_evaluations: int = 60,
    seed: int = 0,
) -> Fit:
    """Fit the parameters by least squares, from several starts; the best counts.

    The starts are drawn by `seed` and the text of the expression, so that a fit does not depend
    on what was fitted before it.

    Parameters
    ----------
    expression : Expression
        What to fit.
    data : DataSet
        What to fit it to.
    starts : int
        The first has all parameters at 1; the others are drawn.
    max_evaluations : int
        Steps from each start: the bound on the time.
    seed : int
        See above.

    Raises
    ------
    FitError
        Where no start leads to finite values, or there are more than 12 parameters.

    Examples
    --------
    >>> from examples.paper.symbolic.datasets import make_decay
    >>> fit = fit_expression(parse_expression("exp(c * x)", ["x"]), make_decay(noise=0.0))
    >>> round(float(fit.parameters[0]), 6), fit.mse < 1e-12
    (-0.6, True)
    """
    p = expression.parameters
    if p > MAX_PARAMETERS:
        raise FitError(f"{expression} has {p} parameters; up to {MAX_PARAMETERS} are fitted")

    def residuals(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return evaluate(expression, data.variables, parameters) - data.target

    random = np.random.default_rng([seed, zlib.crc32(expression.text.encode())])
    first = [np.ones(p), *random.normal(scale=2.0, size=(starts - 1, p))] if p else [np.ones(0)]
    found = [_descend(residuals, start, max_evaluations) for start in first]
    mse, best = min(found, key=lambda fit: fit[0])
    if not np.isfinite(mse):
        raise FitError(f"{expression} has no finite values on {data.name}")
    return Fit(expression, mse, best)


def _descend(
    residuals: Residuals, start: NDArray[np.float64], max_evaluations: int
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean square and the parameters that one start leads to; infinite for none."""
    with np.errstate(all="ignore"):
        if len(start):
            try:
                start = least_squares(residuals, start, max_nfev=max_evaluations).x
            except (ValueError, np.linalg.LinAlgError):  # no finite values here, or at a step away
                return np.inf, start
        mse = float(np.mean(residuals(start) ** 2))
    return (mse if np.isfinite(mse) else np.inf), start


class Fitter:
    """Fits expressions to one data set, each canonical expression once.

    Parameters
    ----------
    data : DataSet
        What they are fitted to.
    seed : int
        Of the starts.
    functions : collection of str
        The functions that expressions may have, of `PAPER_FUNCTIONS`.

    Examples
    --------
    >>> from examples.paper.symbolic.datasets import make_decay
    >>> fitter = Fitter(make_decay())
    >>> fitter.fit("c+x").expression.text, fitter.fit("x + c") is fitter.fit("c + x")
    ('c + x', True)
    """

    def __init__(
        self, data: DataSet, *, seed: int = 0, functions: Collection[str] = FUNCTIONS
    ) -> None:
        self.data = data
        self.functions = tuple(functions)
        self._seed = seed
        self._fits: dict[str, Fit | FitError] = {}

    def fit(self, text: str) -> Fit:
        """Return the fit of an expression.

        Raises
        ------
        ExpressionError
            Where the text is none.
        FitError
            Where it has no finite values.
        """
        found = self._fits.get(text)
        if found is None:
            expression = parse_expression(text, self.data.variables, self.functions)
            found = self._fits.get(expression.text) or self._fit(expression)
            self._fits[expression.text] = found  # two threads may both fit it, to the same end
        if isinstance(found, FitError):
            raise found
        return found

    def _fit(self, expression: Expression) -> Fit | FitError:
        try:
            return fit_expression(expression, self.data, seed=self._seed)
        except FitError as error:
            return error
