"""Many questions of the word task side by side, recorded, and gone on with after a stop.

What is recorded is all that a run needs to know: a probe that is in the store is done, and the
words found are those in the store. So the same call goes on where it was, however it stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.paper.word_agent import Answer, Tally, WordState, build_word_agent
from detailed_balance.paper.word_plan import Recorded, WordPlan
from detailed_balance.text import safe_text

__all__ = ["ModelFailedError", "ask_words", "read_journal"]


class ModelFailedError(DetailedBalanceError):
    """So many calls of a model failed one after another that going on would be no use."""


async def ask_words(
    model: Runnable[LanguageModelInput, AIMessage],
    store: TransitionStore,
    plan: WordPlan,
    *,
    max_concurrency: int = 8,
    max_failures: int = 20,
    journal: Path | None = None,
    progress: Callable[[int, Tally], None] = lambda done, tally: None,
) -> Tally:
    """Ask the questions of a plan that are not recorded yet, and record them.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain.
    store : TransitionStore
        What is recorded already, and where the rest goes. With the durability "sync" a kill loses
        no answer; else those of the last 0.2 s may be lost, and are asked for again.
    plan : WordPlan
        The questions.
    max_concurrency : int
        How many are asked at the same time.
    max_failures : int
        After so many failed calls one after another the run stops. Each of them is an escape.
    journal : Path, optional
        A file that gets a line of JSON for each answer, also those that are no transition: what
        the model said, its kind, its tokens. `read_journal` adds it up.
    progress : callable, optional
        Told how many questions are done, and the tally so far.

    Returns
    -------
    Tally
        Of this call and, in the journal, of those before.

    Raises
    ------
    InvalidInputError
        Where a setting is out of range.
    ModelFailedError
        Where `max_failures` calls failed one after another; what was recorded stays.

    Examples
    --------
    >>> from detailed_balance.paper.word_tables import TableChatModel
    >>> with TransitionStore("sqlite://") as store:
    ...     tally = asyncio.run(ask_words(TableChatModel(), store, WordPlan("BUZZY", 50)))
    ...     tally.questions, len(store)
    (50, 50)
    """
    for name, value in (("max_concurrency", max_concurrency), ("max_failures", max_failures)):
        if value < 1:
            raise InvalidInputError(f"{name}={value!r}; it must be 1 or more")
    recorded = plan.recall(store)
    threads = iter(list(plan.threads(recorded)))
    notes = _Notes(read_journal(journal), recorded, progress, max_failures)
    agent = build_word_agent(model, plan.task, notes.add, plan.chooser(recorded))
    handler = TransitionCallbackHandler(
        plan.task.states(), store=store, context=plan.context, labels=()
    )

    async def work() -> None:
        for thread, word, left in threads:
            config = RunnableConfig(
                callbacks=[handler],
                configurable={"thread_id": thread},
                recursion_limit=left + 1,
            )
            await agent.ainvoke(WordState(word=word, questions=left), config)

    with nullcontext() if journal is None else journal.open("a", encoding="ascii") as notes.file:
        try:
            await _side_by_side([work() for _ in range(max_concurrency)])
        finally:
            handler.close()
    return notes.tally


def read_journal(path: Path | None) -> Tally:
    """Add up the answers of a journal; a line that a kill has cut short is passed over."""
    tally = Tally()
    if path is not None and path.exists():
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            try:
                tally.add(Answer(**json.loads(line)))
            except (TypeError, ValueError):
                continue
    return tally


@dataclass(slots=True)
class _Notes:
    """What is done with every answer."""

    tally: Tally
    recorded: Recorded
    progress: Callable[[int, Tally], None]
    max_failures: int
    file: TextIO | None = None
    asked: int = 0
    failed: int = 0

    def add(self, answer: Answer) -> None:
        self.tally.add(answer)
        if answer.word is not None:
            self.recorded.find(answer.word)
        if self.file is not None:
            # The line end comes first: a line that a kill cuts short must not spoil the next one.
            self.file.write("\n" + json.dumps(asdict(answer)))
            self.file.flush()
        self.asked += 1
        self.progress(self.recorded.questions.total() + self.asked, self.tally)
        self.failed = self.failed + 1 if answer.escape == "failed" else 0
        if self.failed >= self.max_failures:
            raise ModelFailedError(_no_use(self.failed, answer))


def _no_use(failed: int, last: Answer) -> str:
    return (
        f"{failed} calls of the model failed one after another, the last with "
        f"{safe_text(last.text, 200)}. What was recorded is kept: start again to go on, with fewer "
        "calls at a time or more retries of the model where the provider's limits are the reason"
    )


async def _side_by_side(works: list[Coroutine[None, None, None]]) -> None:
    """Do all of it at the same time; where one fails the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
