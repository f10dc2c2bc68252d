"""The exceptions of the library, one tree under `DetailedBalanceError`."""

from typing import Any

__all__ = [
    "ConvergenceError",
    "DetailedBalanceError",
    "InsufficientDataError",
    "InvalidInputError",
    "ReadError",
    "UnknownStateError",
    "ViolationFunctionError",
]


class DetailedBalanceError(Exception):
    """Anything that this library raises on purpose."""


class InvalidInputError(DetailedBalanceError, ValueError):
    """An argument has a value that is not allowed; the message says what is."""


class UnknownStateError(DetailedBalanceError, KeyError):
    """A state was asked for that the data does not hold."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would quote the whole sentence.
        return str(self.args[0])


class ViolationFunctionError(InvalidInputError):
    """A violation function is not convex, or lacks the symmetry that detailed balance needs."""


class InsufficientDataError(DetailedBalanceError):
    """The data is too little for the answer; what could be computed is attached.

    Attributes
    ----------
    partial : Any
        What could be computed, or None.
    """

    def __init__(self, message: str, partial: Any = None) -> None:
        super().__init__(message)
        self.partial = partial


class ConvergenceError(DetailedBalanceError):
    """The solver stopped before it met its criteria; its last estimate is attached.

    Attributes
    ----------
    estimate : Any
        The last estimate, with its residuals.
    interrupted : bool
        Whether it was told to stop.
    """

    def __init__(self, message: str, estimate: Any = None, *, interrupted: bool = False) -> None:
        super().__init__(message)
        self.estimate = estimate
        self.interrupted = interrupted


class ReadError(DetailedBalanceError):
    """A trace could not be read; the message names the file, the line and what is wrong."""
