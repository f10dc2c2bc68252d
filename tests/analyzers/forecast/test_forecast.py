import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binom, binomtest

from detailed_balance.analyzers import (
    END,
    START,
    Outcome,
    RunTable,
    Trajectory,
    TransitionCounts,
    forecast_outcome,
)
from detailed_balance.analyzers.errors import (
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.forecast._goodness_of_fit import cumulative_incidence
from tests.support.walks import absorption, random_chain, walk_runs

QUICK = {"replicates": 0, "fit_replicates": 0}


def ruin(up, down, top=10):
    edges = [(str(i), str(i + 1), up) for i in range(1, top)]
    edges += [(str(i), str(i - 1), down) for i in range(1, top)]
    counts = TransitionCounts.from_edges(edges)
    return forecast_outcome(counts, success=[str(top)], failure=["0"], replicates=0)


def run(*states, success=None, outcome=None):
    path = (START, *states)
    return Trajectory(tuple(pairwise(path)), success=success, outcome=outcome)


def test_a_fair_gambler_wins_in_proportion_and_plays_i_times_n_minus_i_rounds():
    report = ruin(1, 1)
    for i in range(1, 10):
        forecast = report.after(str(i))
        assert forecast.success == pytest.approx(i / 10)
        assert forecast.failure == pytest.approx(1 - i / 10)
        assert forecast.steps == pytest.approx(i * (10 - i))


def test_an_unfair_gambler_is_ruined_as_the_textbook_says():
    forecast, r = ruin(2, 3), 1.5
    for i in range(1, 10):
        win = (1 - r**i) / (1 - r**10)
        assert forecast.after(str(i)).success == pytest.approx(win)
        assert forecast.after(str(i)).steps == pytest.approx((i - 10 * win) / (3 / 5 - 2 / 5))


def test_a_large_sparse_chain_is_solved_as_a_small_dense_one():
    forecast = ruin(1, 1, top=1_000)
    assert forecast.after("250").success == pytest.approx(0.25)
    assert forecast.after("250").steps == pytest.approx(250 * 750)
    curve = ruin(1, 1, top=400).curve("1", steps=3)  # lost at once, or by 1 -> 2 -> 1 -> 0
    assert curve.failure.tolist() == pytest.approx([0, 0.5, 0.5, 0.625])


def test_the_posterior_of_a_large_chain_is_that_of_the_same_chain_solved_densely(monkeypatch):
    rng = np.random.default_rng(5)
    runs = walk_runs(rng, *random_chain(rng, 6), 30)
    dense = forecast_outcome(runs, replicates=50, fit_replicates=0)
    monkeypatch.setattr("detailed_balance.analyzers.forecast._absorbing_chain.DENSE_LIMIT", 1)
    sparse = forecast_outcome(runs, replicates=50, fit_replicates=0)
    np.testing.assert_allclose(sparse.low.success, dense.low.success, rtol=1e-9)
    np.testing.assert_allclose(sparse.high.steps, dense.high.steps, rtol=1e-9)
    np.testing.assert_allclose(
        sparse.curve(steps=9).going_interval, dense.curve(steps=9).going_interval, atol=1e-12
    )


def test_a_single_state_ends_by_the_geometric_law():
    counts = TransitionCounts.from_edges([("a", "a", 6), ("a", "won", 3), ("a", "lost", 1)])
    forecast = forecast_outcome(counts, success=["won"], failure=["lost"], replicates=0)
    assert forecast.after("a").success == pytest.approx(3 / 4)
    assert forecast.after("a").steps == pytest.approx(10 / 4)
    steps = np.arange(21)
    curve = forecast.curve("a", steps=20)
    np.testing.assert_allclose(curve.going, 0.6**steps, atol=1e-12)
    np.testing.assert_allclose(curve.success, 0.75 * (1 - 0.6**steps), atol=1e-12)


def test_without_open_runs_the_beginning_repeats_the_record():
    # Moves into and out of each state agree, so the chain must give the record's own means.
    rng = np.random.default_rng(1)
    runs = walk_runs(rng, *random_chain(rng, 5), 40)
    forecast = forecast_outcome(runs, **QUICK).after()
    assert forecast.success == pytest.approx(np.mean([r.success for r in runs]))
    assert forecast.steps == pytest.approx(np.mean([len(r) for r in runs]))


def test_costs_by_source_by_move_and_by_function_agree():
    runs = [run("a", "b", END, success=True), run("a", END, success=False)]
    prices = {START: 1.0, "a": 2.0, "b": 5.0}
    pairs = {(START, "a"): 1.0, ("a", "b"): 2.0, ("a", END): 2.0, ("b", END): 5.0}
    for cost in (prices, pairs, lambda source, target: pairs[source, target]):
        forecast = forecast_outcome(runs, cost=cost, **QUICK)
        assert forecast.after().cost == pytest.approx((8 + 3) / 2)
        assert forecast.to_table()["cost"] == pytest.approx([5.5, 4.5, 5.0])
    ones = forecast_outcome(runs, cost=lambda source, target: 1.0, fit_replicates=0)
    np.testing.assert_allclose(ones.estimate.cost, ones.estimate.steps)
    np.testing.assert_allclose(ones.low.cost, ones.low.steps)


def test_a_move_without_a_price_is_named():
    with pytest.raises(InvalidInputError, match="'b' -> '__end__'"):
        forecast_outcome([run("a", "b", END, success=True)], cost={START: 1, "a": 1}, **QUICK)


def test_a_run_without_end_ends_where_it_stopped_if_it_was_judged_and_is_open_if_not():
    failed = run("a", "b", outcome=Outcome.FAILED)
    stopped = run("a", "b", outcome=Outcome.INTERRUPTED)
    forecast = forecast_outcome([run("a", END, success=True), failed, stopped, run("a")], **QUICK)
    assert (forecast.succeeded, forecast.failed, forecast.open) == (1, 1, 2)
    assert forecast.after("b").failure == 1
    assert forecast.after("a").failure == pytest.approx(2 / 3)  # 1 of 3 exits of a ends well
    # An end that nobody judged is hidden, and its move with it.
    unjudged = forecast_outcome([run("a", END, success=True), run("a", END)], **QUICK)
    assert unjudged.open == 1
    assert unjudged.moves.tolist() == [2, 1]


def test_an_escape_is_a_move_that_leads_nowhere():
    moves = ((START, "a"), ("a", None), ("a", None), ("a", END))
    forecast = forecast_outcome([Trajectory(moves, success=True)], **QUICK)
    assert forecast.after("a").steps == pytest.approx(3)
    counts = TransitionCounts.from_edges([(START, "a", 1), ("a", None, 2), ("a", END, 1)])
    assert forecast_outcome(counts, **QUICK).after("a").steps == pytest.approx(3)


def test_where_no_end_was_ever_reached_the_outcome_is_unknown():
    lost = run("a", "b", "c", "b", "c")
    forecast = forecast_outcome([run("a", END, success=True), lost], replicates=200)
    assert forecast.after("b").unknown == 1
    assert forecast.after("a").success == pytest.approx(0.5)
    assert forecast.after("a").unknown == pytest.approx(0.5)
    assert forecast.after("a").steps == np.inf
    low, high = forecast.after("b").success_interval
    assert (low, high > 0.5) == (0, True)


def test_a_path_counts_with_its_last_state():
    runs = [run("a", "b", END, success=True), run("a", END, success=False)]
    forecast = forecast_outcome(runs, **QUICK)
    assert forecast.after(["a", "b"]) == forecast.after(run("a", "b")) or np.isnan(
        forecast.after("b").success_interval[0]
    )
    assert forecast.after(["a", "b"]).success == forecast.after("b").success == 1
    assert forecast.after([]).success == forecast.after().success == 0.5
    assert forecast.after(Trajectory(())).state == START
    with pytest.raises(UnknownStateError, match="did you mean"):
        forecast_outcome([run("search", END, success=True)], **QUICK).after("serch")
    with pytest.raises(InvalidInputError, match="over"):
        forecast.after(END)


def test_wrong_arguments_are_refused():
    runs = [run("a", END, success=True)]
    counts = TransitionCounts.from_edges([("a", END, 1)])
    for wrong in ({"intervals": "normal"}, {"level": 1.0}, {"prior": 0.0}, {"success": ["a"]}):
        with pytest.raises(InvalidInputError):
            forecast_outcome(runs, **wrong)
    with pytest.raises(InvalidInputError, match="runs"):
        forecast_outcome(counts, intervals="bootstrap")
    with pytest.raises(InvalidInputError, match="both"):
        forecast_outcome(counts, success=[END], failure=[END])
    with pytest.raises(InvalidInputError, match="Trajectory"):
        forecast_outcome([("a", "b")])
    with pytest.raises(InsufficientDataError, match="judge"):
        forecast_outcome([run("a", "b")])
    with pytest.raises(InsufficientDataError, match="no moves"):
        forecast_outcome([])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 5))
def test_relabelling_permutes_the_forecast(seed, n):
    rng = np.random.default_rng(seed)
    kernel, ends = random_chain(rng, n)
    runs = walk_runs(np.random.default_rng(seed), kernel, ends, 8, limit=30)
    if not any(r.success is not None for r in runs):
        return
    new = {f"s{i}": f"t{n - i}" for i in range(n)} | {START: START, END: END}
    renamed = [
        Trajectory(tuple((new[f], new[g]) for f, g in r.moves), success=r.success) for r in runs
    ]
    one, other = forecast_outcome(runs, **QUICK), forecast_outcome(renamed, **QUICK)
    for state in one.states:
        assert one.after(state).success == pytest.approx(other.after(new[state]).success)
        assert one.after(state).steps == pytest.approx(other.after(new[state]).steps)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(3, 30))
def test_probabilities_add_up_and_curves_run_to_them(seed, limit):
    rng = np.random.default_rng(seed)
    runs = walk_runs(rng, *random_chain(rng, 4), 10, limit=limit)
    if not any(r.success is not None for r in runs):
        return
    forecast = forecast_outcome(runs, replicates=9, fit_replicates=0)
    found = forecast.estimate
    np.testing.assert_allclose(found.success + found.failure + found.unknown, 1)
    assert (forecast.low.success <= found.success).all()
    assert (found.success <= forecast.high.success).all()
    curve = forecast_outcome(runs, **QUICK).curve(steps=3_000)
    assert (np.diff(curve.success) >= -1e-15).all()
    assert curve.success[-1] == pytest.approx(forecast.after().success, abs=0.02)
    if np.isfinite(forecast.after().steps):  # the mean is the sum of the tail
        assert curve.going.sum() == pytest.approx(forecast.after().steps, rel=1e-3)


def covered(intervals, runs, trials, level=0.9):
    """Return which of four true values are inside, (trials, 4); NaN where a state was not seen."""
    rng = np.random.default_rng(7)
    kernel, ends = random_chain(rng, 4)
    success, steps = absorption(kernel, ends)
    truth = {None: (success[0], 1 + steps[0]), "s2": (success[2], steps[2])}
    inside = np.full((trials, len(truth), 2), np.nan)
    for trial in range(trials):
        report = forecast_outcome(
            walk_runs(rng, kernel, ends, runs),
            intervals=intervals,
            level=level,
            replicates=100,
            fit_replicates=0,
            seed=trial,
        )
        for i, (state, (good, moves)) in enumerate(truth.items()):
            if state is not None and state not in report.states:
                continue  # it was never visited
            forecast = report.after(state)
            for k, (value, name) in enumerate([(good, "success"), (moves, "steps")]):
                low, high = getattr(forecast, f"{name}_interval")
                inside[trial, i, k] = low <= value <= high
    return inside.reshape(trials, 4)


@pytest.mark.parametrize(
    ("intervals", "runs"), [("dirichlet", 12), ("dirichlet", 50), ("auto", 50)]
)
def test_intervals_cover_what_they_should(intervals, runs):
    # With 12 runs neither a posterior nor anything else knows the rare moves: 79% to 88% of 90%.
    trials = 90
    inside = covered(intervals, runs, trials)
    each = np.nanmean(inside, axis=0)
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.9) / trials
    assert (low if runs >= 50 else 0.68) <= each.min(), each
    assert each.max() <= high, each
    # All four together are told from intervals of 80%.
    of_trial = np.nanmean(inside, axis=1)
    error = of_trial.std() / np.sqrt(trials)
    assert of_trial.mean() >= (0.9 - 3 * error if runs >= 50 else 0.8), (of_trial.mean(), error)


def runs_of_two_kinds(rng, runs):
    """Easy runs end soon and well, hard ones late and badly; each has the names of both."""
    found = []
    for i in range(runs):
        hard = rng.random() < 0.5
        moves = rng.geometric(0.05 if hard else 0.5)
        succeeded = bool(rng.random() < (0.2 if hard else 0.9))
        states = [START, *["a"] * moves, END]
        made = tuple(pairwise(states))
        found.append(Trajectory(made, f"{i:04d}", success=succeeded, context=(("t", str(i // 3)),)))
    return found


def test_intervals_by_runs_cover_where_runs_differ_and_those_by_moves_do_not():
    rng, trials = np.random.default_rng(17), 80
    steps = 0.5 / 0.05 + 0.5 / 0.5  # of one state, all moves over all ends
    hits = {"auto": 0, "dirichlet": 0}
    for trial in range(trials):
        runs = runs_of_two_kinds(rng, 40)
        for kind in hits:
            forecast = forecast_outcome(
                runs, intervals=kind, replicates=99, fit_replicates=0, seed=trial
            )
            low, high = forecast.after("a").steps_interval
            hits[kind] += low <= steps <= high
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert low <= hits["auto"] <= high
    assert hits["dirichlet"] < low


def test_intervals_are_by_blocks_where_the_table_has_them_and_by_moves_with_few():
    table = RunTable.of(runs_of_two_kinds(np.random.default_rng(18), 60))
    settings = {"replicates": 50, "fit_replicates": 0}
    by_run = forecast_outcome(table, **settings)
    by_block = forecast_outcome(table.with_blocks("t"), **settings)
    assert (by_run.clusters, by_block.clusters) == (60, 20)
    assert by_run.after() != by_block.after()
    few = forecast_outcome(table.select(np.arange(9)), **settings)
    assert (few.intervals, few.clusters) == ("dirichlet", 0)


def test_the_order_of_the_runs_changes_no_digit():
    runs = runs_of_two_kinds(np.random.default_rng(19), 30)
    settings = {"replicates": 20, "fit_replicates": 39}
    first, again = (forecast_outcome(x, **settings).to_dict() for x in (runs, runs[::-1]))
    assert first == again


def test_a_mixture_fits_within_its_strata_only():
    rng = np.random.default_rng(20)
    kinds = [0.5, 0.05]
    runs = [
        Trajectory(
            tuple(pairwise([START, *["a"] * rng.geometric(kinds[i % 2]), END])),
            f"{i:04d}",
            success=True,
            context=(("kind", str(i % 2)),),
        )
        for i in range(200)
    ]
    settings = {"replicates": 0, "fit_replicates": 99}
    pooled = forecast_outcome(runs, **settings)
    stratified = forecast_outcome(runs, strata="kind", **settings)
    assert (pooled.verdict, stratified.verdict) == ("not reliable", "reliable within tasks")
    assert stratified.fit.to_dict() == pooled.fit.to_dict()
    pooled, within = pooled.fit, stratified.fit_within
    assert pooled.pvalue == 0.01
    assert within.pvalue > 0.025
    assert within.trusted
    with pytest.raises(InvalidInputError, match="do not go together"):
        forecast_outcome(runs, strata="kind", held_out=runs)


def test_forty_successes_leave_room_for_the_failures_that_nobody_saw():
    runs = [run("a", END, success=True)] * 40
    low, high = forecast_outcome(runs, replicates=2_000, fit_replicates=0).after().success_interval
    exact = binomtest(40, 40).proportion_ci(0.95).low
    assert exact - 0.03 < low < exact + 0.05
    assert high == 1


def test_the_band_of_the_curve_covers_the_curve():
    rng = np.random.default_rng(3)
    kernel, ends = random_chain(rng, 4)
    whole = np.zeros((6, 6))
    whole[:4, :4], whole[:4, 4:], whole[4, 4], whole[5, 5] = kernel, ends, 1, 1
    truth = np.linalg.matrix_power(whole, 5)[0, 4]  # the move out of START is a step too
    hits = 0
    for trial in range(80):
        forecast = forecast_outcome(
            walk_runs(rng, kernel, ends, 40), replicates=80, fit_replicates=0, seed=trial
        )
        low, high = forecast.curve(steps=6).success_interval[6]
        hits += low <= truth <= high
    assert hits / 80 > 0.86


def test_open_runs_are_censored_and_do_not_bend_the_forecast():
    rng = np.random.default_rng(2)
    kernel, ends = random_chain(rng, 3, ending=0.1)
    success, steps = absorption(kernel, ends)
    # Half of the runs are cut off after a few moves.
    runs = walk_runs(rng, kernel, ends, 3_000) + walk_runs(rng, kernel, ends, 3_000, limit=5)
    forecast = forecast_outcome(runs, **QUICK)
    assert forecast.open > 1_000
    assert forecast.after("s0").steps == pytest.approx(steps[0], rel=0.05)
    assert forecast.after("s0").success == pytest.approx(success[0], abs=0.03)
    shortest = np.mean([len(r) for r in runs])
    assert shortest < 0.8 * steps[0]  # what taking open runs for ended ones would say


def test_cumulative_incidence_of_censored_runs_is_that_of_aalen_and_johansen():
    # At risk 4, 3, 1: half of what is left fails after the censored run has gone.
    shares = cumulative_incidence(np.array([1, 2, 2, 3]), np.array([0, -1, 1, 0]), 3)
    np.testing.assert_allclose(shares[:, 0], [0, 1 / 4, 1 / 4, 3 / 4])
    np.testing.assert_allclose(shares[:, 1], [0, 0, 1 / 4, 1 / 4])


@pytest.mark.parametrize("held_out", [False, True])
def test_a_chain_of_order_one_is_seldom_called_wrong(held_out):
    rng = np.random.default_rng(11)
    kernel, ends = random_chain(rng, 3)
    wrong = 0
    for trial in range(60):
        others = walk_runs(rng, kernel, ends, 20) if held_out else None
        runs = walk_runs(rng, kernel, ends, 30)
        forecast = forecast_outcome(
            runs, held_out=others, replicates=0, fit_replicates=39, seed=trial
        )
        assert forecast.fit.held_out == held_out
        wrong += forecast.fit.pvalue <= 0.05
    # 5% of 60 is 3; 9 or more come once in 1,000. The textbook law would reject almost never
    # when it fits and is tested on the same runs.
    assert wrong <= 8


def test_the_law_of_the_distance_is_uniform_where_the_chain_is_right():
    rng = np.random.default_rng(12)
    kernel, ends = random_chain(rng, 3)
    pvalues = [
        forecast_outcome(
            walk_runs(rng, kernel, ends, 30), replicates=0, fit_replicates=79, seed=trial
        ).fit.pvalue
        for trial in range(80)
    ]
    # A test that is far too careful has its p-values near 1.
    assert 0.35 < np.mean(pvalues) < 0.65


def test_runs_that_count_their_steps_are_not_believed_to_be_a_chain():
    rng = np.random.default_rng(4)
    # All runs repeat one state ten times: the chain thinks that their length is geometric.
    runs = [run(*["a"] * 10, END, success=bool(rng.random() < 0.5)) for _ in range(40)]
    forecast = forecast_outcome(runs, replicates=0)
    assert not forecast.fit.trusted
    assert forecast.fit.distance > 0.2
    assert "not reliable" in forecast.describe()


def test_a_change_shows_in_held_out_runs():
    rng = np.random.default_rng(5)
    kernel, ends = random_chain(rng, 3)
    runs = walk_runs(rng, kernel, ends, 60)
    other = walk_runs(rng, kernel, ends[:, ::-1] * [[0.2, 1.8]], 60)
    assert forecast_outcome(runs, replicates=0).fit.trusted
    fit = forecast_outcome(runs, replicates=0, held_out=other).fit
    assert fit.held_out
    assert not fit.trusted
    assert "held-out runs end at different times" in fit.describe()


def test_the_forecast_is_seeded_and_json():
    rng = np.random.default_rng(6)
    runs = walk_runs(rng, *random_chain(rng, 3), 10)
    results = [forecast_outcome(runs, replicates=20, fit_replicates=39).to_dict() for _ in "ab"]
    assert results[0] == results[1]
    result = json.loads(json.dumps(results[0], allow_nan=False))
    assert result["settings"]["intervals"] == "bootstrap"
    assert set(result["states"]) >= {"state", "success", "success_low", "steps_high"}
    table = forecast_outcome(runs, replicates=20, fit_replicates=0).curve().to_table()
    assert len({len(column) for column in table.values()}) == 1
