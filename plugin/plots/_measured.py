"""What pictures are drawn of: reports and results as they are, counts measured first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from scipy.sparse import csr_array, diags_array

from detailed_balance.analyzers import (
    BalanceReport,
    Kernel,
    Potential,
    TransitionCounts,
    check_balance,
    estimate_potential,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.kernel import KernelLike, read_chain

if TYPE_CHECKING:
    from detailed_balance.analyzers import TrapReport

Moves: TypeAlias = "csr_array[Any, tuple[int, int]]"


@runtime_checkable
class PlottedReport(Protocol):
    """A `Report`, as far as pictures need it."""

    @property
    def counts(self) -> TransitionCounts: ...
    @property
    def potential(self) -> Potential | None: ...
    @property
    def balance(self) -> BalanceReport | None: ...
    @property
    def traps(self) -> TrapReport: ...
    @property
    def reason(self) -> str: ...


class CountsWithBalance(NamedTuple):
    """What pictures of balance are drawn of."""

    counts: TransitionCounts
    balance: BalanceReport


def measure_balance(source: object, counts: TransitionCounts | None = None) -> CountsWithBalance:
    """Return the balance report of a report or of counts, or one that is given with its counts.

    Raises
    ------
    InsufficientDataError
        Where data are too few for a potential.
    InvalidInputError
        Where a kernel is given, or a balance report without counts.
    """
    if isinstance(source, PlottedReport):
        if source.balance is None:
            raise InsufficientDataError(f"there is no potential to draw: {source.reason}")
        return CountsWithBalance(source.counts, source.balance)
    if isinstance(source, BalanceReport):
        if counts is None:
            raise InvalidInputError("a BalanceReport alone knows no counts: give them as well")
        return CountsWithBalance(counts, source)
    chain, runs = read_chain(source)  # type: ignore[arg-type] # it refuses what it does not know
    if isinstance(chain, Kernel):
        raise InvalidInputError(
            "a kernel has no counts, and so no errors to draw; plot_landscape draws a kernel"
        )
    try:
        return CountsWithBalance(chain, check_balance(chain if runs is None else runs))
    except InsufficientDataError as error:
        if not isinstance(error.partial, BalanceReport):
            raise
        return CountsWithBalance(chain, error.partial)


def measure_potential(
    source: Potential | KernelLike, counts: TransitionCounts | None
) -> tuple[Potential, Moves]:
    """Return the potential, and the (n, n) moves between its states: counts where they are known.

    Of a known kernel they are its probabilities.
    """
    if isinstance(source, Potential):
        potential = source
    else:
        chain, runs = read_chain(source)
        counts = chain if counts is None and not isinstance(chain, Kernel) else counts
        potential = estimate_potential(chain if runs is None else runs)
    if counts is not None:
        return potential, counts.restrict(potential.states).counts
    kernel = potential.kernel
    if kernel.attempts is None:
        return potential, kernel.probabilities
    return potential, csr_array(diags_array(kernel.attempts) @ kernel.probabilities)
