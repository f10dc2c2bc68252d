"""`WatchedRates`: several rates have one probability of a false alarm."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from detailed_balance.analyzers import WatchedRates
from detailed_balance.analyzers.errors import InvalidInputError


@pytest.mark.parametrize("named", [0, 1, 7])
def test_the_streams_share_alpha_and_never_more(named: int) -> None:
    rates = WatchedRates(limits={f"limit {i}": 0.1 for i in range(named)}, alpha=0.1)
    for i in range(300):
        rates.update(f"new {i}", 0)
    spent = [stream.alpha for stream in rates.streams.values()]
    assert len(spent) == named + 300
    assert spent == sorted(spent, reverse=True)
    assert sum(spent) == pytest.approx(0.1 * (1 - 1 / (named + 301)), rel=1e-12)


def test_any_false_alarm_of_20_streams_has_probability_alpha_at_most() -> None:
    rng, records, alarms = np.random.default_rng(1), 60, 0
    for _ in range(records):
        rates = WatchedRates(limits={str(i): 0.1 for i in range(20)}, alpha=0.2)
        shared = rng.random(100)  # all streams depend on it
        for run in range(100):
            for i in range(20):
                rates.update(str(i), shared[run] < 0.1 if i % 2 else rng.random() < 0.1)
        alarms += bool(rates.alarms)
    assert alarms <= stats.binom.isf(1e-4, records, 0.2)


def test_the_stream_that_goes_up_is_named_and_the_others_are_not() -> None:
    rng, rates = np.random.default_rng(2), WatchedRates(baselines={"failed": [0, 1] * 100})
    for run in range(600):
        for i in range(10):
            rates.update(f"limit/{i}", rng.random() < (0.8 if i == 3 and run >= 300 else 0.1))
        rates.update("failed", run % 2)
    assert list(rates.alarms) == ["limit/3"]
    assert 300 < rates.alarms["limit/3"] < 350
    assert rates.describe().startswith("limit/3: higher than in the baseline")
    assert list(rates.intervals) == ["failed", *(f"limit/{i}" for i in range(10))]
    assert rates.intervals["failed"][0] < 0.5 < rates.intervals["failed"][1]


def test_streams_beyond_the_limit_are_left_out_and_counted() -> None:
    rates = WatchedRates(max_streams=2)
    for name in "abcab":
        rates.update(name, 0)
    assert (list(rates.streams), rates.dropped) == (["a", "b"], 1)
    assert rates.describe() == "no evidence of a higher rate in 2 streams"


UPDATES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1]), st.sampled_from([None, "x", 2])),
    max_size=9,
)


@given(UPDATES, UPDATES)
@settings(max_examples=20, deadline=None)
def test_a_state_from_json_goes_on_with_the_same_numbers(first, then) -> None:
    rates = WatchedRates(limits={"a": 0.1}, warm_up=2, max_streams=2)
    for update in first:
        rates.update(*update)
    again = WatchedRates.from_dict(json.loads(json.dumps(rates.to_dict())))
    for each in (rates, again):
        for update in then:
            each.update(*update)
        each.flush()
    assert again.to_dict() == rates.to_dict()
    assert again.intervals == rates.intervals


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"limits": {"x": 0.1}, "baselines": {"x": [0]}}, "'x' has a limit and a baseline"),
        ({"limits": {"x": 2.0}}, "limit=2.0"),
        ({"limits": {"x": 0.1, "y": 0.1}, "max_streams": 1}, "max_streams=1"),
        ({"warm_up": 0}, "warm_up=0"),
        ({"alpha": 0}, "alpha=0"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(how, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        WatchedRates(**how)


@pytest.mark.parametrize("state", [{}, {"version": 2}, {"version": 1, "streams": 3}])
def test_what_is_no_state_is_refused(state) -> None:
    with pytest.raises(InvalidInputError, match="not a state of WatchedRates"):
        WatchedRates.from_dict(state)
