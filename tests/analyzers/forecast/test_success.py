"""`forecast_success` and its parts, against numbers by hand and other minimisers."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from detailed_balance.analyzers import (
    END,
    START,
    OutcomeScore,
    PlattScaling,
    ProgressScaling,
    RunTable,
    StateOdds,
    Trajectory,
    forecast_success,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.forecast.calibration import brier_score, calibration_error
from detailed_balance.analyzers.forecast.success import half_way

QUICK = {"replicates": 199}


def run(*states, **known):
    return Trajectory(tuple(pairwise((START, *states, END))), **known)


def make_runs(rng, number, told, tasks=0):
    """Return runs that go round more where they fail; `told` is by how much."""
    made = []
    for i in range(number):
        task = int(rng.integers(tasks)) if tasks else 0
        good = bool(rng.random() < 0.5)
        rounds = rng.poisson(2 + (0 if good else told))
        states = ["plan", *["search", "read"] * int(rounds), "answer"]
        labels = (("task", str(task)),) if tasks else ()
        made.append(run(*states, success=good, name=f"{i:04}", context=labels))
    return made


class LastStateOdds:
    """The log odds of failure of runs that came to the last state; 0 where it is new."""

    def __init__(self, odds=None):
        self.odds = odds or {}

    def fit(self, runs, seed=0):
        seen = {}
        for each in runs:
            for state in set(each.states):
                seen.setdefault(state, []).append(not each.success)
        ends = {state: [sum(failed) + 1, len(failed) + 2] for state, failed in seen.items()}
        return LastStateOdds({s: np.log(bad / (n - bad)) for s, (bad, n) in ends.items()})

    def start(self):
        return self

    def update(self, source, target):
        return float(self.odds.get(source if target in (None, END) else target, 0.0))


def test_platt_scaling_is_the_maximum_of_his_likelihood():
    rng = np.random.default_rng(0)
    risk = rng.normal(size=60) * 3 + 7
    good = rng.random(60) < 1 / (1 + np.exp(risk - 7))
    failed, worked = (~good).sum(), good.sum()
    target = np.where(good, 1 / (worked + 2), (failed + 1) / (failed + 2))

    def loss(point):
        chance = 1 / (1 + np.exp(-(point[0] * risk + point[1])))
        return -(target * np.log(chance) + (1 - target) * np.log(1 - chance)).sum()

    best = minimize(
        loss, [0.5, -4.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    found = PlattScaling.fit(risk, good)
    assert [found.slope, found.intercept] == pytest.approx(best.x.tolist(), rel=1e-4)


def test_equal_risks_give_platts_estimate_of_the_share():
    found = PlattScaling.fit([2.0] * 10, [True] * 4 + [False] * 6)
    failing = (6 * 7 / 8 + 4 * 1 / 6) / 10  # the mean of his targets
    assert float(found([2.0])[0]) == pytest.approx(1 - failing)


def test_a_scaling_by_progress_finds_the_coefficients_that_outcomes_were_drawn_with():
    rng, number = np.random.default_rng(1), 40_000
    risk, odds, moves = (
        rng.normal(size=number),
        rng.normal(size=number),
        rng.integers(1, 30, number),
    )
    log = np.log(moves)
    failing = -0.4 + 0.8 * risk + 0.5 * odds + 0.3 * log - 0.2 * risk * log + 0.1 * log**2
    good = rng.random(number) > 1 / (1 + np.exp(-failing))
    found = ProgressScaling.fit(risk, odds, moves, good)
    known = ProgressScaling(-0.4, 0.8, 0.5, 0.3, -0.2, 0.1)
    assert found(risk, odds, moves) == pytest.approx(known(risk, odds, moves), abs=0.05)
    weighted = ProgressScaling.fit(risk, odds, moves, good, weights=1 / moves)
    assert weighted(risk, odds, moves) == pytest.approx(known(risk, odds, moves), abs=0.08)


def test_odds_of_states_by_hand():
    runs = [run("a", "b", success=True), run("a", success=False)]
    found = StateOdds.fit(RunTable.of(runs))
    # The first move weighs 1, the second 1/2: 1.5 of the successful run, 1 of the bad one, 1/2 for
    # each.
    share = 1.5 / 3.5
    of_all = np.log(share / (1 - share))
    of_a = np.log((1 + 10 * share) / (1 + 10 * (1 - share)))
    of_b = np.log(10 * share / (0.5 + 10 * (1 - share)))
    assert found.values["a"] == pytest.approx(of_a - of_all)
    assert found.values["b"] == pytest.approx(of_b - of_all)
    escaped = Trajectory(((START, "a"), ("a", None), ("a", "new")))
    known = found.values["a"]
    assert found.of_moves(RunTable.of([escaped])).tolist() == [known, known, 0.0]


def test_half_way_is_a_number_of_moves_that_all_runs_share():
    runs = [run(*"a" * length, name=str(length)) for length in (1, 2, 5, 9)]  # and a move to END
    assert half_way(RunTable.of(runs))[0] == 2  # the median of 2, 3, 6 and 10 moves is 4.5
    _, at = half_way(RunTable.of(runs))
    assert at.tolist() == [-1, 3, 6, 12]  # the first had ended by its second move


def test_brier_score_and_calibration_error_by_hand():
    said, seen = [0.1, 0.4, 0.8], [False, True, True]
    assert brier_score(said, seen).mean() == pytest.approx((0.01 + 0.36 + 0.04) / 3)
    # Two bins of two: shares 1/2 and 1, means 0.25 and 0.8.
    said, seen = [0.2, 0.3, 0.7, 0.9], [False, True, True, True]
    assert calibration_error(said, seen, bins=2) == pytest.approx(0.5 * 0.25 + 0.5 * 0.2)
    assert calibration_error([0.5] * 8, [True, False] * 4) == 0.0
    # Two parts, each with a lower and an upper bin: residuals -0.1, 0.5, -0.3 and 0.2.
    said, seen, parts = [0.1, 0.5, 0.3, 0.8], [False, True, False, True], [0, 0, 1, 1]
    assert calibration_error(said, seen, bins=2, parts=parts) == pytest.approx((0.4 + 0.7) / 4)


def test_the_calibration_error_does_not_depend_on_the_order_of_runs():
    rng = np.random.default_rng(1)
    said = rng.integers(0, 5, 40) / 5
    seen = rng.random(40) < said
    order = rng.permutation(40)
    assert calibration_error(said, seen) == calibration_error(said[order], seen[order])


def make_tool_runs(rng, number):
    """Return runs in which one tool mostly succeeds, and the other mostly fails."""
    runs = []
    for i in range(number):
        tool = int(rng.integers(2))
        good = bool(rng.random() < (0.85 if tool else 0.15))
        runs.append(run("plan", f"tool {tool}", success=good, name=f"{i:04}"))
    return runs


def test_a_telling_path_gives_a_reliable_forecast():
    found = forecast_success(
        make_tool_runs(np.random.default_rng(2), 400), score=LastStateOdds(), **QUICK
    )
    assert found.verdict == "reliable"
    assert found.brier_end < 0.16 < found.brier_half < 0.26
    assert 0 < found.gain_end[0] < found.brier_base - found.brier_end < found.gain_end[1]


def test_runs_that_go_round_are_forecast_reliably():
    found = [
        forecast_success(make_runs(np.random.default_rng(seed), 160, 6.0), **QUICK)
        for seed in range(300, 306)
    ]
    assert [each.verdict for each in found].count("reliable") >= 5
    assert all(each.brier_end < 0.1 < 0.2 < each.brier_base for each in found)
    assert all(each.gain_end[0] > 0 for each in found)


def test_while_all_runs_are_alike_the_forecast_is_the_share_of_successes():
    rng, runs = np.random.default_rng(8), []
    for i in range(200):
        good = bool(rng.random() < 0.5)
        rounds = int(rng.integers(1, 3) if good else rng.integers(6, 12))
        runs.append(run("plan", *["search", "read"] * rounds, success=good, name=f"{i:04}"))
    table = RunTable.of(runs)
    found = forecast_success(table, **QUICK)
    second = found.probabilities(table)[table.offsets[:-1] + 1]  # every run is in its first search
    assert np.allclose(second, second[0])
    assert second[0] == pytest.approx(found.base_rate, abs=0.15)
    # The middle of each run gives away how it ends: there, so little repetition means success.
    middle = table.offsets[:-1] + table.lengths // 2 - 1
    risks = OutcomeScore().fit(table).risks(table)
    scaled = PlattScaling.fit(risks[middle], table.success == 1)
    assert scaled(risks[table.offsets[:1] + 1])[0] > 0.9


def test_runs_that_end_well_whenever_they_end_are_forecast_so():
    rng, runs = np.random.default_rng(9), []
    for i in range(80):
        states = ["plan", *["search"] * int(rng.integers(1, 9))]
        moves = tuple(pairwise((START, *states)))
        good = bool(rng.random() < 0.5)
        moves = (*moves, (states[-1], END if good else None))
        runs.append(Trajectory(moves, success=good, name=f"{i:04}"))
    found = forecast_success(runs, **QUICK)
    ended = [each for each in runs if each.success]
    last = [found.probabilities([each])[-1] for each in ended]
    assert min(last) > 0.95
    state = found.start()
    live = [state.update(*move) for move in ended[0].moves]
    assert live[-1] == pytest.approx(last[0])
    assert max(live[:-1]) < 0.8


def test_outcomes_that_have_nothing_to_do_with_the_path_are_not_forecast():
    verdicts = [
        forecast_success(make_runs(np.random.default_rng(seed), 60, 0.0), **QUICK).verdict
        for seed in range(10)
    ]
    assert verdicts.count("not reliable") >= 9


def test_a_perfect_forecast_is_seldom_called_miscalibrated():
    rng, found = np.random.default_rng(3), []
    for seed in range(20):
        runs = make_tool_runs(rng, 200)
        each = forecast_success(runs, score=LastStateOdds(), seed=seed, **QUICK)
        found.append(min(each.error_pvalue) <= each.alpha / 2)
    assert sum(found) <= 4  # 20 trials at 5%: P(more than 4) = 0.003


def make_task_runs(rng, number, tasks=8):
    """Return runs of tasks that have a tool of their own each, and mostly one outcome."""
    runs, easy = [], rng.random(tasks) < 0.5
    for i in range(number):
        task = i % tasks
        good = bool(rng.random() < (0.9 if easy[task] else 0.1))
        labels = (("task", str(task)),)
        runs.append(run("plan", f"tool {task}", success=good, name=f"{i:04}", context=labels))
    return RunTable.of(runs).with_blocks("task")


def test_what_only_runs_of_known_tasks_tell_is_reliable_within_tasks():
    found = [
        forecast_success(
            make_task_runs(np.random.default_rng(seed), 960), score=LastStateOdds(), **QUICK
        )
        for seed in range(3)
    ]
    assert {each.verdict for each in found} == {"reliable within tasks"}
    assert all(each.within.gain_end[0] > 0 for each in found)
    assert all(each.unit == "block" for each in found)
    assert all(each.within.brier_end < 0.15 for each in found)
    assert "for more runs of the same: reliable" in found[0].describe()


class ToolNumber:
    """The number of the tool."""

    def fit(self, runs, seed=0):
        return self

    def start(self):
        self.risk = 0.0
        return self

    def update(self, source, target):
        self.risk = float(target[-1]) if target.startswith("tool") else self.risk
        return self.risk


def test_a_risk_that_is_highest_in_the_middle_is_called_miscalibrated():
    rng, runs = np.random.default_rng(4), []
    for i in range(400):
        tool = int(rng.integers(3))
        good = bool(rng.random() < (0.9, 0.2, 0.7)[tool])
        runs.append(run("plan", f"tool {tool}", success=good, name=f"{i:04}"))
    found = forecast_success(runs, score=ToolNumber(), **QUICK)
    assert found.error_pvalue[1] == 1 / 200
    assert found.verdict == "not reliable"
    assert "at the end are off by" in found.describe()


def test_what_the_agent_wrote_is_read_where_the_score_reads_it():
    rng, runs, texts = np.random.default_rng(5), [], {}
    for i in range(120):
        good = bool(rng.random() < 0.5)
        runs.append(run("plan", "search", success=good, name=f"{i:03}"))
        texts[f"{i:03}"] = [None, "all went well" if rng.random() < 0.9 * good else "no idea"]
    score = OutcomeScore(text="ngrams")
    with pytest.raises(InvalidInputError, match="texts"):
        forecast_success(runs, score=score)
    found = forecast_success(runs, score=score, texts=texts, **QUICK)
    assert found.brier_end < 0.1 < 0.2 < forecast_success(runs, **QUICK).brier_end
    state = found.start()
    written = [*texts["007"], None]
    live = [
        state.update(*move, text=text) for move, text in zip(runs[7].moves, written, strict=True)
    ]
    assert live == pytest.approx(found.probabilities([runs[7]], texts=texts).tolist(), abs=1e-12)


def test_live_forecasts_are_those_of_the_table():
    runs = make_runs(np.random.default_rng(5), 60, 4.0)
    found = forecast_success(runs, **QUICK)
    state = found.start()
    assert [state.update(*move) for move in runs[3].moves] == pytest.approx(
        found.probabilities([runs[3]]).tolist(), abs=1e-12
    )
    assert found.to_dict()["verdict"] == found.verdict
    assert sum(found.to_table()["runs"]) == 60 + found.runs_half
    assert found.runs_half == np.isfinite(found.probability[:, 0]).sum()


def test_the_order_of_runs_changes_no_digit():
    runs = make_runs(np.random.default_rng(6), 40, 4.0)
    one, other = (forecast_success(given, **QUICK).to_dict() for given in (runs, runs[::-1]))
    assert one == other


def test_too_little_is_refused_with_what_it_takes():
    runs = make_runs(np.random.default_rng(7), 19, 4.0)
    with pytest.raises(InsufficientDataError, match="20 runs"):
        forecast_success(runs)
    with pytest.raises(InvalidInputError, match="folds=1"):
        forecast_success(runs, folds=1)
    with pytest.raises(InsufficientDataError, match="both outcomes"):
        PlattScaling.fit([1.0, 2.0], [True, True])
