"""The demo: a LangGraph agent on the measured kernel of a real language model, and its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import PrivateAttr

from detailed_balance import Report, analyze
from detailed_balance.callbacks import TransitionCallbackHandler
from detailed_balance.callbacks.states import PromptStates

__all__ = ["MeasuredChatModel", "WordState", "build_agent", "run_demo", "word_states"]

REFUSAL = "(no single word)"
"""What the model says where the real one gave anything but one of the words."""


class MeasuredChatModel(BaseChatModel):
    """A chat model that answers as SmolLM2-135M-Instruct was measured to.

    Asked for a word related to one of its 150 words, it answers with one of them, each with the
    measured probability, or with a refusal: the rest of the probability.

    Attributes
    ----------
    temperature : float
        0.7 or 1.0.
    seed : int
        Of its random choices.
    """

    temperature: float = 0.7
    seed: int = 0
    _words: list[str] = PrivateAttr()
    _cumulative: np.ndarray = PrivateAttr()
    _random: np.random.Generator = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the kernel that was measured at this temperature."""
        path = files("detailed_balance.demo") / "smollm2_chat.npz"
        with path.open("rb") as file, np.load(file, allow_pickle=False) as measured:
            place = measured["temperatures"].tolist().index(self.temperature)
            self._words = measured["words"].tolist()
            self._cumulative = np.cumsum(np.exp(measured["logP"][place]), axis=1)
        self._random = np.random.default_rng(self.seed)

    @property
    def words(self) -> list[str]:
        """The words that it knows."""
        return self._words

    @property
    def _llm_type(self) -> str:
        return "measured-smollm2"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        row = self._cumulative[self._words.index(asked_word(messages) or "")]
        answer = int(np.searchsorted(row, self._random.random()))
        text = self._words[answer] if answer < len(row) else REFUSAL
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


class WordState(TypedDict):
    """What the agent holds: its word, the model's last answer, and how many questions it has."""

    word: str
    answer: str
    questions: int


def asked_word(messages: Sequence[BaseMessage]) -> str | None:
    """Return the word that the last message asks about."""
    found = re.search(r"related to '([^']*)'", messages[-1].text)
    return found.group(1) if found else None


def word_states(words: Sequence[str]) -> PromptStates:
    """Take the word asked about as the source and the answered word as the target of a call.

    An answer that is none of `words` is an escape.
    """
    known = frozenset(words)
    return PromptStates(
        prompt=asked_word, answer=lambda reply: reply.text if reply.text in known else None
    )


def build_agent(
    model: BaseChatModel, words: Sequence[str]
) -> CompiledStateGraph[WordState, None, WordState, WordState]:
    """Build the agent: one node asks the model for a related word, one checks the answer."""
    known = frozenset(words)

    def ask(state: WordState) -> dict[str, Any]:
        question = f"Give me one word related to '{state['word']}'. Only the word."
        return {"answer": model.invoke([HumanMessage(question)]).text}

    def check(state: WordState) -> dict[str, Any]:
        taken = state["answer"] if state["answer"] in known else state["word"]
        return {"word": taken, "questions": state["questions"] - 1}

    graph = StateGraph(WordState)
    graph.add_node("model", ask)
    graph.add_node("check", check)
    graph.add_edge(START, "model")
    graph.add_edge("model", "check")
    graph.add_conditional_edges("check", lambda state: "model" if state["questions"] else END)
    return graph.compile()


def run_demo(
    output: Path,
    *,
    steps: int = 20_000,
    threads: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Run the agent on many threads with the recorder attached, and write its report.

    Parameters
    ----------
    output : Path
        The folder for ``transitions.db`` (the store), ``report.html`` and ``report.json``; what
        an earlier demo left there is replaced.
    steps : int
        Questions to the model, over all threads.
    threads : int
        Threads of the agent (``thread_id``), each starting from a word of its own.
    progress : callable, optional
        Called with the steps done and the steps in all.

    Returns
    -------
    Report
        Made from the store.
    """
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("transitions.db*"):
        old.unlink()
    model = MeasuredChatModel()
    agent = build_agent(model, model.words)
    store = f"sqlite:///{output / 'transitions.db'}"
    recorder = TransitionCallbackHandler(word_states(model.words), store=store)
    for thread in range(threads):
        questions = steps // threads + (thread < steps % threads)
        agent.invoke(
            {"word": model.words[thread % len(model.words)], "answer": "", "questions": questions},
            {
                "callbacks": [recorder],
                "configurable": {"thread_id": f"thread-{thread}"},
                "recursion_limit": 2 * questions + 2,
            },
        )
        if progress is not None:
            progress((thread + 1) * steps // threads, steps)
    recorder.close()
    report = analyze(store)
    report.to_html(output / "report.html")
    report.to_json(output / "report.json")
    return report
