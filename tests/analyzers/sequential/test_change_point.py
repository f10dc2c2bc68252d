"""`find_change`: exact p-values, the moment, and nothing from the order of rows."""

import json
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from detailed_balance.analyzers import RunTable, Trajectory, find_change, find_onset
from detailed_balance.analyzers.errors import InvalidInputError


def ratio(values):
    """The largest log likelihood ratio over all moments, by its definition."""

    def likelihood(part):
        part = np.asarray(part, dtype=float)
        mean = part.mean()
        return sum(
            (x * np.log(mean) if x else 0) + ((1 - x) * np.log(1 - mean) if x < 1 else 0)
            for x in part
        )

    found = [likelihood(values[:k]) + likelihood(values[k:]) for k in range(1, len(values))]
    return max(found) - likelihood(values)


@pytest.mark.parametrize(
    "values", [[0, 0, 0, 1, 1], [0, 0.2, 0.1, 0.9, 0.4, 1], [1, 1, 0, 0, 0, 0]]
)
def test_the_statistic_is_the_largest_ratio_and_the_p_value_that_of_all_orders(values) -> None:
    replicates = 4_000
    found = find_change(values, in_order=True, replicates=replicates)
    assert found.statistic == pytest.approx(ratio(values))
    every = [ratio(order) for order in permutations(values)]
    exact = np.mean([each >= found.statistic - 1e-9 for each in every])
    assert abs(found.pvalue - exact) < 4 * np.sqrt(exact * (1 - exact) / replicates) + 1e-3


def draw(rng, before, after, where, size=1, spread=0.0):
    rates = np.where(np.arange(len(where)) < where.sum(), before, after)
    rates = np.repeat(rates[::size], size) if size > 1 else rates
    if spread:
        blocks = rates[::size]
        rates = np.repeat(rng.beta(blocks * spread, (1 - blocks) * spread), size)
    return rng.random(len(where)) < rates


def pvalues(records, seed, block=None, **how):
    rng = np.random.default_rng(seed)
    where = np.arange(60) < 30
    return [
        find_change(
            draw(rng, 0.2, 0.2, where, **how), block=block, in_order=True, replicates=99
        ).pvalue
        for _ in range(records)
    ]


def test_where_nothing_changes_p_is_below_alpha_with_probability_alpha() -> None:
    records, level = 400, 0.1
    found = sum(p <= level for p in pvalues(records, 1))
    assert found <= stats.binom.isf(1e-4, records, level)


def test_batches_that_differ_need_their_blocks() -> None:
    records, level, batches = 200, 0.1, {"size": 5, "spread": 1.0}
    most = stats.binom.isf(1e-4, records, level)
    blocks = np.arange(60) // 5
    assert sum(p <= level for p in pvalues(records, 2, blocks, **batches)) <= most
    assert sum(p <= level for p in pvalues(records, 2, **batches)) > most


def test_a_change_is_found_and_its_interval_holds_it() -> None:
    rng, records, changed, held = np.random.default_rng(3), 200, 0, 0
    for _ in range(records):
        values = draw(rng, 0.05, 0.5, np.arange(100) < 60)
        found = find_change(values, in_order=True, replicates=99)
        changed += found.changed
        held += found.interval[0] <= 61 <= found.interval[1]
    assert changed >= 0.97 * records
    assert held >= stats.binom.ppf(1e-4, records, 0.93)


@pytest.mark.parametrize("blocks", [False, True])
def test_the_order_of_rows_changes_no_digit(blocks: bool) -> None:
    rng = np.random.default_rng(4)
    time, values = rng.integers(0, 40, 120).astype(float), rng.random(120)
    values[time > 25] **= 0.3
    codes = np.where(rng.random(120) < 0.8, time.astype(int) // 3, -1)
    found = set()
    for _ in range(5):
        order = rng.permutation(120)
        block = codes[order] if blocks else None
        result = find_change(values[order], time=time[order], block=block, replicates=99)
        found.add(json.dumps(result.to_dict()))
    assert len(found) == 1


def test_no_change_is_put_between_runs_of_the_same_time() -> None:
    found = find_change([0] * 9 + [1] * 9, time=[0] * 6 + [5] * 6 + [9] * 6)
    assert (found.runs_before, found.time) in {(6, 5.0), (12, 9.0)}
    at_once = find_change([0, 1, 1], time=[3, 3, 3])
    assert (at_once.pvalue, at_once.statistic, at_once.interval) == (1.0, 0.0, (1, 3))
    assert at_once.describe() == "throughout: 2 of 3 runs"


def test_one_run_has_no_change() -> None:
    found = find_change([1], in_order=True)
    assert (found.changed, found.runs_before, found.runs_after) == (False, 0, 1)
    assert find_change([0, 0, 0], in_order=True).describe() == "throughout: none of 3 runs"


def test_a_rate_that_falls_has_an_until() -> None:
    found = find_change([1] * 20 + [0] * 30, time=np.arange(50) * 3600.0)
    assert found.describe() == (
        "until 1 Jan 20:00 UTC (run 21): 20 of the first 20 runs, none of the 30 after"
    )
    assert (found.rate_before, found.rate_after, found.time_interval) == (1, 0, (72e3, 72e3))


def test_means_are_said_where_values_are_not_0_and_1() -> None:
    found = find_change([0.25] * 20 + [0.75] * 20, in_order=True)
    assert found.describe() == (
        "since run 21: a mean of 0.75 in the last 20 runs, a mean of 0.25 in the 20 before"
    )


def test_of_a_rate_that_rose_and_fell_one_change_is_found() -> None:
    found = find_change([0] * 60 + [1] * 20 + [0] * 10, in_order=True)
    assert (found.changed, found.runs_before) == (True, 60)


def test_whole_blocks_are_on_one_side() -> None:
    values, block = [0, 0, 0, 1, 1, 1], [4, 4, -1, -1, 2, 2]
    found = find_change(values, block=block, in_order=True)
    assert (found.unit, found.units, found.runs_before) == ("blocks", 4, 3)


def test_an_onset_is_that_of_the_runs_with_a_value() -> None:
    runs = [
        Trajectory((("a", "b"),), str(i), started=60.0 * i, context=(("task", str(i // 4)),))
        for i in range(80)
    ]
    table, values = RunTable.of(runs[::-1]), np.arange(80) < 40
    found = find_onset(table, np.where(np.arange(80) % 10 == 5, np.nan, values))
    assert (found.runs_before, found.runs_after, found.unit) == (36, 36, "runs")
    by_task = find_onset(table, values, by="task")
    assert (by_task.unit, by_task.units, by_task.runs_before) == ("blocks", 20, 40)
    as_it_stands = find_onset(table, values, in_order=True)
    assert as_it_stands.describe().startswith("until run 41: 40 of the first 40 runs")
    with pytest.raises(InvalidInputError, match="for 80 runs"):
        find_onset(table, [1, 0])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "2 of 2 runs have no time"),
        ({"time": [1, np.nan]}, "1 of 2 runs have no time"),
        ({"time": [1, 2], "in_order": True}, "leave out one"),
        ({"time": [1]}, "one for each run"),
        ({"time": [1e12, 1e12]}, "Divide milliseconds"),
        ({"in_order": True, "block": [0]}, "a whole number for each run"),
        ({"in_order": True, "block": ["x", "y"]}, "a whole number for each run"),
        ({"in_order": True, "alpha": 1}, "alpha=1"),
        ({"in_order": True, "replicates": 0}, "replicates=0"),
        ({"in_order": True, "seed": -1}, "seed=-1"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(how, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        find_change([0, 1], **how)
