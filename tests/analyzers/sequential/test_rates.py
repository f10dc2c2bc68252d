"""`RateMartingale`: the level holds exactly, and a rate that goes up is found."""

import json
from fractions import Fraction
from itertools import product
from math import comb, exp, inf, log, prod

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.sequential._rate_bets import BETS, BetCapital, divide_baseline
from detailed_balance.analyzers.sequential.rates import RateMartingale, block_means

ALPHA = 0.2  # a higher level than in use, for a sharper test at the same number of runs


def watch(values, blocks=None, **how):
    rate = RateMartingale(**how)
    for value, block in zip(values, blocks or [None] * len(values), strict=True):
        rate.update(value, block)
    rate.flush()
    return rate


def capital(values, p):
    bets = BetCapital(np.array([p]), np.zeros(1))
    for value in values:
        bets.update(value)
    return exp(bets.log_e_value)


def most_alarms(records, level=ALPHA):
    """So many false alarms or more have a probability of one in ten thousand."""
    return stats.binom.isf(1e-4, records, level)


def test_the_capital_is_worth_1_on_average_over_all_sequences_at_the_limit() -> None:
    p = Fraction(1, 4)
    worth = sum(
        float(prod(p if x else 1 - p for x in values)) * capital(values, 0.25)
        for values in product((0, 1), repeat=8)
    )
    assert worth == pytest.approx(1, abs=1e-12)


def test_the_capital_is_worth_1_for_values_between_0_and_1_with_that_mean() -> None:
    law = {0.0: 0.5, 0.3: 0.3, 1.0: 0.2}  # mean 0.29
    worth = sum(
        prod(law[x] for x in values) * capital(values, 0.29) for values in product(law, repeat=6)
    )
    assert worth == pytest.approx(1, abs=1e-12)


def test_the_capital_is_worth_at_most_1_where_the_mean_depends_on_the_past() -> None:
    def chance(past):  # at most 0.25, given any past
        return 0.25 if sum(past) % 2 else 0.1

    worth = sum(
        prod(chance(values[:i]) if x else 1 - chance(values[:i]) for i, x in enumerate(values))
        * capital(values, 0.25)
        for values in product((0, 1), repeat=8)
    )
    assert 0.5 < worth < 1


def test_the_capital_is_that_of_bets_begun_at_all_times() -> None:
    values, p = [0, 1, 1, 0.5], 0.2
    total = 1 / np.sqrt(5)
    for start in range(4):
        factors = [np.prod([(1 + k * x) / (1 + k * p) for x in values[start:]]) for k in BETS]
        total += (1 / np.sqrt(start + 1) - 1 / np.sqrt(start + 2)) * np.mean(factors)
    assert capital(values, p) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.3, 0.5, 0.8])
def test_a_baseline_bets_fairly_on_its_own_rate_whatever_it_is(p: float) -> None:
    n, worth, missed = 20, 0.0, 0.0
    for failed in range(n + 1):
        chance = comb(n, failed) * p**failed * (1 - p) ** (n - failed)
        upper, base = divide_baseline(np.repeat([1.0, 0.0], [failed, n - failed]), ALPHA)
        place = int(np.searchsorted(upper, p))
        if place == len(upper):
            missed += chance
        else:
            worth += chance * exp(base[place])
    assert missed <= ALPHA / 2 + 1e-12
    assert worth <= 1 / 2 + 1e-12


def test_a_baseline_of_values_between_0_and_1_bets_fairly_too() -> None:
    law = {0.0: 0.6, 0.5: 0.3, 1.0: 0.1}
    mean, worth = 0.25, 0.0
    for values in product(law, repeat=5):
        upper, base = divide_baseline(np.array(values), 0.9)
        place = int(np.searchsorted(upper, mean))
        chance = prod(law[x] for x in values)
        if place < len(upper):
            worth += chance * exp(base[place])
        elif 0.5 in values:
            worth += chance / 0.9  # refuted by these bets alone
    assert 0.3 < worth <= 0.5


def test_false_alarms_after_a_baseline_stay_below_alpha_by_enumeration() -> None:
    n, later, alpha, alarms = 6, 6, 0.9, dict.fromkeys((0.1, 0.4, 0.7), 0.0)
    for failed in range(n + 1):
        baseline = [1] * failed + [0] * (n - failed)
        for values in product((0, 1), repeat=later):
            if watch(values, baseline=baseline, alpha=alpha).alarm:
                for p in alarms:
                    before = comb(n, failed) * p**failed * (1 - p) ** (n - failed)
                    alarms[p] += before * prod(p if x else 1 - p for x in values)
    assert all(0 < share <= alpha for share in alarms.values()), alarms


@pytest.mark.parametrize("how", [{"limit": 0.1}, {"warm_up": 50}])
def test_false_alarms_at_any_of_300_looks_stay_below_alpha(how) -> None:
    rng, records = np.random.default_rng(1), 150
    alarms = sum(watch(rng.random(300) < 0.1, alpha=ALPHA, **how).alarm for _ in range(records))
    assert alarms <= most_alarms(records)


def test_runs_of_a_batch_that_resemble_each_other_need_its_block() -> None:
    rng, records, by_run, by_block = np.random.default_rng(2), 100, 0, 0
    blocks = [i // 20 for i in range(400)]
    for _ in range(records):
        values = rng.random(400) < np.repeat(rng.beta(0.3, 2.7, 20), 20)  # mean 0.1
        by_run += watch(values, limit=0.1, alpha=ALPHA).alarm
        by_block += watch(values, blocks, limit=0.1, alpha=ALPHA).alarm
    assert by_block <= most_alarms(records) < by_run


def test_a_rate_that_goes_up_after_5000_good_runs_is_found_soon() -> None:
    rng = np.random.default_rng(3)
    values = [*(rng.random(5_000) < 0.02), *(rng.random(100) < 0.5)]
    for how in ({"limit": 0.03}, {"baseline": rng.random(1_000) < 0.02}, {"warm_up": 1_000}):
        rate = watch(values, alpha=0.01, **how)
        assert rate.alarmed_at is not None
        assert 5_000 < rate.alarmed_at < 5_040


def test_a_rate_that_falls_raises_no_alarm() -> None:
    rng = np.random.default_rng(4)
    assert not watch([*(rng.random(300) < 0.4), *([0] * 300)], warm_up=300).alarm


@pytest.mark.parametrize("p", [0.03, 0.2, 0.5, 0.9])
def test_the_interval_holds_the_rate_at_all_looks_together_exactly(p: float) -> None:
    rate, most = RateMartingale(limit=0.5, alpha=ALPHA), 40
    ends = {}
    for n in range(1, most + 1):
        for s in range(n + 1):
            rate.units, rate._total = n, float(s)
            rate._above, rate._below = s * np.log1p(BETS), (n - s) * np.log1p(BETS)
            ends[n, s] = rate.interval
    inside, left = {0: 1.0}, 0.0
    for n in range(1, most + 1):
        law = dict.fromkeys(range(n + 1), 0.0)
        for s, chance in inside.items():
            law[s] += chance * (1 - p)
            law[s + 1] += chance * p
        out = {s for s in law if not ends[n, s][0] <= p <= ends[n, s][1]}
        left += sum(law[s] for s in out)
        inside = {s: chance for s, chance in law.items() if s not in out}
    assert 0 < left <= ALPHA


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_mean_of_the_units(values: list[float]) -> None:
    rate = watch(values, limit=0.5)
    low, high = rate.interval
    assert 0 <= low <= rate.rate + 1e-9
    assert rate.rate - 1e-9 <= high <= 1


def test_the_interval_of_batches_that_are_alike_is_narrow() -> None:
    blocks = [i // 20 for i in range(2_000)]
    alike = watch([i % 5 == 0 for i in range(2_000)], blocks, limit=0.5)
    assert alike.units == 100
    assert alike.interval[1] - alike.interval[0] < 0.06
    rng = np.random.default_rng(5)
    differ = watch(np.repeat(rng.random(100) < 0.2, 20), blocks, limit=0.5)
    assert differ.interval[1] - differ.interval[0] > 0.2


def test_a_block_is_one_unit_with_the_mean_of_its_runs() -> None:
    rate = RateMartingale(limit=0.3)
    for value, block in [(0, "x"), (1, "x"), (1, None), (0, "y"), (1, "x")]:
        rate.update(value, block)
    assert (rate.units, rate.runs, rate.late) == (2, 4, 1)
    rate.flush()
    rate.flush()
    same = watch([1, 0.5, 0], limit=0.3)
    assert rate.log_e_value == same.log_e_value
    assert (rate.units, rate.rate) == (3, 0.5)


def test_the_means_of_blocks_do_not_depend_on_the_order_of_runs() -> None:
    rng = np.random.default_rng(6)
    values, codes = rng.random(200), rng.integers(-1, 30, 200)
    means = block_means(values, codes)
    assert len(means) == 30 + (codes == -1).sum()
    assert means.sum() == pytest.approx(
        values[codes < 0].sum() + sum(values[codes == code].mean() for code in range(30))
    )
    order = rng.permutation(200)
    assert block_means(values[order], codes[order]).tolist() == means.tolist()
    one, other = (RateMartingale(baseline=x) for x in (means, rng.permutation(means)))
    assert one.to_dict() == other.to_dict()


HOW = st.sampled_from([{"limit": 0.2}, {"baseline": [0, 0, 1, 0.25]}, {"warm_up": 3}])
RUNS = st.lists(
    st.tuples(st.sampled_from([0, 1, 0.5]), st.sampled_from([None, "a", 2])), max_size=9
)


@given(HOW, RUNS, RUNS)
@settings(max_examples=30, deadline=None)
def test_a_state_from_json_goes_on_with_the_same_numbers(how, first, then) -> None:
    rate = RateMartingale(**how)
    for value, block in first:
        rate.update(value, block)
    again = RateMartingale.from_dict(json.loads(json.dumps(rate.to_dict())))
    for each in (rate, again):
        for value, block in then:
            each.update(value, block)
    assert again.to_dict() == rate.to_dict()
    assert again.describe() == rate.describe()
    assert again.log_e_value == rate.log_e_value


def test_the_state_stays_small() -> None:
    rate = RateMartingale(warm_up=100)
    for run in range(3_000):
        rate.update(run % 3 == 0, run // 3)
    assert len(json.dumps(rate.to_dict())) < 10_000


def test_what_is_found_is_said() -> None:
    assert RateMartingale(limit=0.05).describe() == "no runs yet"
    assert watch([0, 1], warm_up=5).describe().startswith("the first 5 runs are the baseline")
    good = watch([0] * 40, limit=0.05)
    assert good.describe().startswith("no evidence of more than 0.05: 0.0% of 40 runs, ")
    bad = watch([1] * 40, list(range(40)), baseline=[0] * 60)
    assert bad.describe().startswith("higher than in the baseline, detected after ")
    assert bad.log_e_value > bad.threshold == pytest.approx(log(20))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "nothing given"),
        ({"limit": 0.1, "warm_up": 9}, "limit and warm_up given"),
        ({"limit": 0}, "limit=0"),
        ({"warm_up": 0}, "warm_up=0"),
        ({"limit": 0.1, "alpha": 1}, "alpha=1"),
        ({"baseline": []}, "at least one run"),
        ({"baseline": [0, 2]}, "1 of 2 values"),
        ({"baseline": [float("nan")]}, "not between 0 and 1"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(how, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        RateMartingale(**how)


@pytest.mark.parametrize("value", [-0.1, 1.1, inf, float("nan")])
def test_a_value_beyond_0_and_1_is_refused_and_changes_nothing(value: float) -> None:
    rate = RateMartingale(limit=0.1)
    state = rate.to_dict()
    with pytest.raises(InvalidInputError, match="from 0 to 1"):
        rate.update(value, "x")
    assert rate.to_dict() == state


@pytest.mark.parametrize("state", [{}, {"version": 9}, {"version": 1, "alpha": 0.05}])
def test_what_is_no_state_is_refused(state) -> None:
    with pytest.raises(InvalidInputError, match="not a state of a RateMartingale"):
        RateMartingale.from_dict(state)


def test_as_many_blocks_as_values_are_needed() -> None:
    with pytest.raises(InvalidInputError, match="one for each run"):
        block_means([0, 1], [0])
