import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.sparse import csr_array

from detailed_balance.analyzers import (
    END,
    START,
    OutcomeScore,
    RepetitionLimits,
    RunGuard,
    Trajectory,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard._grams import log_ratio
from detailed_balance.analyzers.guard.conformal import conformal_threshold
from detailed_balance.analyzers.guard.watch import run_maxima
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.readers import read_transitions
from tests.support.chains import data_file
from tests.support.trajectories import RUNS


def run_of(*states, success=None):
    return Trajectory(tuple(zip((START, *states[:-1]), states, strict=True)), success=success)


def walk(rng, lively, success):
    """Walk among five states; the less lively, the longer it goes between the first two."""
    states = [str(rng.integers(5))]
    while rng.random() > 0.07 and len(states) < 60:
        states.append(str(rng.integers(2 + 3 * (rng.random() < lively))))
    return run_of(*states, success=success)


def recorded(seed, good=60, bad=40):
    rng = np.random.default_rng(seed)
    runs = [walk(rng, 0.7, True) for _ in range(good)]
    return runs + [walk(rng, 0.3, False) for _ in range(bad)]


class Silly:
    """A score that is a random walk, seeded by the run's own moves so far."""

    def fit(self, runs, seed=0):
        return self

    def start(self):
        return Silly.State()

    class State:
        def __init__(self):
            self.sum = self.steps = 0

        def update(self, source, target):
            self.steps += 1
            self.sum += math.sin(1000 * self.steps + 77 * ord(target[0]) + ord(source[0]))
            return self.sum


class Memory:
    """The silliest: the runs it was fitted to are safe, step by step, all others are not."""

    def fit(self, runs, seed=0):
        fitted = Memory()
        fitted.known = {run.moves[: i + 1] for run in runs for i in range(len(run.moves))}
        return fitted

    def start(self):
        return Memory.State(self.known)

    class State:
        def __init__(self, known):
            self.known, self.moves = known, ()

        def update(self, source, target):
            self.moves += ((source, target),)
            return (self.moves not in self.known) * (1 + len(self.moves))


def false_stops(score, alpha, fits, good=20, bad=10):
    """Return the share of new successful runs stopped, over guards, and its standard error."""
    shares = []
    for seed in range(fits):
        rng = np.random.default_rng(10_000 + seed)
        guard = RunGuard.fit(recorded(seed, good, bad), alpha, score, seed=seed)
        fresh = RunTable.of([walk(rng, 0.7, True) for _ in range(10)])
        maxima = run_maxima(guard.score, fresh, None)
        shares.append(np.mean(np.array(maxima) > guard.threshold))
    return np.mean(shares), np.std(shares, ddof=1) / np.sqrt(fits)


@pytest.mark.parametrize(
    ("score", "alpha", "fits"),
    [
        (None, 0.1, 100),
        (Silly(), 0.1, 200),
        (Silly(), 0.25, 200),
        (Memory(), 0.1, 200),
        (RepetitionLimits(max_stay=3, max_rounds=4), 0.1, 200),
    ],
)
def test_few_good_runs_are_stopped_whatever_the_score(score, alpha, fits):
    share, error = false_stops(score, alpha, fits)
    assert share <= alpha + 3 * error


def test_the_promise_is_used_up_where_the_score_has_no_ties():
    # Without ties the share is alpha itself: a rank one too low or too high shows, at m = 9.
    share, error = false_stops(Silly(), 0.1, 400)
    assert abs(share - 0.1) < 3 * error
    assert 3 * error < 0.05


def test_a_threshold_from_the_fitted_runs_breaks_the_promise():
    # The check of the checks: what must fail them, does.
    runs = recorded(0)
    fitted = Memory().fit(runs)
    good = [run for run in runs if run.success]
    maxima = [max(map(fitted.start().update, *zip(*run.moves, strict=True))) for run in good]
    guard = RunGuard(fitted, conformal_threshold(maxima, 0.1))
    fresh = [walk(np.random.default_rng(5), 0.7, True) for _ in range(50)]
    assert np.mean([guard.watch(run.moves).stopped for run in fresh]) > 0.5


@pytest.mark.parametrize(
    ("m", "alpha", "rank"),
    # ceil((m + 1)(1 - alpha)) by hand: 9, 9.9 -> 10, 18, 27, 2.25 -> 3, 9.5 -> 10
    [(9, 0.1, 9), (10, 0.1, 10), (19, 0.1, 18), (29, 0.1, 27), (2, 0.25, 3), (18, 0.5, 10)],
)
def test_the_threshold_is_the_hand_worked_order_statistic(m, alpha, rank):
    maxima = np.random.default_rng(1).permutation(np.arange(1.0, m + 1))
    assert conformal_threshold(list(maxima), alpha) == (rank if rank <= m else None)


def test_a_run_is_stopped_only_above_the_threshold():
    rules = RepetitionLimits(max_stay=4)
    guard = RunGuard(rules, threshold=0.75)
    assert not guard.watch(run_of("a", "a", "a").moves).stopped
    assert guard.watch(run_of("a", "a", "a", "a").moves).stopped_at == 4


def test_too_few_good_runs_say_how_many_it_takes_and_give_the_score():
    runs = recorded(3, good=9)
    with pytest.raises(
        InsufficientDataError, match=r"at least 10 successful runs .* there are 9"
    ) as caught:
        RunGuard.fit(runs)
    guard = caught.value.partial
    assert guard.threshold is None
    assert guard.promise is None
    watch = guard.watch(runs[0].moves)
    assert not watch.stopped
    assert "and no threshold; it" in watch.describe()
    assert RunGuard.fit(recorded(3, good=10)).calibration == 9


def test_without_failed_runs_only_declared_measures_can_be_calibrated():
    runs = recorded(4, bad=0)
    with pytest.raises(InsufficientDataError, match="RepetitionLimits"):
        RunGuard.fit(runs)
    assert RunGuard.fit(runs, score=RepetitionLimits(max_rounds=1)).promise


def test_unjudged_runs_are_counted_and_change_nothing():
    runs = recorded(5)
    unknown = [run_of("x", "y") for _ in range(7)]
    plain, mixed = RunGuard.fit(runs), RunGuard.fit([*unknown, *runs])
    assert (plain.ignored, mixed.ignored) == (0, 7)
    assert plain.to_dict() == {**mixed.to_dict(), "ignored": 0}


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_shares_out_of_range_are_refused(value):
    with pytest.raises(InvalidInputError, match="alpha"):
        RunGuard.fit(recorded(0), alpha=value)
    with pytest.raises(InvalidInputError, match="calibration_share"):
        RunGuard.fit(recorded(0), calibration_share=value)


GUARD = RunGuard.fit(recorded(6))
moves = st.lists(
    st.tuples(st.sampled_from("0123z"), st.sampled_from(["0", "1", "2", "z", None])), max_size=30
)


@settings(max_examples=50)
@given(moves, moves, moves)
def test_the_risk_of_a_prefix_does_not_depend_on_what_follows(prefix, one, other):
    def risks(moves):
        watch = GUARD.watch()
        return [watch.update(*move) for move in moves][: len(prefix)]

    assert risks(prefix + one) == risks(prefix + other)


@settings(max_examples=30)
@given(moves)
def test_one_by_one_among_others_equals_all_at_once(walked):
    guard = RunGuard.from_dict(GUARD.to_dict())
    for i, move in enumerate(walked):
        guard.update("run", *move)
        guard.update(f"other {i % 3}", "0", "1")
    whole = guard.watch(walked)
    assert guard.stopped("run") == whole.stopped
    assert not walked or guard.describe("run") == whole.describe()


def test_the_streamed_risk_is_the_model_written_out():
    # An independent evaluation of the linear model, from the definition of its features.
    model = GUARD.score.model
    run = recorded(7)[-1]
    states = [target for _, target in run.moves]
    parts = [states[i:j] for i in range(len(states)) for j in range(i + 1, len(states) + 1)]
    stay = max(len(part) for part in parts if len(set(part)) == 1)
    shuttle = max(sum(a != b for a, b in pairwise(p)) for p in parts if len(set(p)) <= 2)
    repetition = RepetitionTracker()
    for move in run.moves:
        repetition.update(*move)
    path = (START, *states)
    grams = {path[j - n : j] for n in (1, 2, 3) for j in range(n, len(path) + 1)} - {(START,)}
    values = {
        "steps": math.log1p(len(run)),
        "rounds": math.log1p(repetition.rounds),
        "longest": math.log1p(max(stay, shuttle)),
        "states": sum(model.states.values.get(g, model.states.unseen) for g in grams) / 2**30,
    }
    expected = model.intercept + sum(model.weights[name] * x for name, x in values.items())
    assert GUARD.watch(run.moves).risk == pytest.approx(expected)


def test_the_end_of_a_run_changes_no_risk():
    watch = GUARD.watch(run_of("0", "1", "0").moves)
    before = watch.risk
    assert watch.update("0", END) == before


def test_a_guard_survives_json_with_all_its_risks():
    text = json.dumps(GUARD.to_dict())
    restored = RunGuard.from_dict(json.loads(text))
    assert restored.promise == GUARD.promise
    for run in recorded(8):
        assert restored.watch(run.moves).risk == GUARD.watch(run.moves).risk
        assert restored.watch(run.moves).stopped_at == GUARD.watch(run.moves).stopped_at


def test_a_guard_of_another_version_or_score_is_refused():
    with pytest.raises(InvalidInputError, match="version 7"):
        RunGuard.from_dict({**GUARD.to_dict(), "version": 7})
    with pytest.raises(InvalidInputError, match="'magic'"):
        RunGuard.from_dict({**GUARD.to_dict(), "score": {"kind": "magic"}})
    with pytest.raises(InvalidInputError, match="to_dict"):
        RunGuard(Silly(), 1.0).to_dict()
    data = {**GUARD.to_dict(), "score": {"kind": "custom"}}
    assert isinstance(RunGuard.from_dict(data, score=Silly()).score, Silly)


def test_the_oldest_run_is_dropped_beyond_the_limit():
    guard = RunGuard.from_rules(max_stay=1, max_runs=3)
    for name in "abc":
        guard.update(name, "x", "x")
    guard.update("a", "x", "x")  # the oldest is now b
    guard.update("d", "x", "y")
    assert guard.followed == 3
    assert guard.stopped("a")
    with pytest.raises(InvalidInputError, match="no run 'b'"):
        guard.describe("b")
    guard.forget("a")
    guard.forget("never seen")
    assert not guard.stopped("a")
    assert guard.followed == 2


def test_what_was_stopped_stays_stopped_and_says_where():
    guard = RunGuard.from_rules(max_stay=2)
    for move in run_of("a", "a", "a", "b", "c").moves:
        guard.update("run", *move)
    assert guard.stopped("run")
    assert guard.describe("run").startswith("stopped at step 3: risk 1.5 above the threshold 1")


def test_the_reason_names_the_loop_and_how_often():
    watch = RunGuard.from_rules(max_rounds=8).watch(
        run_of("plan", *(["search", "read"] * 9), "search").moves
    )
    assert watch.describe().endswith("it went search -> read -> search 9 times")
    assert "without a promise" in watch.describe()


def test_hostile_names_cannot_write_lines_of_their_own():
    watch = RunGuard.from_rules(max_stay=1).watch(run_of("x\n\x1b[31m", "x\n\x1b[31m").moves)
    assert watch.describe().isprintable()
    long = RunGuard.from_rules(max_stay=1).watch(run_of("y" * 5000, "y" * 5000).moves)
    assert len(long.describe()) < 300


@pytest.mark.parametrize(
    ("rule", "states", "step"),
    [
        ({"max_stay": 3}, "abbbcbbbb", 9),
        ({"max_shuttle": 5}, "cababababc", 8),  # from the first a on
        ({"max_rounds": 2}, "abcabcabca", 10),
        ({"max_stall": 2, "potential": {"a": 3.0, "b": 2.0, "c": 1.0}}, "abaaaca", 5),
    ],
)
def test_each_rule_stops_one_over_its_limit(rule, states, step):
    assert RunGuard.from_rules(**rule).watch(run_of(*states).moves).stopped_at == step


def test_rules_take_escapes_for_steps_without_progress():
    guard = RunGuard.from_rules(max_stall=2, potential={"a": 1.0})
    assert guard.watch([(START, "a"), ("a", None), ("a", None), ("a", None)]).stopped_at == 4


@pytest.mark.parametrize(
    "limits", [{}, {"max_stay": 0}, {"max_stall": 3}, {"max_stay": 3, "potential": {"a": 1.0}}]
)
def test_rules_that_cannot_be_are_refused(limits):
    with pytest.raises(InvalidInputError):
        RunGuard.from_rules(**limits)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_repetitions_agree_with_their_definitions(states):
    repetition = RepetitionTracker()
    loops, path = Counter(), []
    for source, target in run_of(*states).moves:
        repetition.update(source, target)
        if target in path:
            loop = path[path.index(target) :]
            path = path[: path.index(target) + 1]
            if len(loop) > 1:
                least = loop.index(min(loop))
                loops[tuple(loop[least:] + loop[:least])] += 1
        else:
            path.append(target)
    suffixes = [states[i:] for i in range(len(states))]
    assert repetition.loops == loops
    assert repetition.rounds == max(loops.values(), default=0)
    changes = [sum(a != b for a, b in pairwise(s)) for s in suffixes if len(set(s)) <= 2]
    assert repetition.shuttle == max(changes)
    assert repetition.stay == max(len(s) for s in suffixes if len(set(s)) == 1)


def test_the_log_ratio_of_n_grams_is_the_hand_worked_one():
    # Failed runs hold (b), (a, b), (a, b) again; a run counts once. One state of order 1 is enough:
    # b is held by 2 of 2 failed runs and 1 of 3 good ones, c by 3 of 3 good ones.
    held = csr_array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1]])
    bad = np.array([True, True, False, False, False])
    ratio, unseen = log_ratio(held, bad, ~bad, prior=2.0)
    share_b, share_c = 3.5 / 7, 3.5 / 7
    of_b = (2 + 2 * share_b) / (2 + 2) / ((1 + 2 * share_b) / (4 + 2))
    of_c = (0 + 2 * share_c) / (2 + 2) / ((3 + 2 * share_c) / (4 + 2))
    assert np.exp(ratio / 2**30) == pytest.approx([of_b, of_c])
    assert math.exp(unseen / 2**30) == pytest.approx((4 + 2) / (2 + 2))


def test_an_unfitted_score_says_so():
    with pytest.raises(InvalidInputError, match="not fitted"):
        OutcomeScore().start()


def airline(name):
    file = data_file("tau2_airline", f"{name}.jsonl.gz")
    runs, rewards = {}, {}
    moves = read_transitions(file, boundaries=("start", "end"), context_fields=("reward",))
    for move in moves:
        runs.setdefault(move.trajectory, []).append((move.source, move.target))
        rewards[move.trajectory] = float(dict(move.context)["reward"])
    return [Trajectory(tuple(m), n, success=rewards[n] == 1) for n, m in runs.items()]


def test_on_real_runs_the_risk_tells_failures_and_the_promise_holds():
    runs = airline("tau1_gpt-4o")
    good, right, caught, pairs = [], 0.0, [], 0
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(runs))
        train, test = ([runs[i] for i in half] for half in np.array_split(order, 2))
        guard = RunGuard.fit(train, seed=seed)
        watches = [(run.success, guard.watch(run.moves)) for run in test]
        good.append(np.mean([w.stopped for success, w in watches if success]))
        caught.append(np.mean([w.stopped for success, w in watches if not success]))
        risks = {s: [w.risk for success, w in watches if success is s] for s in (True, False)}
        right += sum(f > s for f in risks[False] for s in risks[True])
        pairs += len(risks[False]) * len(risks[True])
    assert right / pairs > 0.74  # the length of the run alone: 0.69
    assert np.mean(good) < 0.1 + 3 * np.std(good, ddof=1) / np.sqrt(10)
    assert np.mean(caught) > 0.25  # the same tool three times in a row: 0.30, at 0.16 false stops


ENDLESS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", START]), st.sampled_from([*"abcabcabc", None, END])
        ),
        max_size=30,
    ).map(lambda moves: Trajectory(tuple(moves))),
    max_size=4,
)
FITTED = OutcomeScore().fit(
    [
        Trajectory((("a", "b"), ("b", "c"), ("c", None), ("c", "c")), success=False),
        Trajectory((("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")), success=False),
        Trajectory(((START, "a"), ("a", "c"), ("c", END)), success=True),
        Trajectory((("b", "c"), ("c", "a"), ("a", "b")), success=True),
    ]
)
RULES = RepetitionLimits(4, 6, 2, 3, {"a": 1.0, "b": 0.5, "c": float("nan")})


@settings(deadline=None)
@given(RUNS | ENDLESS)
@pytest.mark.parametrize("score", [FITTED, RULES], ids=["outcome", "rules"])
def test_risks_of_a_table_are_those_of_each_run_as_it_goes(score, runs):
    risks = []
    for run in runs:
        state = score.start()
        risks += [state.update(*move) for move in run.moves]
    assert score.risks(RunTable.of(runs)).tolist() == risks
    assert score.risks(runs).tolist() == risks


def test_a_run_like_those_of_the_calibration_is_at_the_threshold_and_not_above():
    for seed in range(5):
        runs = recorded(seed)
        guard = RunGuard.fit(runs, seed=seed)
        watches = [guard.watch(run.moves) for run in runs if run.success]
        highest = [max(guard.score.risks([run])) for run in runs if run.success]
        assert guard.threshold in highest
        assert [w.stopped for w in watches] == [risk > guard.threshold for risk in highest]


def test_a_guard_of_a_table_is_that_of_its_runs():
    runs = recorded(3)
    one, other = RunGuard.fit(runs), RunGuard.fit(RunTable.of(runs))
    assert one.to_dict() == other.to_dict()
