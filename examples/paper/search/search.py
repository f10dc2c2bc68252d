"""`search_potential`: a chat model writes feature functions, the held-out action judges them."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from langgraph.graph import END, START, StateGraph

from detailed_balance.analyzers import (
    ExplicitPotential,
    Exponential,
    Kernel,
    TransitionCounts,
    check_violation_function,
    estimate_kernel,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.analyzers.potential.features import FeatureFunction
from detailed_balance.analyzers.results import Table, plain
from detailed_balance.render.formatting import safe_text
from examples.paper.search.journal import Journal
from examples.paper.search.judge import Judge
from examples.paper.search.prompts import extract_program, make_prompt
from examples.paper.search.proposals import Islands, Proposal
from examples.paper.search.sandbox import Limits

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig
    from langgraph.graph.state import CompiledStateGraph

    from detailed_balance.analyzers import ViolationFunction

__all__ = ["FIRST_PROGRAM", "ChatModel", "PotentialSearch", "search_potential"]

ChatModel: TypeAlias = "Runnable[LanguageModelInput, BaseMessage]"
"""A chat model of LangChain, or what answers as one."""

_EXAMPLES = 12
_NODES = 3
_SHOWN = 10

FIRST_PROGRAM = '''\
def features(state: str) -> dict[str, float]:
    """The length of the text."""
    return {"length": len(state)}
'''
"""The program that a search begins with by default."""


@dataclass(frozen=True, slots=True, eq=False)
class PotentialSearch:
    """The best program of a search, the potential made of its features, and all that was tried.

    Parameters
    ----------
    potential : ExplicitPotential
        Fitted to all moves; its features run in the sandbox wherever they are computed.
    best : Proposal
        The program with the lowest held-out action.
    reserved_action : float
        The action of the moves from states that neither the fit nor the choice had seen, as a
        share of what they have without a potential; NaN where none were reserved.
    history : tuple of Proposal
        Every proposal, in order.
    settings : dict
        What the search was asked to do.
    """

    potential: ExplicitPotential
    best: Proposal
    reserved_action: float
    history: tuple[Proposal, ...]
    settings: dict[str, Any]

    @property
    def program(self) -> str:
        """The text of the best program."""
        return self.best.program

    @property
    def features(self) -> FeatureFunction | tuple[FeatureFunction, ...]:
        """The features of the best program, as a function; it runs in the sandbox."""
        return self.potential.features

    def to_table(self) -> Table:
        """Return the columns number, island, status, score, features and seconds."""
        columns = ("number", "island", "status", "score", "features", "seconds")
        return {name: [getattr(proposal, name) for proposal in self.history] for name in columns}

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has, settings included."""
        result = {
            "program": self.program,
            "best": self.best.to_dict(),
            "reserved_action": self.reserved_action,
            "potential": self.potential.to_dict(),
            "history": [proposal.to_dict() for proposal in self.history],
            "settings": self.settings,
        }
        return dict(plain(result))

    def __str__(self) -> str:
        counted = Counter(proposal.status for proposal in self.history)
        outcomes = ", ".join(f"{count} {status}" for status, count in counted.most_common())
        weights = self.potential.to_table()
        lines = [
            f"{len(self.history)} programs: {outcomes}",
            f"best: number {self.best.number}, held-out action {self.best.score:.4f}, "
            f"{self.reserved_action:.4f} of moves never used",
            *(f"  {safe_text(line, 96)}" for line in self.program.splitlines()),
            *(
                f"{theta:+10.4f}  {safe_text(name, 40)}"
                for name, theta in list(zip(weights["feature"], weights["theta"], strict=True))[
                    :_SHOWN
                ]
            ),
        ]
        return "\n".join(lines)


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
    out. Now and then the weaker half of the islands is settled again from the stronger half.

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
        Called with each proposal when it is judged.

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
        loop = _SearchLoop(
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
    """Return a digest, by which the log of another kernel is refused."""
    entries = kernel.probabilities.tocsr().sorted_indices()
    parts = (entries.indptr, entries.indices, entries.data)
    digest = hashlib.blake2b(repr(kernel.states).encode(), digest_size=8)
    for part, kind in zip(parts, ("i8", "i8", "f8"), strict=True):
        digest.update(part.astype(kind).tobytes())
    return digest.hexdigest()


class _Step(TypedDict):
    """What the nodes hand on."""

    number: int
    proposal: Proposal | None


class _SearchLoop:
    """One program after the other; what the journal knows is neither asked nor judged again.

    Parameters
    ----------
    model : ChatModel
        Who writes.
    judge : Judge
        Who scores.
    journal : Journal
        What is known already, and where the rest is kept.
    islands : Islands
        Where the best live.
    programs : sequence of str
        The first ones.
    """

    def __init__(
        self,
        model: ChatModel,
        judge: Judge,
        journal: Journal,
        *,
        islands: Islands,
        programs: Sequence[str],
    ) -> None:
        self._model, self._judge, self._journal = model, judge, journal
        self._islands, self._programs = islands, programs
        self._history: list[Proposal] = []

    def run(
        self,
        rounds: int,
        *,
        reseed_every: int,
        config: RunnableConfig | None = None,
        progress: Callable[[Proposal], None] | None = None,
    ) -> list[Proposal]:
        """Ask each island once a round; return every proposal, in order."""
        total = len(self._programs) + rounds * len(self._islands.members)
        if not total:
            return []
        options: RunnableConfig = {} if config is None else config.copy()
        options["recursion_limit"] = _NODES * total + _NODES
        graph = self._graph(total, reseed_every * len(self._islands.members), progress)
        first: _Step = {"number": 0, "proposal": None}
        graph.invoke(first, options)
        return self._history

    def _graph(
        self, total: int, period: int, progress: Callable[[Proposal], None] | None
    ) -> CompiledStateGraph[_Step, None, _Step, _Step]:
        def keep(state: _Step) -> dict[str, Any]:
            proposal, done = state["proposal"], state["number"] + 1
            assert proposal is not None  # noqa: S101 - the node before made it
            self._islands.add(proposal)
            self._history.append(proposal)
            if progress is not None:
                progress(proposal)
            asked = done - len(self._programs)
            if asked > 0 and asked % period == 0:
                self._islands.reseed(done)
            return {"number": done}

        graph = StateGraph(_Step)
        graph.add_node("ask", self._ask)
        graph.add_node("judge", self._decide)
        graph.add_node("keep", keep)
        graph.add_edge(START, "ask")
        graph.add_edge("ask", "judge")
        graph.add_edge("judge", "keep")
        graph.add_conditional_edges("keep", lambda state: "ask" if state["number"] < total else END)
        return graph.compile()

    def _ask(self, state: _Step) -> dict[str, Any]:
        number = state["number"]
        first = len(self._programs)
        if number < first:
            return {"proposal": Proposal(number, None, (), self._programs[number], "ok")}
        island = (number - first) % len(self._islands.members)
        answer = self._journal.answers.get(number) or self._question(number, island)
        parents = tuple(answer["parents"])
        if answer["reply"] is None:
            return {"proposal": Proposal(number, island, parents, "", "no answer", answer["error"])}
        program = extract_program(answer["reply"])
        if program is None:
            reason = "the answer has no code block that defines features(state)"
            return {"proposal": Proposal(number, island, parents, "", "no program", reason)}
        return {"proposal": Proposal(number, island, parents, program, "ok")}

    def _question(self, number: int, island: int) -> dict[str, Any]:
        """Ask the chat model; a provider that fails has failed this once."""
        parents = self._islands.parents(island, number)
        examples = self._judge.examples(_EXAMPLES, number)
        prompt = make_prompt(parents, examples, self._judge.limits.features)
        begun, reply, error = time.monotonic(), None, ""
        try:
            reply = str(self._model.invoke(prompt).text)
        except Exception as failure:  # whatever the provider raises
            error = f"{type(failure).__name__}: {failure}"[:500]
        return self._journal.answer(
            number,
            island=island,
            parents=[parent.number for parent in parents],
            reply=reply,
            error=error,
            seconds=time.monotonic() - begun,
        )

    def _decide(self, state: _Step) -> dict[str, Any]:
        proposal = state["proposal"]
        assert proposal is not None  # noqa: S101 - the node before made it
        if (known := self._journal.verdicts.get(proposal.number)) is not None:
            return {"proposal": _restore(known)}
        judged = self._verdict(proposal)
        self._journal.verdict(judged.to_dict())
        return {"proposal": judged}

    def _verdict(self, proposal: Proposal) -> Proposal:
        if proposal.status != "ok":
            return proposal
        for earlier in self._history:
            if earlier.program == proposal.program:
                return proposal.repeated(earlier)
        return self._judge.judge(proposal)


def _restore(record: dict[str, Any]) -> Proposal:
    """Make a proposal from its line in the journal."""
    known = {field.name: record[field.name] for field in fields(Proposal)}
    return Proposal(**{**known, "parents": tuple(known["parents"])})
