"""Many runs are shifted round in place of being permuted: that is as exact, and finds the same."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csc_array

from detailed_balance.analyzers import compare_runs
from detailed_balance.analyzers.comparison import _permutation
from detailed_balance.analyzers.comparison._divisions import Divisions
from detailed_balance.analyzers.comparison._permutation import permute_runs
from detailed_balance.analyzers.comparison._run_statistics import RunStatistics
from tests.support.walks import random_chain, walk_runs


def family(scores):
    """Statistics with given scores, an (m, u) array whose rows sum to 0."""
    m, u = scores.shape
    nothing = csc_array((u, m))
    names = tuple((f"s{i}",) for i in range(m))
    plain = RunStatistics("potential", names, nothing, scores, np.arange(m), nothing, np.ones(m))
    return plain.varying()


def divide(label):
    return Divisions.of(np.full(len(label), -1), label.astype(int))


def heavy_tailed(rng, m, u):
    scores = rng.standard_t(2, size=(m, u))
    return scores - scores.mean(axis=1, keepdims=True)


@pytest.fixture
def shifted(monkeypatch):
    monkeypatch.setattr(_permutation, "FEWEST_SHIFTED", 10)


@pytest.mark.parametrize(("runs", "shifts"), [(24, 24), (47, 45), (301, 300)])
def test_shifts_are_counted_as_labels_rolled_by_hand(shifted, runs, shifts):
    rng = np.random.default_rng(runs)
    families = [family(heavy_tailed(rng, m, runs)) for m in (20, 1)]
    label = rng.random(runs) < 0.4
    found = permute_runs(families, divide(label), None, rng)
    rolled = [np.concatenate([np.roll(label[:shifts], k), label[shifts:]]) for k in range(shifts)]
    values = [np.abs(np.array(rolled) @ each.scores().T) for each in families]
    assert found.replicates == shifts - 1
    for pvalues, z in zip(found.each, values, strict=True):
        np.testing.assert_allclose(pvalues, (z >= z[0] - 1e-9).mean(axis=0))
    totals = np.column_stack([(z**2).sum(axis=1) for z in values])
    ranks = (totals[None] >= totals[:, None] - 1e-9).mean(axis=1)
    np.testing.assert_allclose(found.omnibus, ranks[0])
    smallest = ranks.min(axis=1)
    np.testing.assert_allclose(found.adjusted, [(smallest <= p + 1e-12).mean() for p in ranks[0]])


def test_pvalues_of_shifts_are_uniform_where_nothing_differs(shifted):
    # Runs that come in a trend, and few of them with large scores: only chance says whose they are.
    rng = np.random.default_rng(0)
    runs, trials = 45, 3_000
    scores = np.sort(heavy_tailed(rng, 3, runs), axis=1)
    one, many = family(scores[:1]), family(scores)
    pvalues = []
    for _ in range(trials):
        label = rng.permutation(runs) < 15
        found = permute_runs([one, many], divide(label), None, rng)
        pvalues.append([found.each[0][0], *found.omnibus, found.adjusted.min()])
    for column in np.array(pvalues).T:
        for level in (1 / 45, 2 / 45, 9 / 45, 23 / 45):
            share, error = (column <= level + 1e-9).mean(), np.sqrt(level * (1 - level) / trials)
            assert abs(share - level) <= 4 * error


def test_shifts_and_permutations_give_the_same_pvalues(monkeypatch):
    rng = np.random.default_rng(3)
    kernel, ends = random_chain(rng, 4)
    other = 0.93 * kernel + 0.07 * np.roll(kernel, 1, axis=1) * (kernel.sum(axis=1)[:, None])
    other *= (kernel.sum(axis=1) / other.sum(axis=1))[:, None]
    sides = walk_runs(rng, kernel, ends, 1_200), walk_runs(rng, other, ends, 1_200)
    permuted = compare_runs(*sides, replicates=2_999)
    monkeypatch.setattr(_permutation, "FEWEST_SHIFTED", 2_000)
    shifted = compare_runs(*sides)
    assert shifted.replicates == 2_399
    middle = 0
    for test, same in zip(permuted.tests, shifted.tests, strict=True):
        pairs = [(test.pvalue, same.pvalue)]
        of_shifts = {change.what: change.pvalue for change in same.changes}
        pairs += [(change.pvalue, of_shifts[change.what]) for change in test.changes]
        for one, two in pairs:
            error = np.sqrt(one * (1 - one) * (1 / 2_400 + 1 / 3_000)) + 1 / 2_400
            assert abs(one - two) <= 5 * error
            middle += 0.05 < one < 0.95
    assert middle > 10  # small and large ones say little


@pytest.mark.parametrize("fewest", [10, 10_000])
def test_the_order_of_runs_changes_nothing(monkeypatch, fewest):
    monkeypatch.setattr(_permutation, "FEWEST_SHIFTED", fewest)
    rng = np.random.default_rng(4)
    sides = [walk_runs(rng, *random_chain(rng, 4), 40) for _ in range(2)]
    costs = rng.random(1_000)
    sides = [
        [
            replace(run, name=f"{side}-{i}", costs=tuple((costs[: len(run)] * i).tolist()))
            for i, run in enumerate(runs)
        ]
        for side, runs in enumerate(sides)
    ]
    expected = compare_runs(*sides).to_dict()
    for _ in range(3):
        shuffled = [[side[i] for i in rng.permutation(len(side))] for side in sides]
        assert repr(compare_runs(*shuffled).to_dict()) == repr(expected)
