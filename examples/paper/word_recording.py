"""Recording a run of the word task from the command line: its store, its bar, its last line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.paper.word_agent import Tally
from detailed_balance.paper.word_plan import WordPlan
from detailed_balance.paper.word_run import ask_words
from detailed_balance.paper.word_task import letter_sum
from detailed_balance.text import rich_text, safe_text

__all__ = ["Recording", "read_vocabulary", "record"]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of a plan.

    Parameters
    ----------
    plan : WordPlan
        The plan.
    counts : TransitionCounts
        Its transitions.
    tally : Tally
        What the questions came to; of a store with a journal, also those asked before.
    """

    plan: WordPlan
    counts: TransitionCounts
    tally: Tally


def record(
    make: Callable[[int], BaseChatModel],
    plan: WordPlan,
    *,
    store: Path | None = None,
    max_concurrency: int = 8,
    prices: tuple[float, float] | None = None,
    durable: bool = False,
) -> Recording:
    """Ask what is left of a plan, with a progress bar, and print what it came to.

    Parameters
    ----------
    make : callable
        Returns a chat model, given how many questions are recorded already: a simulation that
        goes on must not repeat its random numbers.
    plan : WordPlan
        The questions.
    store : Path, optional
        The SQLite file to record to; the answers go to a journal beside it. None for memory.
    max_concurrency : int
        How many questions are asked at the same time.
    prices : (float, float), optional
        Of a million tokens in and out.
    durable : bool
        Whether each answer is on disk before the next question, so that none is paid for twice.

    Raises
    ------
    ModelFailedError
        Where the model fails again and again.
    """
    url = "sqlite://" if store is None else f"sqlite:///{store}"
    journal = None if store is None else store.with_name(f"{store.name}.{_slug(plan)}.jsonl")
    with TransitionStore(url, durability="sync" if durable else "batched") as opened:
        model = make(plan.recall(opened).questions.total())
        with _bar(plan, prices) as progress:
            tally = asyncio.run(
                ask_words(
                    model,
                    opened,
                    plan,
                    max_concurrency=max_concurrency,
                    journal=journal,
                    progress=progress,
                )
            )
        counts = opened.counts(context=plan.context)
    Console(highlight=False).print(rich_text(f"{plan.model}: {tally.describe(prices)}", 200))
    return Recording(plan, counts, tally)


def read_vocabulary(path: Path | None, target: int) -> frozenset[str] | None:
    """Return the words of a file, one a line, that have the sum `target`; None without a file.

    Raises
    ------
    InvalidInputError
        Where the file cannot be read, or holds no such word.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").upper().split()
    except OSError as error:
        raise InvalidInputError(f"--vocabulary {str(path)!r}: {error}") from error
    words = [word for word in lines if word.isascii() and word.isalpha()]
    fitting = frozenset(word for word in words if letter_sum(word) == target)
    if not fitting:
        raise InvalidInputError(
            f"--vocabulary {str(path)!r} has {len(words)} words, and the letters of none sum to "
            f"{target}; give one word a line, and the right --target"
        )
    return fitting


def _slug(plan: WordPlan) -> str:
    text = "-".join(value for _, value in plan.context)
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


@contextmanager
def _bar(
    plan: WordPlan, prices: tuple[float, float] | None
) -> Iterator[Callable[[int, Tally], None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[tally]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(safe_text(plan.model), total=plan.questions, tally="")

        def tell(done: int, tally: Tally) -> None:
            bar.update(task, completed=done, tally=tally.describe(prices))

        yield tell
