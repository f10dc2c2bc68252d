import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from detailed_balance.analyzers import TransitionCounts, check_balance, needed_attempts
from detailed_balance.analyzers.balance.loops import find_loops
from detailed_balance.analyzers.balance.power import needed_one_way
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError


def ring_counts(rng, length, walks, affinity):
    """Walk each pair of a ring `walks` times, with the push spread evenly."""
    forward = rng.binomial(walks, expit(affinity / length), length)
    names = [str(i) for i in range(length)]
    pairs = list(zip(names, names[1:] + names[:1], forward.tolist(), strict=True))
    edges = [(f, g, n) for f, g, n in pairs] + [(g, f, walks - n) for f, g, n in pairs]
    return TransitionCounts.from_edges(edges)


@pytest.mark.parametrize(("affinity", "length", "tests"), [(1.0, 3, 1), (2.0, 5, 1), (1.0, 4, 20)])
def test_so_many_attempts_find_the_loop_with_the_stated_probability(affinity, length, tests):
    rng, runs = np.random.default_rng(length), 400
    walks = needed_attempts(affinity, length=length, tests=tests)
    found = sum(
        find_loops(ring_counts(rng, length, walks, affinity)).pvalue[0] <= 0.05 / tests
        for _ in range(runs)
    )
    assert found / runs == pytest.approx(0.8, abs=0.06)  # 3 standard errors of the simulation


def test_a_single_pair_needs_what_the_textbook_says():
    # Var(log n1/n2) = 1 / (m p q); the formula for k = 1.
    p = expit(0.7)
    level = norm.isf(0.025) + norm.ppf(0.9)
    expected = level**2 / (p * (1 - p) * 0.49)
    assert needed_attempts(0.7, length=1, power=0.9) == int(np.ceil(expected))


def test_half_the_share_needs_twice_the_attempts_and_longer_loops_need_more():
    assert needed_attempts(1, share=0.25) == pytest.approx(4 * needed_attempts(1), abs=4)
    assert needed_attempts(1, length=6) > needed_attempts(1, length=3)
    assert needed_attempts(-1) == needed_attempts(1)


@pytest.mark.parametrize(("back", "tests"), [(0.5, 1), (0.03, 1), (0.1, 7)])
def test_a_move_never_seen_is_significant_from_the_first_such_number_on(back, tests):
    needed = needed_one_way(back, tests=tests)
    assert (1 - back) ** needed <= 0.05 / tests < (1 - back) ** (needed - 1)


def test_one_way_pairs_say_how_many_attempts_would_settle_them():
    edges = [("a", "b", 50), ("b", "a", 50), ("b", "c", 50), ("c", "a", 50)]
    table = check_balance(TransitionCounts.from_edges(edges)).one_way_pairs
    needed = table.needed_attempts()
    attempts = dict(zip("abc", (50, 100, 50), strict=True))
    for target, expected, number in zip(table.target, table.expected, needed, strict=True):
        back = expected / attempts[target]
        assert (1 - min(back, 1)) ** number <= 0.05 / len(table)
        assert number == 1 or (1 - back) ** (number - 1) > 0.05 / len(table)


def test_nothing_settles_a_pair_that_balance_would_never_walk_back():
    edges = [("a", "b", 50), ("b", "a", 50), ("b", "c", 9), ("c", "d", 9), ("d", "c", 9)]
    with pytest.raises(InsufficientDataError) as caught:
        check_balance(TransitionCounts.from_edges(edges))
    assert caught.value.partial.one_way_pairs.needed_attempts().tolist() == [float("inf")]


def test_a_report_without_a_tested_loop_says_what_it_would_take():
    with pytest.raises(InsufficientDataError) as caught:
        check_balance(ring_counts(np.random.default_rng(0), 3, 4, 0.0))
    assert caught.value.partial.loops.untested == 1
    assert caught.value.partial.needed_attempts() == needed_attempts(1.0) == 97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"affinity": 0}, "affinity=0; no data shows that"),
        ({"affinity": 1, "length": 0}, "length=0; it is 1 or more"),
        ({"affinity": 1, "share": 1.5}, "share=1.5; it lies between 0 and 1"),
        ({"affinity": 1, "power": 1.0}, "power=1.0; it lies between 0 and 1"),
        ({"affinity": 1, "alpha": 0}, "alpha=0; it lies between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        needed_attempts(**options)
