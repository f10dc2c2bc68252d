"""`SearchLoop`, the LangGraph loop of a search: ask, judge, keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from langgraph.graph import END, START, StateGraph

from examples.paper.search.journal import Journal
from examples.paper.search.judge import Judge
from examples.paper.search.prompts import extract_program, make_prompt
from examples.paper.search.proposals import Islands, Proposal

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["ChatModel", "SearchLoop"]

ChatModel: TypeAlias = "Runnable[LanguageModelInput, BaseMessage]"
"""A chat model of LangChain, or what answers as one."""

_EXAMPLES = 12
_NODES = 3


class _Step(TypedDict):
    """What the nodes hand on."""

    number: int
    proposal: Proposal | None


class SearchLoop:
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
