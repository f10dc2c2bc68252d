import json
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binom, chi2, chi2_contingency, chisquare

from detailed_balance.analyzers import END, START, RunTable, Trajectory, markov_order_test
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.order import EulerShuffle
from detailed_balance.analyzers.runs.arrays import Paths
from tests.support.walks import random_chain, walk_runs


def path(*states):
    return Trajectory(tuple(pairwise(states)))


def second_order_runs(rng, runs, strength):
    """From b, go back to where you came from with a chance of `strength`."""
    made = []
    for _ in range(runs):
        side = "a" if rng.random() < 0.5 else "c"
        states = [START, side]
        while rng.random() < 0.8:
            if rng.random() > strength:
                side = {"a": "c", "c": "a"}[side]
            states += ["b", side]
        made.append(path(*states, END))
    return made


def test_the_statistic_is_that_of_the_tables_before_by_after_of_each_state():
    rng = np.random.default_rng(0)
    runs = walk_runs(rng, *random_chain(rng, 3), 30)
    tables = {}
    for run in runs:
        for (before, here), (_, after) in zip(run.moves, run.moves[1:], strict=False):
            tables.setdefault(here, {}).setdefault(before, []).append(after)
    statistic = freedom = 0
    for table in tables.values():
        columns = sorted({after for row in table.values() for after in row})
        counts = [[row.count(column) for column in columns] for row in table.values()]
        found = chi2_contingency(counts, correction=False, lambda_="log-likelihood")
        statistic, freedom = statistic + found.statistic, freedom + found.dof
    result = markov_order_test(runs, replicates=19)
    assert result.statistic == pytest.approx(statistic)
    assert result.degrees_of_freedom == freedom


def test_runs_are_not_glued_together():
    # Inside each run b leads on to where it has not been; across runs everything alternates.
    runs = [path("a", "b", "a"), path("c", "b", "c"), path("a", "b", "c"), path("c", "b", "a")]
    result = markov_order_test(runs, replicates=19)
    assert result.moves == 4
    assert result.statistic == pytest.approx(0)


def test_a_gap_in_a_run_makes_no_pair():
    broken = Trajectory((("a", "b"), ("c", "b"), ("b", "a")))
    result = markov_order_test([broken, path("c", "b", "c"), path("a", "b", "a")], replicates=19)
    assert result.moves == 3  # c b a, c b c, a b a


def test_the_boundaries_are_a_state_before_and_a_state_after():
    # Fresh from START, a goes to b; from b it ends.
    runs = [path(START, "a", "b", "a", END)] * 20
    result = markov_order_test(runs, replicates=99)
    assert result.states == ("a",)
    assert result.rejected
    assert result.statistic == pytest.approx(2 * 40 * np.log(2))


def test_reshuffled_runs_are_all_equally_likely():
    # Two runs over s and t: every set of runs with these moves can be listed.
    runs = [path(START, "s", "t", "s", "s", END), path(START, "s", "t", "t", "s", END)]
    paths = Paths.from_runs(runs)
    moves = Counter(zip(paths.steps.here.tolist(), paths.steps.after.tolist(), strict=True))
    target = sorted(moves.elements())
    possible = set()
    for first, second in product(*[list(_paths(size)) for size in (0, 1)]):
        if sorted(first + second) == target:
            possible.add((*first, *second))
    copies = 200 * len(possible)
    steps = EulerShuffle(paths).draw(copies, np.random.default_rng(0))
    seen = [[] for _ in range(2 * copies)]
    for run, here, after in zip(steps.run, steps.here, steps.after, strict=True):
        seen[run].append((int(here), int(after)))
    counted = Counter((*one, *other) for one, other in zip(seen[::2], seen[1::2], strict=True))
    assert set(counted) == possible
    assert chisquare(list(counted.values())).pvalue > 1e-3


def _paths(_):
    """Every path START to END of up to 9 moves over two states, as moves of 0, 1, 2 to 3."""
    for size in range(1, 9):
        for middle in product([1, 2], repeat=size):
            states = (0, *middle, 3)
            yield list(pairwise(states))


def test_too_little_data_is_said():
    with pytest.raises(InsufficientDataError, match="two ways"):
        markov_order_test([path("a", "b", "c")])
    with pytest.raises(InvalidInputError, match="19"):
        markov_order_test([path("a", "b", "a")], replicates=5)


@pytest.mark.parametrize("limit", [10_000, 6])
def test_a_sparse_chain_of_order_one_is_rejected_as_often_as_it_should(limit):
    # A parametric bootstrap rejects 72% of these at 10%.
    rng = np.random.default_rng(1)
    kernel, ends = random_chain(rng, 6)
    pvalues, textbook = [], []
    for trial in range(120):
        runs = walk_runs(rng, kernel, ends, 12, limit=limit)
        result = markov_order_test(runs, replicates=79, seed=trial)
        pvalues.append(result.pvalue)
        textbook.append(chi2.sf(result.statistic, result.degrees_of_freedom))
    rejected = np.mean(np.array(pvalues) <= 0.1)
    assert 0.02 <= rejected <= 0.2  # 12 expected of 120, 3 to 24 allowed
    assert abs(np.mean(textbook) - 0.5) > abs(np.mean(pvalues) - 0.5)


def test_memory_is_found_and_placed():
    rng = np.random.default_rng(2)
    result = markov_order_test(second_order_runs(rng, 30, 0.85), replicates=199)
    assert result.pvalue == 1 / 200
    assert result.to_table()["state"][0] == "b"
    adjusted = dict(zip(result.states, result.state_adjusted, strict=True))
    assert adjusted["b"] < 0.05
    assert "depends on the state before" in result.describe()


def test_the_gain_is_the_information_of_the_state_before():
    # At b the next state is the one before, of two that are equally likely.
    rng = np.random.default_rng(3)
    copy = [START]
    for _ in range(2_000):
        side = "a" if rng.random() < 0.5 else "c"
        copy += [side, "b", side]
    known = markov_order_test([path(*copy)], replicates=19)
    of_b = dict(zip(known.states, known.state_gain, strict=True))["b"]
    assert of_b == pytest.approx(np.log(2), abs=0.02)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_relabelling_and_the_order_of_runs_change_nothing(seed):
    rng = np.random.default_rng(seed)
    runs = walk_runs(rng, *random_chain(rng, 3), 6, limit=20)
    new = {"s0": "z", "s1": "a", "s2": "m", START: START, END: END}
    other = [Trajectory(tuple((new[f], new[g]) for f, g in run.moves)) for run in runs[::-1]]
    try:
        one, two = (markov_order_test(given, replicates=19) for given in (runs, other))
    except InsufficientDataError:
        return
    assert one.statistic == pytest.approx(two.statistic)
    assert {new[s] for s in one.states} == set(two.states)


def test_the_result_is_seeded_and_json():
    runs = second_order_runs(np.random.default_rng(4), 5, 0.7)
    results = [markov_order_test(runs, replicates=39, seed=1).to_dict() for _ in "ab"]
    assert results[0] == results[1]
    assert json.loads(json.dumps(results[0], allow_nan=False))["settings"]["seed"] == 1


def two_tasks(rng, runs, memory=False):
    """Half of the runs go round one way more often, half the other; each task is of order 1."""
    found = []
    for i in range(runs):
        task = i % 2
        names = [START, "a"]
        while names[-1] != END:
            here, before = names[-1], names[-2]
            if rng.random() < 0.1:
                names.append(END)
                continue
            onward = {"a": "bc", "b": "ca", "c": "ab"}[here]
            chance = 0.85 if task else 0.15
            if memory and before == onward[0]:
                chance = 0.5
            names.append(onward[0] if rng.random() < chance else onward[1])
        context = (("task", f"t{task}"),)
        found.append(Trajectory(tuple(pairwise(names)), name=f"{i:04d}", context=context))
    return found


def test_a_mixture_of_tasks_is_of_order_one_within_tasks_only():
    rng, trials = np.random.default_rng(12), 60
    pooled, within = [], []
    for trial in range(trials):
        table = RunTable.of(two_tasks(rng, 30))
        pooled.append(markov_order_test(table, replicates=39, seed=trial).pvalue)
        within.append(markov_order_test(table, strata="task", replicates=39, seed=trial).pvalue)
    assert np.mean(np.array(pooled) <= 0.05) > 0.8
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.1)
    assert low <= np.count_nonzero(np.array(within) <= 0.1) <= high


def test_memory_within_tasks_is_found_all_the_same():
    table = RunTable.of(two_tasks(np.random.default_rng(13), 120, memory=True))
    result = markov_order_test(table, strata="task", replicates=99)
    assert result.rejected
    assert (result.strata, result.n_strata) == ("task", 2)
    assert "as well within each of 2 strata of task (" in result.describe()
    assert result.to_dict()["settings"]["strata"] == "task"


def test_the_statistic_within_strata_is_the_sum_of_those_of_each():
    table = RunTable.of(two_tasks(np.random.default_rng(14), 40))
    whole = markov_order_test(table, strata="task", replicates=19)
    parts = [
        markov_order_test(table.select(table.block_codes("task") == task), replicates=19)
        for task in (0, 1)
    ]
    assert whole.statistic == pytest.approx(sum(part.statistic for part in parts))
    assert whole.degrees_of_freedom == sum(part.degrees_of_freedom for part in parts)
    assert whole.moves == sum(part.moves for part in parts)


def test_strata_are_a_label_the_blocks_or_an_array():
    table = RunTable.of(two_tasks(np.random.default_rng(15), 40))
    codes = table.block_codes("task")
    blocks = table.with_blocks("task")
    given = [(table, "task"), (blocks, "block"), (table, codes), (table, codes.astype(str))]
    pvalues = {markov_order_test(runs, strata=s, replicates=19).pvalue for runs, s in given}
    assert len(pvalues) == 1
    alone = markov_order_test(table, strata=np.arange(40), replicates=19)
    assert alone.n_strata == 40
    with pytest.raises(InvalidInputError, match="no run has a label 'model'"):
        markov_order_test(table, strata="model")
    with pytest.raises(InvalidInputError, match="in no blocks"):
        markov_order_test(table, strata="block")
    with pytest.raises(InvalidInputError, match="each of 40 runs"):
        markov_order_test(table, strata=[1, 2])


def test_the_order_of_the_runs_changes_no_digit():
    runs = two_tasks(np.random.default_rng(16), 40)
    for strata in (None, "task"):
        first, again = (
            markov_order_test(given, strata=strata, replicates=19).to_dict()
            for given in (runs, runs[::-1])
        )
        assert first == again
