"""`find_contexts` against code lengths by hand, chains of known order, and a slow longest match."""

import json
from itertools import pairwise
from math import lgamma, log

import numpy as np
import pytest

from detailed_balance.analyzers import (
    END,
    START,
    Contexts,
    RunTable,
    Trajectory,
    find_contexts,
    markov_order_test,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.context_names import (
    find_context_names,
    join_keys,
    split_name,
)
from detailed_balance.analyzers.markov.contexts import close_words

HOSTILE = ["a<b", "", "\\", "x\\<y", "line\nbreak", "<", "__start__<"]


def path(*states, **known):
    return Trajectory(tuple(pairwise(states)), **known)


def second_order_runs(rng, runs, length=30, share=0.9, keys="abc"):
    """Return runs whose next key is, mostly, the one before the last."""
    made = []
    for number in range(runs):
        states = list(rng.choice(list(keys), 2))
        while len(states) < length:
            states.append(states[-2] if rng.random() < share else str(rng.choice(list(keys))))
        made.append(path(START, *states, END, name=f"{number:03}"))
    return made


def hub_runs(times):
    """Return runs in which `x` goes back to where it was entered from, so many times each."""
    return [path("a", "x", "a"), path("b", "x", "b")] * times


def kt(counts, alphabet, prior=0.5):
    whole = alphabet * prior
    found = lgamma(whole) - lgamma(sum(counts) + whole)
    return -found - sum(lgamma(n + prior) - lgamma(prior) for n in counts)


@pytest.mark.parametrize("times", range(1, 12))
def test_a_context_is_kept_where_its_code_is_shorter_by_hand(times):
    # After x came a and b, `times` each; after x<a only a. The first context that is split off pays
    # its own code and log 2, and leaves what is left of x.
    together = kt([times, times], 2)
    gain = together - kt([times], 2) - log(2) - kt([times], 2)
    found = find_contexts(hub_runs(times), refine=False, min_count=1)
    assert (gain > 0) == any(len(word) > 1 for word in found.words)
    if gain > 0:  # the other one costs log 2, and saves nothing
        assert [word for word in found.words if len(word) > 1] == [("x", "a")]


def test_rare_contexts_are_not_kept():
    assert find_contexts(hub_runs(9), refine=False, min_count=10).longest == 1
    assert find_contexts(hub_runs(9), refine=False, min_count=9).longest == 2


@pytest.mark.parametrize("seed", range(5))
def test_closed_words_have_all_their_parts(seed):
    rng = np.random.default_rng(seed)
    words = [tuple(rng.choice(list("abc"), rng.integers(1, 5)).tolist()) for _ in range(6)]
    closed = close_words(words)
    assert set(words) <= closed
    assert close_words(closed) == closed
    parts = {w[i:j] for w in words for i in range(len(w)) for j in range(i + 1, len(w) + 1)}
    assert closed == parts


def longest_match(words, history):
    return next(history[:k] for k in range(len(history), 0, -1) if history[:k] in words)


def test_renamed_and_followed_states_are_the_longest_match():
    rng = np.random.default_rng(2)
    runs = second_order_runs(rng, 40)
    found = find_contexts(runs, min_count=3)
    assert found.longest >= 2
    renamed = found.rename(runs)
    for run, other in zip(runs, renamed, strict=True):
        state, history, wanted = found.start(), (run.moves[0][0],), []
        for source, target in run.moves:
            history = (target, *history)
            wanted.append(
                target if target == END else join_keys(longest_match(set(found.words), history))
            )
            assert state.update(source, target) == wanted[-1] == state.name
        assert [target for _, target in other.moves] == wanted
        assert [source for source, _ in other.moves[1:]] == wanted[:-1]


def test_gaps_escapes_and_keys_that_are_not_known_are_followed_alike():
    found = find_contexts(hub_runs(20), refine=False)
    moves = (
        ("a", "x"),
        ("x", None),
        ("x", "new"),
        ("new", "x"),
        ("b", "x"),
        ("x", "b"),
        ("x", "y"),
    )
    state = found.start()
    live = [state.update(*move) for move in moves]
    renamed = found.rename([Trajectory(moves)])[0]
    reached = [target if target is not None else source for source, target in renamed.moves]
    assert live == reached == ["x<a", "x<a", "new", "x", "x", "b", "y"]


def test_refined_contexts_are_of_order_one_where_the_keys_are_not():
    rng = np.random.default_rng(5)
    runs, others = second_order_runs(rng, 60), second_order_runs(rng, 60)
    found = find_contexts(runs)
    assert markov_order_test(others, replicates=99).pvalue == 0.01
    assert markov_order_test(found.rename(others), replicates=99).pvalue > 0.05
    assert found.order is not None
    assert not found.order.rejected


def test_what_the_code_misses_the_order_test_lengthens():
    rng = np.random.default_rng(6)
    runs = second_order_runs(rng, 100, share=0.1, keys="abcdef")
    grown, refined = find_contexts(runs, refine=False), find_contexts(runs)
    assert set(grown.words) < set(refined.words)
    assert refined.rounds >= 1


def test_a_chain_of_order_one_gets_no_memory_beyond_chance():
    rng, longer = np.random.default_rng(7), 0
    kernel = rng.dirichlet(np.ones(4), size=4).cumsum(axis=1)
    for _ in range(20):
        runs = []
        for _ in range(30):
            states = [0]
            while len(states) < 20:
                states.append(min(int(np.searchsorted(kernel[states[-1]], rng.random())), 3))
            runs.append(path(*map(str, states)))
        longer += find_contexts(runs, replicates=39).longest > 1
    assert longer <= 5  # 20 trials at 5%: P(more than 5) = 0.0003


def test_hostile_keys_have_names_that_are_read_back():
    rng = np.random.default_rng(8)
    for _ in range(200):
        keys = tuple(str(key) for key in rng.choice(HOSTILE, rng.integers(1, 5)))
        assert split_name(join_keys(keys)) == keys
    runs = [path(*rng.choice(HOSTILE, 12).tolist()) for _ in range(40)]
    found = find_contexts(runs, min_count=2, prior=0.05)
    assert len(set(found.names)) == len(found)
    again = Contexts.from_dict(json.loads(json.dumps(found.to_dict())))
    assert list(again.rename(runs)) == list(found.rename(runs))


def test_keys_with_the_same_sign_are_no_names_of_contexts():
    found = find_contexts(hub_runs(20), refine=False)
    states = found.rename(hub_runs(20)).states
    assert find_context_names(states) == ["x<a"]
    assert find_context_names(["a<b", "c", "d"]) == []


def test_what_is_no_set_of_contexts_is_refused():
    data = find_contexts(hub_runs(20), refine=False).to_dict()
    with pytest.raises(InvalidInputError, match="not closed"):
        Contexts.from_dict({**data, "words": [["x", "a"]], "moves": [1]})
    with pytest.raises(InvalidInputError, match="to_dict"):
        Contexts.from_dict({"words": 3})
    with pytest.raises(InsufficientDataError, match="no moves"):
        find_contexts([])
    for wrong in ({"depth": 0}, {"depth": 7}, {"prior": 0}, {"min_count": 0}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            find_contexts(hub_runs(3), **wrong)


def test_the_order_of_runs_changes_nothing():
    runs = second_order_runs(np.random.default_rng(9), 30)
    assert find_contexts(runs).to_dict() == find_contexts(runs[::-1]).to_dict()


def test_labels_costs_and_blocks_of_runs_stay():
    runs = [
        path("a", "x", "a", name=str(i), context=(("task", str(i % 3)),), costs=(1.0, 2.0))
        for i in range(30)
    ]
    table = RunTable.of(runs).with_blocks("task")
    renamed = find_contexts(table, min_count=1, strata="block").rename(table)
    assert renamed.blocks == table.blocks
    assert renamed[4].costs == (1.0, 2.0)
    assert renamed[4].context == (("task", "1"),)
