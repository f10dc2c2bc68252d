"""What a guard costs per event, as a ratio to the walk that measures repetition alone.

python -m benchmarks.statistics.guard_cost

The runs are those of `benchmarks.statistics._scripted_agents`; each figure is the least of five.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from benchmarks.statistics.guard_tasks import scripted
from detailed_balance.analyzers import OutcomeScore, RepetitionLimits
from detailed_balance.analyzers.repetition.walk import RepetitionTracker


def main() -> None:
    """Print the table."""
    table, texts = scripted()
    runs = [(run.moves, run.facts, [*texts[str(run.name)], None]) for run in table]

    def seconds(start: Callable[[], Callable[..., object]], *, steps: bool) -> float:
        times = []
        for _ in range(5):
            begin = perf_counter()
            for moves, facts, said in runs:
                update = start()
                for move, known, text in zip(moves, facts, said, strict=False):
                    if steps:
                        update(*move, known, text)
                    else:
                        update(*move)
            times.append(perf_counter() - begin)
        return min(times)

    walk = seconds(lambda: RepetitionTracker().update, steps=False)
    print("| score | microseconds an event | times the walk |\n|---|---|---|")
    print(f"| the walk of repetition alone | {walk / table.total * 1e6:.1f} | 1 |")
    scores = {
        "declared limits": (RepetitionLimits(max_stay=9), False),
        "states and facts": (OutcomeScore().fit(table), True),
        "and memory": (OutcomeScore(memory=3).fit(table), True),
        "text and facts": (OutcomeScore(text="ngrams").fit(table, texts=texts), True),
    }
    for name, (score, steps) in scores.items():
        each = seconds(lambda score=score: score.start().update, steps=steps)  # type: ignore[misc]
        print(f"| {name} | {each / table.total * 1e6:.1f} | {each / walk:.1f} |", flush=True)


if __name__ == "__main__":
    main()
