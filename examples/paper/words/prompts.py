"""Exact kernels of SmolLM2-135M-Instruct under four prompts: measured once, kept beside this file.

Without the extra `local-llm` the kernels that were kept are used; `contexts.py --measure` computes
them anew.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from examples.paper import DATA
from examples.paper.smollm2.kernel import TokenModel, answer_log_probabilities
from examples.paper.smollm2.prompts import RELATED_WORD, Chat

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROMPTS", "load_demo_kernels", "load_prompt_kernels", "measure_prompt_kernels"]


def _with_examples(system: str, question: str, *examples: tuple[str, str]) -> Chat:
    shown = [
        message
        for word, answer in examples
        for message in (("user", question.replace("{word}", word)), ("assistant", answer))
    ]
    return (("system", system), *shown, ("user", question))


PROMPTS: dict[str, Chat] = {
    "related": RELATED_WORD,
    "other examples": _with_examples(
        "Reply with one word.",
        "Give me one word related to '{word}'. Only the word.",
        ("candle", "flame"),
        ("teacher", "school"),
    ),
    "comes to mind": _with_examples(
        "You play a game of words. Answer with a single word.",
        "What is the first word that comes to mind when you hear '{word}'?",
        ("hammer", "nail"),
        ("pillow", "sleep"),
    ),
    "opposite": _with_examples(
        "Reply with one word.",
        "Give me one word that means the opposite of '{word}'. Only the word.",
        ("hot", "cold"),
        ("tall", "short"),
    ),
}
"""Three ways to ask for a related word, and another task: its opposite."""

KEPT = "smollm2_prompts.npz"
"""The file of the kernels, at temperature 1; its origin is told in ``smollm2_prompts.md``."""


def load_demo_kernels() -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Return the words, and log T of "related" at each temperature as it was published."""
    path = files("detailed_balance.demo") / "smollm2_chat.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        names = [f"T = {temperature:g}" for temperature in kept["temperatures"].tolist()]
        return tuple(kept["words"].tolist()), dict(zip(names, kept["logP"], strict=True))


def load_prompt_kernels() -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Return the words, and log T of each prompt, (n, n) in nats, as they were kept."""
    with np.load(DATA / KEPT, allow_pickle=False) as kept:
        logs = kept["logP"].astype(np.float64)
        return tuple(kept["words"].tolist()), dict(zip(kept["prompts"].tolist(), logs, strict=True))


def measure_prompt_kernels(
    model: TokenModel, words: tuple[str, ...], path: Path | None = None
) -> dict[str, NDArray[np.float64]]:
    """Compute log T of each prompt, and keep them in a file at `path`."""
    found = {}
    for name, prompt in PROMPTS.items():
        tell = partial(_tell_progress, name)
        (found[name],) = answer_log_probabilities(model, words, prompt=prompt, progress=tell)
    if path is not None:
        logs = np.array(list(found.values()), dtype=np.float32)
        np.savez_compressed(path, words=np.array(words), prompts=np.array(list(found)), logP=logs)
    return found


def _tell_progress(name: str, done: int, total: int) -> None:
    print(f"\r{name}: {done} of {total} words", end="\n" * (done == total), file=sys.stderr)
