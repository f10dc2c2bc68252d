import json
import threading
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise
from math import exp, log, prod

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from detailed_balance.analyzers import END, START, BalanceMartingale
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.sequential._betting_martingale import LoopErasedPath
from detailed_balance.analyzers.sequential.loop_evidence import LoopEvidence

unhurried = settings(deadline=None)  # a busy machine is not a fault of the claim

# A triangle a, b, c with triangles hung on a and on b; the weights make it reversible.
WEIGHTS = {"ab": 1, "bc": 2, "ca": 3, "ad": 1, "de": 4, "ea": 2, "bf": 3, "fg": 1, "gb": 2}
SQUARE = {"ab": 1, "bc": 2, "cd": 3, "da": 5, "ac": 2}  # with one diagonal


def reversible(weights):
    """Return T as {source: {target: Fraction}}."""
    kernel = defaultdict(dict)
    for (f, g), weight in weights.items():
        kernel[f][g] = kernel[g][f] = Fraction(weight)
    return {f: {g: w / sum(row.values()) for g, w in row.items()} for f, row in kernel.items()}


def erase_step_by_step(walk):
    """Return the first loop of three or more states in a walk, or None; by the definition."""
    path = []
    for state in walk:
        if state in path:
            loop = path[path.index(state) :]
            if len(loop) >= 3:
                return loop
            path = path[: path.index(state)]
        path.append(state)
    return None


def orient(loop):
    """Return a loop without its direction, and whether it was taken in that of its name."""
    return Loop(loop).unoriented(), Loop(loop) == Loop(loop).unoriented()


def next_loops(kernel, history, steps, watch):
    """Give the chance of every next loop, after a history, by what is seen of it but its way round.

    `watch(walk)` returns the next loop that the walk, history included, has just completed, or
    None. The key is the loop's class, and how often each pair was taken since the history.
    """
    odds = defaultdict(lambda: [Fraction(0), Fraction(0)])

    def go(walk, chance):
        loop = watch(walk)
        if loop is not None:
            name, named = orient(loop)
            pairs = Counter(frozenset(move) for move in pairwise(walk[len(history) - 1 :]))
            odds[name, frozenset(pairs.items())][not named] += chance
        elif len(walk) < len(history) + steps:
            for state, share in kernel[walk[-1]].items():
                go([*walk, state], chance * share)

    go(list(history), Fraction(1))
    return odds


def keep_path(walk):
    """Return (loop, fresh) of all loops where the path is kept after a loop."""
    path, first_fresh, loops = [walk[0]], 0, []
    for state in walk[1:]:
        if state not in path:
            path.append(state)
            continue
        j = path.index(state)
        if len(path) - j >= 3:
            loops.append((path[j:], j >= first_fresh))
            first_fresh = j
        else:
            first_fresh = min(first_fresh, j)
        path = path[: j + 1]
    return loops


@pytest.mark.parametrize("start", ["a", "b", "c", "d"])
def test_the_next_loop_is_a_fair_coin_given_which_one_it_is(start):
    def watch(walk):
        path = LoopErasedPath(walk[0])
        loops = [path.step(state) for state in walk[1:]]
        return loops[-1] if loops else None

    odds = next_loops(reversible(WEIGHTS), start, 9, watch)
    assert len(odds) > 50
    assert {name for name, _ in odds} == {("a", "b", "c"), ("a", "d", "e"), ("b", "f", "g")}
    assert all(forward == backward > 0 for forward, backward in odds.values())


@pytest.mark.parametrize("start", "abcd")
def test_loops_of_a_square_with_a_diagonal_are_fair_coins_too(start):
    odds = next_loops(reversible(SQUARE), start, 8, erase_step_by_step)
    assert ("a", "b", "c", "d") in {name for name, _ in odds}
    assert all(forward == backward > 0 for forward, backward in odds.values())


def test_on_a_path_that_is_kept_only_fresh_loops_are_fair_coins():
    # Having taken b -> f -> g -> b after a -> b, the step from a to b is there to stay.
    history = "abfgb"

    def watch(fresh):
        def next_loop(walk):
            loops = keep_path(walk)[1:]
            return loops[0][0] if loops and loops[0][1] is fresh else None

        return next_loop

    kernel = reversible(WEIGHTS)
    fresh, stale = (next_loops(kernel, history, 7, watch(kind)) for kind in (True, False))
    assert all(forward == backward > 0 for forward, backward in fresh.values())
    leaning = [odds for (name, _), odds in stale.items() if name == ("a", "b", "c")]
    assert sum(forward for forward, _ in leaning) > 10 * sum(backward for _, backward in leaning)


def test_the_odds_of_a_loop_in_a_driven_chain_are_its_affinity():
    kernel = reversible(WEIGHTS)
    for f, g in ["ab", "bc", "ca"]:
        kernel[f][g] *= 3  # rows need not sum to 1: what is over 1 only scales the chances
    odds = next_loops(kernel, "c", 8, erase_step_by_step)
    affinity = {("a", "b", "c"): 27, ("a", "d", "e"): 1, ("b", "f", "g"): 1}
    assert all(odds[key][0] == affinity[key[0]] * odds[key][1] for key in odds)


def matching_polynomial(kernel, states):
    """Sum over matchings of the states, each edge with weight -T(x->y) T(y->x)."""
    if not states:
        return Fraction(1)
    first, rest = states[0], states[1:]
    pairs = [(y, kernel[first].get(y, 0) * kernel[y].get(first, 0)) for y in rest]
    joined = [w * matching_polynomial(kernel, [z for z in rest if z != y]) for y, w in pairs if w]
    return matching_polynomial(kernel, rest) - sum(joined)


def chances_by_theory(kernel, start):
    """Give the chance that each loop is the next one, by the theorem on the path tree."""
    states = sorted(kernel)
    whole, chances = matching_polynomial(kernel, states), Counter()

    def go(path, weight):
        for state, share in kernel[path[-1]].items():
            if state not in path:
                go([*path, state], weight * share)
            elif len(path) - path.index(state) >= 3:
                outside = [s for s in states if s not in path]
                name, _ = orient(path[path.index(state) :])
                chances[name] += weight * share * matching_polynomial(kernel, outside) / whole

    go([start], Fraction(1))
    return chances


@pytest.mark.parametrize(("weights", "start"), [(WEIGHTS, "a"), (WEIGHTS, "f"), (SQUARE, "b")])
def test_the_chance_of_the_next_loop_is_a_ratio_of_matching_polynomials(weights, start):
    kernel = reversible(weights)
    theory = chances_by_theory(kernel, start)
    assert sum(theory.values()) == 1
    seen = Counter()
    for (name, _), odds in next_loops(kernel, start, 10, erase_step_by_step).items():
        seen[name] += sum(odds)
    left = 1 - sum(seen.values())
    assert 0 < left < Fraction(3, 5)
    assert all(seen[name] <= theory[name] <= seen[name] + left for name in theory)


@pytest.mark.parametrize(
    ("walk", "loop"),
    [
        ("abca", "abc"),
        ("abcba", None),  # there and back again
        ("abcbda", "abd"),  # the step to c was undone
        ("abcdb", "bcd"),  # the loop hangs on a
        ("abababcdb", "bcd"),
        ("abcdcbeca", "abec"),
    ],
)
def test_loops_are_completed_as_walked_by_hand(walk, loop):
    path = LoopErasedPath(walk[0])
    found = [path.step(state) for state in walk[1:]]
    assert found[:-1] == [None] * (len(walk) - 2)
    assert found[-1] == (loop and list(loop))
    assert "".join(path.walk) == (walk[-1] if loop else walk)
    assert "".join(path.walked) == (walk if loop else "")


@unhurried
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40))
def test_a_path_finds_the_loop_that_the_definition_finds(states):
    walk = [states[0], *(g for f, g in pairwise(states) if g != f)]
    path = LoopErasedPath(walk[0])
    for end, state in enumerate(walk[1:], 2):
        if (loop := path.step(state)) is not None:
            assert loop == erase_step_by_step(walk[:end])
            return
    assert erase_step_by_step(walk) is None


def feed(live, walk, trajectory="run"):
    for source, target in pairwise(walk):
        live.update(trajectory, source, target)
    return live


def reference_log_e(stream):
    """Return log E of (trajectory, source, target) moves, straight from its definition."""
    walks, moves, laps = {}, Counter(), Counter()
    kt, wealth = Fraction(1), np.ones(4)
    for run, source, target in stream:
        walks.setdefault(run, [source]).append(target)
        loop = erase_step_by_step(walks[run])
        if loop is None:
            continue
        steps = list(pairwise([*loop, loop[0]]))
        this_way, other_way = frozenset(steps), frozenset((g, f) for f, g in steps)
        seen = laps[this_way] + laps[other_way]
        kt *= 2 * (laps[this_way] + Fraction(1, 2)) / (seen + 1)
        laps[this_way] += 1
        n = np.array([[moves[f, g], moves[g, f]] for f, g in steps]) + 0.5
        prior, variance = len(loop) * np.array([0.1, 0.3, 1.0, 3.0]) ** 2, (1 / n).sum()
        mean = np.log(n[:, 0] / n[:, 1]).sum() * prior / (prior + variance)
        spread = prior * variance / (prior + variance)
        wealth *= 2 / (1 + np.exp(-mean / np.sqrt(1 + np.pi * spread / 8)))
        moves.update(pairwise(walks[run]))
        walks[run] = [target]
    return log((float(kt) + wealth.mean()) / 2)


def streams(states="abcde", runs=3):
    """Moves of several trajectories, interleaved."""

    def as_moves(steps):
        at, moves = {}, []
        for run, state in steps:
            if at.get(run, state) != state:
                moves.append((run, at[run], state))
            at[run] = state
        return moves

    step = st.tuples(st.sampled_from("xyz"[:runs]), st.sampled_from(states))
    return st.lists(step, max_size=150).map(as_moves)


def live_of(stream, **limits):
    live = BalanceMartingale(**limits)
    for move in stream:
        live.update(*move)
    return live


@unhurried
@given(streams())
def test_interleaved_trajectories_have_paths_of_their_own_and_share_the_counts(stream):
    assert live_of(stream).log_e_value == pytest.approx(reference_log_e(stream), abs=1e-9)


def test_moves_count_for_others_only_when_their_trajectory_completes_a_loop():
    live = feed(BalanceMartingale(), "abc", "one")
    assert live.to_dict()["moves"] == []
    feed(live, "abca", "two")
    assert live.to_dict()["moves"] == [["a", "b", 1], ["b", "c", 1], ["c", "a", 1]]
    live.update("one", "c", END)  # it can complete no loop any more
    assert live.to_dict()["moves"][:2] == [["a", "b", 2], ["b", "c", 2]]


@unhurried
@given(streams(runs=2), st.permutations("abcd"))
def test_the_next_loop_is_bet_on_at_even_odds(stream, loop):
    state = live_of(stream).to_dict()
    ways = [[*loop, loop[0]], [loop[0], *loop[::-1]]]
    after = [feed(BalanceMartingale.from_dict(state), way, "new").log_e_value for way in ways]
    assert (exp(after[0]) + exp(after[1])) / 2 == pytest.approx(exp(state["log_e_value"]))


@unhurried
@given(streams())
def test_the_evidence_of_a_loop_is_that_of_its_own_laps(stream):
    live = live_of(stream)
    for loop in live.loops:
        forward, backward = loop.counts
        halves = prod(Fraction(2 * i - 1, 2) for i in range(1, forward + 1))
        halves *= prod(Fraction(2 * i - 1, 2) for i in range(1, backward + 1))
        total = prod(range(1, forward + backward + 1))
        wealth = 2 ** (forward + backward) * halves / total
        assert loop.log_evidence == pytest.approx(log(wealth), abs=1e-9)
        assert forward >= backward
    assert sum(loop.share for loop in live.loops) == pytest.approx(live.log_e_value, abs=1e-9)
    assert sum(sum(loop.counts) for loop in live.loops) == live.completed


@unhurried
@given(streams(), st.permutations("abcde"))
def test_names_of_states_do_not_matter(stream, names):
    renamed = dict(zip("abcde", names, strict=True))
    there, back = live_of(stream), live_of([(t, renamed[f], renamed[g]) for t, f, g in stream])
    assert there.log_e_value == pytest.approx(back.log_e_value, abs=1e-9)
    ways = [Counter(loop.counts for loop in live.loops) for live in (there, back)]
    assert ways[0] == ways[1]


def laps_from(hub, others="bcdef"):
    lap = st.permutations(others).flatmap(
        lambda order: st.integers(2, len(others)).map(lambda n: [hub, *order[:n], hub])
    )
    return st.lists(lap, max_size=30)


@unhurried
@given(laps_from("a"))
def test_walking_each_loop_backwards_swaps_its_counts(laps):
    there, back = BalanceMartingale(), BalanceMartingale()
    for lap in laps:
        feed(there, lap)
        feed(back, lap[::-1])
    assert there.log_e_value == pytest.approx(back.log_e_value, abs=1e-9)
    ways = [{}, {}]
    for way, live in zip(ways, (there, back), strict=True):
        for loop in live.loops:
            name, named = orient(loop.loop)
            way[name] = loop.counts if named else loop.counts[::-1]
    assert ways[0] == {name: counts[::-1] for name, counts in ways[1].items()}


def test_a_start_begins_a_new_path_that_closes_no_loop_with_the_old_one():
    live = BalanceMartingale()
    for source, target in [(START, "a"), ("a", "b"), (START, "b"), ("b", "c"), ("c", "a")]:
        live.update("run", source, target)
    assert live.completed == 0
    live.update("run", "a", "b")
    assert live.completed == 1


@pytest.mark.parametrize("boundary", [START, END])
def test_boundaries_are_on_no_path(boundary):
    live = BalanceMartingale()
    for _ in range(3):
        for source, target in [(boundary, "a"), ("a", "b"), ("b", END), (END, START)]:
            live.update("run", source, target)
    live.update("run", START, None)
    assert live.completed == 0
    assert live.to_dict()["moves"] == [["a", "b", 3]]
    assert live.to_dict()["paths"] == []


def test_a_missing_move_begins_a_new_path():
    live = BalanceMartingale()
    for source, target in ["ab", "ca", "bc", "ca"]:
        live.update("run", source, target)
    assert live.completed == 0


@unhurried
@given(streams(), st.randoms(use_true_random=False))
def test_escapes_and_self_loops_change_nothing(stream, random):
    noisy = []
    for run, source, target in stream:
        noisy += [(run, source, random.choice([None, source])) for _ in range(random.randint(0, 2))]
        noisy.append((run, source, target))
    assert live_of(noisy).to_dict() == live_of(stream).to_dict()


def test_two_states_hold_no_evidence():
    assert feed(BalanceMartingale(), "ab" * 500).log_e_value == 0


def test_the_alarm_stays_when_the_evidence_goes():
    live = feed(BalanceMartingale(), "abc" * 20)
    assert live.alarm
    feed(live, "cba" * 15)
    assert live.log_e_value < log(20) <= live.max_log_e_value
    assert live.alarm


@unhurried
@given(streams(), st.integers(0, 150))
def test_a_saved_test_goes_on_as_if_nothing_had_happened(stream, cut):
    whole = live_of(stream, max_classes=3, max_trajectories=2, max_moves=5, max_steps=6)
    first = live_of(stream[:cut], max_classes=3, max_trajectories=2, max_moves=5, max_steps=6)
    second = BalanceMartingale.from_dict(json.loads(json.dumps(first.to_dict())))
    for move in stream[cut:]:
        second.update(*move)
    assert second.to_dict() == whole.to_dict()
    assert (second.loops, second.alarm, second.history) == (
        whole.loops,
        whole.alarm,
        whole.history,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 9},
        {"alpha": 2},
        {"limits": {"max_loops": 3}},
        {"moves": [["a"]]},
        {"moves": [["a", "b", -1]]},
        {"classes": [[["a", "b", "c"], 1, "x", 0.0, 0.0]]},
        {"paths": 1},
        {"log_affinity": []},
    ],
)
def test_what_is_no_saved_state_is_refused_with_a_reason(wrong):
    state = feed(BalanceMartingale(), "abca").to_dict()
    with pytest.raises(InvalidInputError):
        BalanceMartingale.from_dict({**state, **wrong})
    with pytest.raises(InvalidInputError, match=r"not a state of a BalanceMartingale.*'format'"):
        BalanceMartingale.from_dict({})


def test_arguments_out_of_range_are_named():
    with pytest.raises(InvalidInputError, match="alpha must lie between 0 and 1; got 5"):
        BalanceMartingale(alpha=5)
    with pytest.raises(InvalidInputError, match="max_steps must be 3 or more; got 2"):
        BalanceMartingale(max_steps=2)
    with pytest.raises(InvalidInputError, match="a state is a str; got the move 'a' -> 3"):
        BalanceMartingale().update("run", "a", 3)
    with pytest.raises(InvalidInputError, match="named by a str; got None"):
        BalanceMartingale().update(None, "a", "b")


def test_memory_is_bounded_whatever_comes_in():
    rng = np.random.default_rng(4)
    live = BalanceMartingale(max_classes=20, max_trajectories=5, max_moves=30, max_steps=40)
    for i in range(3_000):
        run, base = f"run {rng.integers(50)}", rng.integers(500)
        feed(live, [f"{base} {j}" for j in (0, 1, 2, 0)], run)
        feed(live, [f"x{i}", f"y{i}"] * 30, run)
    state = live.to_dict()
    assert len(state["classes"]) <= 20
    assert len(state["paths"]) <= 5
    assert len(state["moves"]) <= 30 + 30  # those whose reverse was known come on top
    assert max(len(walk) for _, walk in state["paths"]) <= 40
    assert len(live.history) <= 1_001
    assert all(live.dropped.values())
    assert live.completed == 3_000


def test_a_very_long_loop_is_bet_on_but_not_remembered():
    ring = [f"{i:03}" for i in range(101)]
    live = feed(BalanceMartingale(), ring * 4)
    assert (live.completed, live.loops, live.dropped["classes"]) == (3, (), 3)
    assert live.log_e_value > 0


def test_loops_walked_again_are_remembered_where_those_walked_once_are_forgotten():
    live = BalanceMartingale(max_classes=10)
    for i in range(100):
        feed(live, "abca")
        feed(live, ["a", f"x{i}", f"y{i}", "a"])
    assert live.loops[0].loop == ("a", "b", "c")
    assert live.loops[0].counts == (100, 0)
    assert live.dropped["classes"] > 80


def test_independent_tests_multiply_and_others_average():
    one, other = feed(BalanceMartingale(), "abc" * 8), feed(BalanceMartingale(), "acb" * 5)
    a, b = one.log_e_value, other.log_e_value
    product, mean = one.merge([other]), one.merge([other], independent=False)
    assert product.log_e_value == pytest.approx(a + b)
    assert mean.log_e_value == pytest.approx(log((exp(a) + exp(b)) / 2))
    assert (product.rule, mean.rule, product.tests) == ("product", "mean", 2)
    (loop,) = product.loops
    assert (loop.loop, loop.counts) == (("a", "b", "c"), (7, 4))
    assert loop.log_evidence == pytest.approx(
        one.loops[0].log_evidence + other.loops[0].log_evidence
    )


def test_a_test_that_never_saw_a_loop_has_no_evidence_for_it():
    one, other = feed(BalanceMartingale(), "abc" * 8), BalanceMartingale()
    mean = one.merge([other], independent=False)
    expected = log((exp(one.loops[0].log_evidence) + 1) / 2)
    assert mean.loops[0].log_evidence == pytest.approx(expected)
    with pytest.raises(InvalidInputError, match="twice"):
        one.merge([one])


def test_loops_say_themselves_in_one_sentence():
    loop = LoopEvidence.from_counts(Loop("abc"), 1, 12, 3.0, 2.5)
    assert loop.describe() == "a -> c -> b -> a: 12 times in this direction and once in reverse"


def test_many_threads_lose_no_loop():
    live = BalanceMartingale()
    threads = [
        threading.Thread(target=feed, args=(live, "abc" * 200, f"run {i}")) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert live.transitions == 8 * 599
    assert live.loops[0].counts == (8 * 199, 0)


def test_a_move_reported_within_an_update_waits_for_its_turn():
    class Nested(BalanceMartingale):
        def _bet(self, loop):
            if self.completed == 0:
                self.update("run", "a", "b")
                assert self.transitions == 3
            super()._bet(loop)

    live = feed(Nested(), "abca")
    assert live.transitions == 4
    assert live.to_dict()["paths"] == [["run", ["a", "b"]]]


def walks(kernel, rng, runs, steps):
    """Walk the kernel many times at once; (runs, steps + 1) array of int."""
    cumulative = np.cumsum(kernel, axis=1)
    cumulative /= cumulative[:, -1:]
    state = np.zeros(runs, dtype=np.int64)
    path = [state]
    for _ in range(steps):
        state = (cumulative[state] < rng.random(runs)[:, None]).sum(axis=1)
        path.append(state)
    return np.array(path).T


def three_triangles():
    states = sorted({state for pair in WEIGHTS for state in pair})
    kernel = np.zeros((len(states), len(states)))
    for (f, g), weight in WEIGHTS.items():
        i, j = states.index(f), states.index(g)
        kernel[i, j] = kernel[j, i] = weight
    return kernel


def alarms(test, kernel, seed, runs=300, steps=1_500):
    paths = walks(kernel, np.random.default_rng(seed), runs, steps).astype(str).tolist()
    return sum(feed(test(), path).alarm for path in paths) / runs


class LiveCounts(BalanceMartingale):
    """The mistake: a loop's own moves count before it is bet on."""

    def update(self, trajectory, source, target):
        super()._count([source, target])
        super().update(trajectory, source, target)

    def _count(self, walk):
        pass


BOUND = 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def test_false_alarms_stay_below_alpha_over_all_looks():
    assert alarms(BalanceMartingale, three_triangles(), seed=1) <= BOUND


def test_bets_that_see_the_loop_in_hand_would_raise_many_false_alarms():
    assert alarms(LiveCounts, three_triangles(), seed=1) > BOUND


def test_a_driven_chain_is_found_with_its_loop():
    kernel = three_triangles()
    kernel[[0, 1, 2], [1, 2, 0]] *= 2
    assert alarms(BalanceMartingale, kernel, seed=2, runs=20) >= 0.95
    path = walks(kernel, np.random.default_rng(3), 1, 3_000)[0].astype(str)
    assert feed(BalanceMartingale(), path.tolist()).loops[0].loop == ("0", "1", "2")


@pytest.mark.parametrize("laps", [1, 10, 999, 1_000, 1_001, 2_500])
def test_the_history_ends_where_the_test_stands(laps):
    live = feed(BalanceMartingale(), "abc" * laps)
    times = [time for time, _ in live.history]
    assert times == sorted(times)
    assert live.history[-1] == (live.transitions, live.log_e_value)
    assert len(times) <= 1_001
