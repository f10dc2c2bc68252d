"""`search_potential`: a chat model writes feature functions, the held-out action judges them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from detailed_balance.analyzers import (
    Exponential,
    Kernel,
    TransitionCounts,
    check_violation_function,
    estimate_kernel,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.kernel import Attempts
from examples.paper.search.journal import Journal
from examples.paper.search.judge import Judge
from examples.paper.search.proposals import Islands, Proposal
from examples.paper.search.result import PotentialSearch
from examples.paper.search.rounds import SearchLoop
from examples.paper.search.sandbox import Limits

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from detailed_balance.analyzers import ViolationFunction
    from examples.paper.search.rounds import ChatModel

__all__ = ["FIRST_PROGRAM", "search_potential"]

FIRST_PROGRAM = '''\
def features(state: str) -> dict[str, float]:
    """The length of the text."""
    return {"length": len(state)}
'''
"""The program that a search begins with by default."""


def search_potential(
    counts: TransitionCounts | Kernel,
    chat_model: ChatModel,
    *,
    islands: int = 4,
    rounds: int = 10,
    programs: Sequence[str] = (FIRST_PROGRAM,),
    reseed_every: int = 5,
    log: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    folds: int = 5,
    penalties: int = 20,
    reserve: float = 0.2,
    seed: int = 0,
    config: RunnableConfig | None = None,
    progress: Callable[[Proposal], None] | None = None,
) -> PotentialSearch:
    """Have a chat model write feature functions, and keep those that predict held-out moves.

    In each round each island shows two of its programs to the model, the better one last, and asks
    for a better one still. What it writes runs in the sandbox (`run_candidate`), an explicit
    potential is fitted to its features, and its score is the action of the moves from states held
    out. Now and then the weaker half of the islands is settled anew from the stronger half.

    Parameters
    ----------
    counts : TransitionCounts or Kernel
        What was recorded, or a kernel that is known.
    chat_model : BaseChatModel or other Runnable
        What is asked; ``chat_model.with_retry()`` tries again where a provider fails.
    islands, rounds : int
        How many; islands * rounds programs are asked for.
    programs : sequence of str
        The programs to begin with, on every island.
    reseed_every : int
        Rounds between two settlements.
    log : path, optional
        Where everything is kept, as JSON Lines. A search that finds its own log goes on from
        there: nothing that was answered is asked again, nothing judged is judged again.
    limits : Limits, optional
        Of the sandbox.
    violation, attempts, min_attempts, folds, penalties
        As for `fit_explicit_potential`.
    reserve : float
        The share of the states whose moves neither fit nor choice sees, from 0 to below 1: the
        best of many scores is too good, and the action of these moves is not.
    seed : int
        Of every random choice of ours.
    config : RunnableConfig, optional
        Of the graph: the search is a LangGraph agent, and can be recorded as any other.
    progress : callable, optional
        Told of each proposal when it is judged.

    Raises
    ------
    InsufficientDataError
        Where there are too few states, or no program works; the history is attached.
    InvalidInputError
        Where an argument is not allowed, or the log is of another search.

    Examples
    --------
    >>> from langchain_core.language_models import FakeListChatModel
    >>> names = ["a" * n for n in range(1, 25)]
    >>> edges = [(f, f[1:], 90) for f in names[1:]] + [(f, f + "a", 10) for f in names[:-1]]
    >>> counts = TransitionCounts.from_edges(edges)
    >>> worse = "def features(state): return {'odd': len(state) % 2}"
    >>> model = FakeListChatModel(responses=[worse, "I cannot."])
    >>> found = search_potential(counts, model, islands=1, rounds=2)
    >>> found.best.number, [proposal.status for proposal in found.history]
    (0, ['ok', 'ok', 'no program'])
    """
    if islands < 1 or rounds < 0 or reseed_every < 1 or not 0 <= reserve < 1:
        raise InvalidInputError(
            f"islands={islands!r}, rounds={rounds!r}, reseed_every={reseed_every!r}, "
            f"reserve={reserve!r}; allowed are 1 or more, 0 or more, 1 or more, and 0 to below 1"
        )
    violation = violation if violation is not None else Exponential()
    check_violation_function(violation)
    kernel = _kernel(counts, attempts, min_attempts)
    limits = limits if limits is not None else Limits()
    measure = {"folds": folds, "penalties": penalties, "seed": seed}
    judge = Judge(kernel, violation, **measure, reserve=reserve, limits=limits)
    settings = {
        **measure,
        "islands": islands,
        "reseed_every": reseed_every,
        "reserve": reserve,
        "violation": repr(violation),
        "programs": list(programs),
        "kernel": _digest(kernel),
    }
    with Journal(log, settings) as journal:
        loop = SearchLoop(
            chat_model, judge, journal, islands=Islands(islands, seed), programs=programs
        )
        history = loop.run(rounds, reseed_every=reseed_every, config=config, progress=progress)
    best = min(history, key=lambda proposal: proposal.rank, default=None)
    if best is None or best.score is None:
        raise InsufficientDataError(
            f"none of {len(history)} programs could be scored; the history, which is attached, "
            "says why",
            partial=history,
        )
    potential, reserved_action = judge.finish(best.program)
    return PotentialSearch(
        potential,
        best,
        reserved_action,
        tuple(history),
        {**settings, "rounds": rounds, "limits": limits},
    )


def _kernel(counts: TransitionCounts | Kernel, attempts: Attempts, min_attempts: int) -> Kernel:
    if isinstance(counts, Kernel):
        return counts
    known = counts.without_boundaries()
    return estimate_kernel(known, attempts=attempts, min_attempts=min_attempts)


def _digest(kernel: Kernel) -> str:
    """Return what tells two kernels apart."""
    entries = kernel.probabilities.tocsr().sorted_indices()
    parts = (entries.indptr, entries.indices, entries.data)
    digest = hashlib.blake2b(repr(kernel.states).encode(), digest_size=8)
    for part, kind in zip(parts, ("i8", "i8", "f8"), strict=True):
        digest.update(part.astype(kind).tobytes())
    return digest.hexdigest()
