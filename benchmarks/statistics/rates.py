"""Watched rates: alarms where nothing changes, how soon one comes where a rate goes up, since when.

Run ``python -m benchmarks.statistics.rates``. Runs fail with probability 5%, or 20% after the
change. In batches of 20 the rate of a batch is drawn from a beta law with that mean, so that its
runs resemble each other. The peers are the CUSUM of the likelihood ratio of 20% against 5%, with a
limit that 5% of other simulated records reach, and scipy's binomial test after every 100 runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from statistics import median

import numpy as np
from scipy import stats

from detailed_balance.analyzers import RateMartingale, WatchedRates, find_change

__all__ = ["change_points", "false_alarms", "power"]

ALPHA, USUAL, HIGHER = 0.05, 0.05, 0.2
STREAMS, RUNS, CHANGE, BATCH = 20, 1_000, 500, 20
NAMES = [f"rate {i}" for i in range(STREAMS)]
LIKENESS = 10.0
"""The sum of the parameters of the beta law of the rate of a batch."""

Alarm = Callable[[np.ndarray, np.random.Generator], int | None]


class PlainStreams:
    """A test at alpha for each stream."""

    def __init__(self) -> None:
        self.streams = {name: RateMartingale(USUAL, alpha=ALPHA) for name in NAMES}

    def update(self, name: str, value: float, block: int | None) -> None:
        """Add a run."""
        self.streams[name].update(value, block)

    def flush(self) -> None:
        """End the blocks."""
        for stream in self.streams.values():
            stream.flush()

    @property
    def alarms(self) -> list[str]:
        """The streams with an alarm."""
        return [name for name, stream in self.streams.items() if stream.alarm]


def draw(rates: np.ndarray, rng: np.random.Generator, batch: int | None = None) -> np.ndarray:
    """Draw the outcome of each run; those of a batch have the same drawn rate."""
    if batch:
        mean = rates[::batch]
        rates = np.repeat(rng.beta(mean * LIKENESS, (1 - mean) * LIKENESS), batch)
    return (rng.random(len(rates)) < rates).astype(float)


def usual(runs: int, rng: np.random.Generator, batch: int | None = None) -> np.ndarray:
    """Draw runs before the change: their values, or the means of their batches."""
    values = draw(np.full(runs * (batch or 1), USUAL), rng, batch)
    return values.reshape(runs, -1).mean(axis=1)


def share(count: int, records: int) -> str:
    """Return a share with its binomial standard error."""
    part = count / records
    return f"{part:.1%} ± {sqrt(part * (1 - part) / records):.1%}"


def _by_limits(_: np.random.Generator) -> WatchedRates:
    return WatchedRates(limits=dict.fromkeys(NAMES, USUAL), alpha=ALPHA)


def _by_baselines(rng: np.random.Generator, batch: int | None = None) -> WatchedRates:
    return WatchedRates(baselines={name: usual(300, rng, batch) for name in NAMES}, alpha=ALPHA)


NULLS: Mapping[str, tuple[Callable[..., WatchedRates | PlainStreams], int | None, int | None]] = {
    "`limits` of 5%": (_by_limits, None, None),
    "`baselines` of 300 runs": (_by_baselines, None, None),
    "`warm_up` of 100 runs": (lambda _: WatchedRates(warm_up=100, alpha=ALPHA), None, None),
    "20 tests at 5% each": (lambda _: PlainStreams(), None, None),
    "batches with `block`, `limits` of 5%": (_by_limits, BATCH, BATCH),
    "batches with `block`, `baselines` of 300 batches": (
        lambda rng: _by_baselines(rng, BATCH),
        BATCH,
        BATCH,
    ),
    "batches with `block`, 20 tests at 5% each": (lambda _: PlainStreams(), BATCH, BATCH),
    "batches without `block`, `limits` of 5%": (_by_limits, BATCH, None),
}


def false_alarms(records: int) -> Iterator[str]:
    """Yield a row for each way to watch 20 rates that stay at 5%."""
    yield "| 20 rates, 1,000 runs each, nothing changes | any alarm |"
    yield "|---|---|"
    for place, (name, (make, batch, block)) in enumerate(NULLS.items()):
        rng, alarms = np.random.default_rng([1, place]), 0
        for _ in range(records):
            rates = make(rng)
            for stream in NAMES:
                for run, value in enumerate(draw(np.full(RUNS, USUAL), rng, batch).tolist()):
                    rates.update(stream, value, run // block if block else None)
            rates.flush()
            alarms += bool(rates.alarms)
        yield f"| {name} | {share(alarms, records)} |"


def watch(rate: RateMartingale, values: np.ndarray, block: int | None = None) -> int | None:
    """Return after how many runs there was an alarm."""
    for run, value in enumerate(values.tolist()):
        rate.update(value, run // block if block else None)
        if block and (run + 1) % block == 0:
            rate.flush()
        if rate.alarm:
            return run + 1
    return None


def cusum(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the CUSUM of the log likelihood ratio after each run, in nats."""
    steps = np.where(values > 0, np.log(high / low), np.log((1 - high) / (1 - low)))
    walk = np.cumsum(steps)
    return walk - np.minimum(np.minimum.accumulate(walk), 0)


def _cusum_limit() -> float:
    rng = np.random.default_rng(2)
    tops = [cusum(usual(RUNS, rng), USUAL, HIGHER).max() for _ in range(20_000)]
    return float(np.quantile(tops, 1 - ALPHA))


def _first(reached: np.ndarray) -> int | None:
    return int(reached.argmax()) + 1 if reached.any() else None


def _by_bound(runs: int, values: np.ndarray, rng: np.random.Generator) -> int | None:
    failed = usual(runs, rng).sum()
    bound = stats.beta.ppf(1 - ALPHA / 2, failed + 1, runs - failed)
    return watch(RateMartingale(bound, alpha=ALPHA / 2), values)


def _by_binomial(values: np.ndarray, _: np.random.Generator) -> int | None:
    for look in range(100, len(values) + 1, 100):
        failed = int(values[:look].sum())
        if stats.binomtest(failed, look, USUAL, alternative="greater").pvalue <= ALPHA:
            return look
    return None


def methods() -> dict[str, tuple[Alarm, int | None]]:
    """Return what the table of power compares: a method, and the size of batches."""
    limit = _cusum_limit()
    found: dict[str, tuple[Alarm, int | None]] = {
        "`RateMartingale(limit=0.05)`": (lambda x, _: watch(RateMartingale(USUAL), x), None),
        "the same, one of 20 `WatchedRates`": (
            lambda x, _: watch(RateMartingale(USUAL, alpha=ALPHA / (STREAMS + 1)), x),
            None,
        ),
    }
    for runs in (100, 300, 1_000):
        found[f"`RateMartingale(baseline=...)` of {runs:,} runs"] = (
            lambda x, rng, runs=runs: watch(RateMartingale(baseline=usual(runs, rng)), x),
            None,
        )
        found[f"upper bound of {runs:,} runs as `limit`, alpha / 2 for each"] = (
            lambda x, rng, runs=runs: _by_bound(runs, x, rng),
            None,
        )
    found["CUSUM, 5% and 20% known"] = (
        lambda x, _: _first(cusum(x, USUAL, HIGHER) >= limit),
        None,
    )
    found["CUSUM, 5% taken from 300 runs"] = (
        lambda x, rng: _first(
            cusum(x, low := max(usual(300, rng).mean(), 1 / 300), 4 * low) >= limit
        ),
        None,
    )
    found["binomial test every 100 runs"] = (_by_binomial, None)
    found["batches with `block`, `RateMartingale(limit=0.05)`"] = (
        lambda x, _: watch(RateMartingale(USUAL), x, BATCH),
        BATCH,
    )
    found["batches, CUSUM by runs"] = (lambda x, _: _first(cusum(x, USUAL, HIGHER) >= limit), BATCH)
    return found


def power(records: int) -> Iterator[str]:
    """Yield a row for each method: false alarms, and how soon a change after 500 runs is found."""
    yield (
        "| 5% of runs, after 500 runs 20% | any alarm where nothing changes | found in the next "
        "500 runs | median delay, runs |"
    )
    yield "|---|---|---|---|"
    same = np.full(RUNS, USUAL)
    changed = np.where(np.arange(RUNS) < CHANGE, USUAL, HIGHER)
    for place, (name, (alarm, batch)) in enumerate(methods().items()):
        rng = np.random.default_rng([3, place])
        false = sum(alarm(draw(same, rng, batch), rng) is not None for _ in range(records))
        times = [alarm(draw(changed, rng, batch), rng) for _ in range(records)]
        delays = [RUNS + 1 if when is None else when - CHANGE for when in times if not early(when)]
        found = sum(delay <= RUNS - CHANGE for delay in delays)
        half = f"{median(delays):.0f}" if 2 * found > len(delays) else "-"
        yield f"| {name} | {share(false, records)} | {share(found, len(delays))} | {half} |"


def early(when: int | None) -> bool:
    """Return whether an alarm came before the change."""
    return when is not None and when <= CHANGE


CHANGES = (
    (100, 100, 0.05, 0.05, 1),
    (100, 60, 0.0, 0.25, 1),
    (100, 60, 0.05, 0.3, 1),
    (400, 300, 0.05, 0.2, 1),
    (1_000, 500, 0.05, 0.2, 1),
    (1_000, 1_000, 0.05, 0.05, BATCH),
    (1_000, 500, 0.05, 0.2, BATCH),
)
"""Runs, runs before the change, the rates before and after it, and the size of a batch."""


def change_points(records: int) -> Iterator[str]:
    """Yield a row for each change: how often it is found, and how often its interval holds it."""
    yield (
        "| runs | rate | batches of | found | interval holds it, of those found | median width, "
        "runs | found without `block` |"
    )
    yield "|---|---|---|---|---|---|---|"
    for place, (runs, before, low, high, batch) in enumerate(CHANGES):
        rng, found, held, plain = np.random.default_rng([4, place]), 0, 0, 0
        widths: list[int] = []
        for seed in range(records):
            rates = np.where(np.arange(runs) < before, low, high)
            values = draw(rates, rng, batch if batch > 1 else None)
            block = np.arange(runs) // batch if batch > 1 else None
            change = find_change(values, block=block, in_order=True, replicates=199, seed=seed)
            found += change.changed
            if change.changed:
                start, end = change.interval
                held += start <= before + 1 <= end
                widths.append(end - start + 1)
            if batch > 1:
                plain += find_change(values, in_order=True, replicates=199, seed=seed).changed
        rate = f"{low:.0%}" if before == runs else f"{low:.0%}, {high:.0%} after {before}"
        cells = [f"{runs:,}", rate, f"{batch}" if batch > 1 else "-", share(found, records)]
        holds = before < runs and found
        cells += [share(held, found) if holds else "", f"{median(widths):.0f}" if holds else ""]
        cells += [share(plain, records) if batch > 1 else ""]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400)
    options = parser.parse_args()
    for table in (false_alarms, power, change_points):
        for row in table(options.records):
            print(row, flush=True)
        print()


if __name__ == "__main__":
    main()
