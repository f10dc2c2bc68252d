"""What happens to a kernel when an agent asks many times and goes by the majority."""

from __future__ import annotations

from dataclasses import replace

from scipy.special import betainc

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.kernel import Kernel, KernelLike, read_kernel

__all__ = ["majority_vote_kernel"]


def majority_vote_kernel(kernel: KernelLike, votes: int, needed: int) -> Kernel:
    """Return the kernel of an agent that asks for `votes` answers and takes one given often enough.

    T*(g<-f) is the probability that `needed` or more of the answers are g, the regularised
    incomplete beta function I_T(needed, votes - needed + 1). Where T is small it goes like
    T^needed, so that the potential becomes about `needed` times as deep.

    Parameters
    ----------
    kernel : KernelLike
        The kernel of one answer; of counts as `estimate_kernel` makes it.
    votes : int
        M, how many answers are asked for.
    needed : int
        n, how many of them must agree; at least half. At just half, two states may win at once,
        and both count, as in the paper: a row may then sum to more than 1.

    Returns
    -------
    Kernel
        Known as exactly as `kernel`. What is missing in a row is the probability that no state
        wins.

    Raises
    ------
    InvalidInputError
        Where `needed` is less than half of `votes`, or more than all of them.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 29 and 30, Fig. 12.

    Examples
    --------
    >>> once = Kernel.from_matrix([[0.5, 0.5], [0.1, 0.9]], ("draft", "final"))
    >>> majority_vote_kernel(once, votes=3, needed=2).probabilities.toarray().round(3).tolist()
    [[0.5, 0.5], [0.028, 0.972]]
    """
    if not 0 < votes / 2 <= needed <= votes:
        raise InvalidInputError(
            f"needed={needed!r} of votes={votes!r}: needed must be at least half of the votes, or "
            "several states could win at once, and at most all of them"
        )
    kernel = read_kernel(kernel)
    won = kernel.probabilities.copy()
    won.data = betainc(needed, votes - needed + 1, won.data.clip(0.0, 1.0))
    return replace(kernel, probabilities=won, attempts=None, mode=f"{needed} of {votes} votes")
