"""`DriftMartingale`: exact p-values, few false alarms, and a change is found."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from scipy.integrate import quad

from detailed_balance import read_runs
from detailed_balance.analyzers import DriftMartingale, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sequential._run_scores import SCORES, RunScorer
from detailed_balance.analyzers.sequential.conformal_betting import (
    BETS,
    ConformalMartingale,
    RankedScores,
)
from detailed_balance.analyzers.sequential.drift_martingale import split_baseline
from tests.support.chains import data_file
from tests.support.trajectories import RUNS

ALPHA = 0.2  # a higher level than in use, for a sharper test at the same number of runs
MONITORS = 200
STATES = ("plan", "search", "read", "write", "__end__")
USUAL = {
    "__start__": (0.9, 0.1, 0.0, 0.0, 0.0),
    "plan": (0.0, 0.7, 0.2, 0.1, 0.0),
    "search": (0.1, 0.2, 0.6, 0.1, 0.0),
    "read": (0.1, 0.2, 0.1, 0.4, 0.2),
    "write": (0.1, 0.0, 0.2, 0.2, 0.5),
}
CHANGED = USUAL | {"read": (0.1, 0.6, 0.1, 0.1, 0.1), "write": (0.4, 0.3, 0.1, 0.1, 0.1)}


def draw_run(rng, kernel=USUAL, name=None):
    moves, state = [], "__start__"
    while state != "__end__":
        target = STATES[np.searchsorted(np.cumsum(kernel[state]), rng.random() * 0.999999)]
        moves.append((state, target))
        state = target
    return Trajectory(tuple(moves), name, success=bool(rng.random() < 0.7))


def draw_runs(rng, count, kernel=USUAL):
    return [draw_run(rng, kernel, f"run-{i}") for i in range(count)]


def is_uniform(pvalues):
    """Kolmogorov-Smirnov at one in a thousand, by its asymptotic bound."""
    return stats.kstest(pvalues, "uniform").statistic < 1.95 / np.sqrt(len(pvalues))


def in_sample_pvalues(rng):
    """A wrong method: the calibration runs are those that the kernel was fitted to."""
    baseline = draw_runs(rng, 20)
    scorer = RunScorer(baseline)
    ranks = RankedScores(scorer.score(run)["surprise"] for run in baseline)
    return [ranks.add(scorer.score(run)["surprise"], rng) for run in draw_runs(rng, 30)]


def pvalues_with_ties_unbroken(rng):
    """A wrong method: equal scores count as higher ones."""
    seen, found = list(rng.random(20) < 0.3), []
    for failed in rng.random(30) < 0.3:
        seen.append(failed)
        found.append(np.mean(np.array(seen) >= failed))
    return found


def ever_alarms(pvalues):
    martingale, highest = ConformalMartingale(), 0.0
    for pvalue in pvalues:
        martingale.update(pvalue)
        highest = max(highest, martingale.log_e_value)
    return highest >= -np.log(ALPHA)


@pytest.fixture(scope="module")
def quiet():
    """Monitors of an agent that never changes, after 40 new runs each, with all p-values."""
    monitors, pvalues = [], []
    for seed in range(MONITORS):
        rng = np.random.default_rng((7, seed))
        drift = DriftMartingale(draw_runs(rng, 40), ALPHA, seed=seed)
        for run in draw_runs(rng, 40):
            drift.update(run)
            pvalues.append([drift.pvalues[name] for name in SCORES])
        monitors.append(drift)
    return monitors, np.array(pvalues).reshape(MONITORS, 40, len(SCORES))


@pytest.mark.parametrize("score", SCORES)
def test_pvalues_are_uniform_while_nothing_changes(quiet, score):
    assert is_uniform(quiet[1][:, :, list(SCORES).index(score)].ravel())


def test_pvalues_do_not_depend_on_those_before(quiet):
    bound = 4 / np.sqrt(quiet[1][:, 1:, 0].size)
    for k in range(len(SCORES)):
        for lag in (1, 5):
            before, after = quiet[1][:, :-lag, k].ravel(), quiet[1][:, lag:, k].ravel()
            assert abs(np.corrcoef(before, after)[0, 1]) < bound
        # The mean over a run of p-values varies as that of independent ones.
        spread = quiet[1][:, :, k].mean(axis=1).var() * 40 * 12
        assert abs(spread - 1) < 4 * np.sqrt(2 / (MONITORS - 1))


def test_false_alarms_stay_within_alpha(quiet):
    alarms = sum(drift.alarm for drift in quiet[0])
    assert alarms / MONITORS <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / MONITORS)
    assert alarms > 0  # the level is high enough for the test to bite


def test_one_gambler_alone_stays_within_alpha(quiet):
    for score in ("surprise", "failure"):
        share = np.mean([ever_alarms(r) for r in quiet[1][:, :, list(SCORES).index(score)]])
        assert share <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / MONITORS)


@pytest.mark.parametrize("wrong", [in_sample_pvalues, pvalues_with_ties_unbroken])
def test_wrong_pvalues_would_be_told(wrong):
    rows = [wrong(np.random.default_rng((8, seed))) for seed in range(100)]
    assert not is_uniform(np.ravel(rows))
    share = np.mean([ever_alarms(row) for row in rows])
    assert share > ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 100)


def test_equal_scores_give_uniform_pvalues():
    rng = np.random.default_rng(9)
    ranks = RankedScores([1.0] * 10)
    assert is_uniform([ranks.add(1.0, rng) for _ in range(2000)])


def test_runs_that_are_all_the_same_raise_no_alarm():
    run = draw_run(np.random.default_rng(3))
    drift = DriftMartingale([run] * 20)
    for _ in range(200):
        drift.update(run)
    assert not drift.alarm
    assert len(set(drift.pvalues.values())) == len(SCORES)


def test_forgetting_by_chance_keeps_the_pvalues_exact():
    rows = []
    for seed in range(300):
        rng = np.random.default_rng((10, seed))
        ranks = RankedScores(rng.normal(size=8), limit=10)
        rows.append([ranks.add(value, rng) for value in rng.normal(size=60)])
        assert len(ranks.values) == 10
    assert is_uniform(np.ravel(rows))
    assert abs(np.mean(rows, axis=1).var() * 60 * 12 - 1) < 4 * np.sqrt(2 / 299)


def test_forgetting_the_oldest_would_not_keep_them_independent():
    means = []
    for seed in range(300):
        rng = np.random.default_rng((11, seed))
        values = rng.normal(size=70)
        means.append(np.mean([np.mean(values[i - 10 : i] > values[i]) for i in range(10, 70)]))
    assert abs(np.var(means) * 60 * 12 - 1) > 4 * np.sqrt(2 / 299)


def test_a_bet_is_fair():
    martingale = ConformalMartingale()
    martingale.update(0.01)

    def capital(pvalue):
        after = ConformalMartingale(**martingale.to_dict())
        after.update(pvalue)
        return np.exp(after.log_e_value)

    mean = sum(quad(capital, *ends, limit=200)[0] for ends in ((0, 0.1), (0.1, 0.9), (0.9, 1)))
    assert mean == pytest.approx(np.exp(martingale.log_e_value), rel=1e-5)


def test_the_capital_is_that_of_gamblers_who_start_at_every_time():
    pvalues = np.random.default_rng(12).random(6)
    martingale = ConformalMartingale()
    gains = [martingale.update(p) for p in pvalues]
    capital = 1 / 7  # never put in
    for start in range(1, 7):
        products = [np.prod(stats.beta.pdf(pvalues[start - 1 :], a, b)) for a, b in BETS]
        capital += np.mean(products) / (start * (start + 1))
    assert martingale.log_e_value == pytest.approx(np.log(capital), abs=1e-12)
    assert sum(gains) == pytest.approx(martingale.log_e_value, abs=1e-12)


def test_pvalues_at_the_very_edge_are_taken():
    martingale = ConformalMartingale()
    assert all(np.isfinite(martingale.update(pvalue)) for pvalue in (0.0, 1.0))


def test_the_probabilities_of_a_row_and_of_what_was_never_seen_add_up_to_one():
    scorer = RunScorer(draw_runs(np.random.default_rng(13), 20))

    def probability(target):
        run = Trajectory((("plan", "search"), ("search", target)))
        (surprise,) = [n for f, g, n in scorer.surprising_moves(run, 2) if (f, g) == run.moves[1]]
        return np.exp(-surprise)

    assert sum(map(probability, (*STATES, "never seen"))) == pytest.approx(1, abs=1e-9)


def test_scores_come_out_as_by_hand():
    usual = Trajectory((("a", "b"), ("b", "a")))
    scorer = RunScorer([usual] * 5)
    run = Trajectory((("a", "b"), ("b", "a"), ("a", "a"), ("a", None)), success=False)
    scores = scorer.score(run)
    # Each target was reached 5 times of 10; 1/2 is added to each and kept for the unseen.
    expected = stats.entropy([0.25, 0.5, 0.25], [5.5 / 11.5, 5.5 / 11.5, 1])
    expected -= np.log(5.5 / 11.5 * 2 + 1)  # scipy normalises, which adds this
    expected += 0.25 * np.log(11.5 / 0.5)
    assert scores["states"] == pytest.approx(expected, abs=1e-9)
    # The second time a state is left towards another, it goes straight back.
    assert (scores["returns"], scores["repeats"]) == (0.25, 0.5)
    assert (scores["length"], scores["failure"]) == (4.0, 1.0)


def changed_monitor(quiet_runs=0, **options):
    rng = np.random.default_rng(14)
    drift = DriftMartingale(draw_runs(rng, 60), **options)
    for run in draw_runs(rng, quiet_runs) + draw_runs(rng, 60, CHANGED):
        drift.update(run)
    return drift


def test_a_clear_change_is_found():
    assert changed_monitor().alarm


def test_a_change_after_a_long_quiet_time_is_found():
    drift = changed_monitor(quiet_runs=300)
    assert 300 < drift.alarmed_at <= 360


def test_e_is_the_largest_capital_over_the_number_of_scores():
    drift = changed_monitor(scores=("surprise", "length"))
    expected = max(drift.log_e_values.values()) - np.log(2)
    assert drift.log_e_value == pytest.approx(expected, abs=1e-12)
    assert set(drift.log_e_values) == {"surprise", "length"}


def test_an_alarm_stays_on():
    rng = np.random.default_rng(15)
    drift = DriftMartingale(draw_runs(rng, 60))
    while not drift.alarm:
        drift.update(draw_run(rng, CHANGED))
    assert drift.log_e_value >= drift.threshold
    alarmed_at = drift.runs
    while drift.log_e_value >= drift.threshold:
        drift.update(draw_run(rng))
    assert drift.alarm
    assert drift.alarmed_at == alarmed_at < drift.runs


def test_the_evidence_names_the_run_and_the_move_that_was_new():
    rng = np.random.default_rng(16)
    drift = DriftMartingale(draw_runs(rng, 60))
    for i in range(30):
        run = draw_run(rng, name=f"new-{i}")
        drift.update(replace(run, moves=(*run.moves[:-1], (run.moves[-1][0], "crash\n\x1b[2J"))))
    best = drift.evidence[0]
    assert best.moves[0][1] == "crash\n\x1b[2J"
    assert best.run == f"new-{best.number - 1}"
    assert [e.gain for e in drift.evidence] == sorted(e.gain for e in drift.evidence)[::-1]
    assert "\\n" in drift.describe()
    assert drift.describe().isprintable()


def test_a_quiet_monitor_says_so():
    drift = DriftMartingale(draw_runs(np.random.default_rng(17), 20))
    assert drift.describe().startswith("no evidence of a change after 0 new runs")
    assert (drift.alarm, drift.evidence, drift.log_e_value) == (False, (), -np.log(6))


def test_the_order_of_the_calibration_runs_does_not_matter():
    rng = np.random.default_rng(18)
    baseline, new = draw_runs(rng, 30), draw_runs(rng, 20)
    _, calibration = split_baseline(30, seed=5)
    other = list(baseline)
    for place, source in zip(calibration, rng.permutation(calibration), strict=True):
        other[place] = baseline[source]
    assert other != baseline
    one, two = DriftMartingale(baseline, seed=5), DriftMartingale(other, seed=5)
    for run in new:
        one.update(run)
        two.update(run)
        assert one.pvalues == two.pvalues
    assert one.to_dict()["tests"] == two.to_dict()["tests"]


@pytest.mark.parametrize("max_runs", [10_000, 25])
def test_a_monitor_restored_half_way_goes_on_with_the_same_numbers(max_runs):
    rng = np.random.default_rng(19)
    one = DriftMartingale(draw_runs(rng, 40), seed=3, max_runs=max_runs)
    fresh = DriftMartingale.from_dict(json.loads(json.dumps(one.to_dict())))
    for run in draw_runs(rng, 15, CHANGED):
        one.update(run)
        fresh.update(run)
    two = DriftMartingale.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
    for run in draw_runs(rng, 15, CHANGED):
        for drift in (one, two, fresh):
            drift.update(run)
    assert one.to_dict() == two.to_dict() == fresh.to_dict()
    assert one.evidence == two.evidence
    assert one.describe() == two.describe()


def test_memory_is_bounded():
    rng = np.random.default_rng(20)
    drift = DriftMartingale(draw_runs(rng, 120), max_runs=50)
    for run in draw_runs(rng, 20):
        drift.update(run)
    for test in drift.to_dict()["tests"]:
        assert len(test["ranks"]["values"]) == 50
        assert len(test["evidence"]) <= 10


def test_a_run_that_nobody_judged_is_not_bet_on_by_failure():
    rng = np.random.default_rng(21)
    drift = DriftMartingale(draw_runs(rng, 20))
    drift.update(replace(draw_run(rng), success=None))
    assert drift.pvalues["failure"] is None
    assert drift.log_e_values["failure"] == 0.0
    assert drift.log_e_values["surprise"] != 0.0


def test_a_baseline_that_nobody_judged_leaves_failure_out():
    runs = [replace(run, success=None) for run in draw_runs(np.random.default_rng(22), 20)]
    assert "failure" not in DriftMartingale(runs).log_e_values
    with pytest.raises(InsufficientDataError, match="0 calibration runs have a value of 'failure'"):
        DriftMartingale(runs, scores=["failure"])


def test_empty_runs_have_a_length_only():
    drift = DriftMartingale([Trajectory(())] * 20)
    drift.update(Trajectory(()))
    assert set(drift.pvalues) == {"length"}
    usual = DriftMartingale(draw_runs(np.random.default_rng(23), 40))
    for _ in range(30):
        usual.update(Trajectory(()))
    assert usual.pvalues["surprise"] is None
    assert usual.alarm


def test_too_few_baseline_runs_say_how_many_are_needed():
    with pytest.raises(InsufficientDataError, match=r"19 baseline runs; at least 20"):
        DriftMartingale(draw_runs(np.random.default_rng(24), 19))


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"scores": []},
        {"scores": ["lenght"]},
        {"seed": -1},
        {"max_runs": 19},
    ],
)
def test_settings_that_are_not_allowed_are_refused(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        DriftMartingale(draw_runs(np.random.default_rng(25), 20), **options)


@pytest.mark.parametrize("state", [{}, {"version": 1}, {"version": 2}])
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(InvalidInputError, match="DriftMartingale"):
        DriftMartingale.from_dict(state)


@given(names=st.lists(st.text(max_size=5), min_size=6, max_size=6, unique=True))
@settings(max_examples=25, deadline=None)
def test_other_names_of_the_states_change_no_number(names):
    rng = np.random.default_rng(26)
    runs = draw_runs(rng, 20) + draw_runs(rng, 10, CHANGED)
    name_of = dict(zip(("__start__", *STATES), names, strict=True))
    other = [replace(r, moves=tuple((name_of[f], name_of[g]) for f, g in r.moves)) for r in runs]
    one, two = DriftMartingale(runs[:20]), DriftMartingale(other[:20])
    for run, renamed in zip(runs[20:], other[20:], strict=True):
        one.update(run)
        two.update(renamed)
        assert one.pvalues == two.pvalues
    assert one.log_e_values == two.log_e_values


def test_one_model_in_place_of_another_is_found_in_real_runs():
    folder = data_file("tau2_airline")
    baseline, new = (
        read_runs(folder / f"{name}.jsonl.gz", success_field="reward")
        for name in ("gpt-4o", "gpt-oss-120b_langchain")
    )
    found = 0
    for seed in range(10):  # of 25 calibration runs, as drawn, some tell less than others
        drift = DriftMartingale(baseline, seed=seed)
        drift.update_runs(new)
        found += drift.alarm
    assert found >= 5


@settings(deadline=None)
@given(RUNS)
def test_scores_of_a_table_are_those_of_each_run(runs):
    scorer = RunScorer([*draw_runs(np.random.default_rng(3), 5), *runs[:1]])
    expected = [scorer.score(run) for run in runs]
    found = scorer.score_runs(RunTable.of(runs))
    for name in SCORES:
        values = [None if np.isnan(value) else value for value in found[name].tolist()]
        assert values == [score[name] for score in expected]


@settings(deadline=None)
@given(RUNS)
def test_the_kernels_of_a_table_are_those_of_its_moves(runs):
    moves = Counter()
    for run in runs:
        sources = [None, *(source for source, _ in run.moves)]
        moves.update((b, f, g) for b, (f, g) in zip(sources, run.moves, strict=False))
    kept = RunScorer(RunTable.of(runs)).to_dict()["moves"]
    assert {tuple(move): count for *move, count in kept} == moves


@pytest.mark.parametrize("max_runs", [10_000, 30])
def test_many_runs_at_once_are_the_same_as_one_by_one(max_runs):
    rng = np.random.default_rng(31)
    baseline, usual = draw_runs(rng, 40), draw_runs(rng, 60)
    new = [replace(run, success=None) if i % 3 == 0 else run for i, run in enumerate(usual)]
    new += [Trajectory((("plan", "plan"),) * 7, f"run-{i}") for i in range(20)] + [Trajectory(())]
    one, other = (DriftMartingale(baseline, seed=4, max_runs=max_runs) for _ in range(2))
    for run in new:
        one.update(run)
    other.update_runs(RunTable.of(new))
    assert other.to_dict() == one.to_dict()
    assert one.evidence
    assert other.evidence == one.evidence
