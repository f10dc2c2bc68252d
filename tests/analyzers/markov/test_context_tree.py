"""`ContextTree` against a sum over all trees of contexts, and counts made by hand."""

import json
from collections import Counter
from itertools import pairwise, product
from math import exp, lgamma, log

import numpy as np
import pytest

from detailed_balance.analyzers import END, START, RunTable, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.context_tree import ContextTree, count_contexts

KEYS = ("a", "b")


def path(*states, **known):
    return Trajectory(tuple(pairwise(states)), **known)


def histories(runs):
    """Yield the keys before each move, newest first, and the next key; no gaps, no escapes."""
    for run in runs:
        keys = [run.moves[0][0]]
        for _, target in run.moves:
            yield tuple(reversed(keys)), target
            keys.append(target)


def trees(context, depth, keys):
    """Yield the leaves and the prior probability of every tree below a context."""
    if len(context) == depth or context[-1:] == ("nothing",):
        yield (context,), 1.0
        return
    yield (context,), 0.5
    below = [list(trees((*context, key), depth, keys)) for key in (*keys, "nothing")]
    for chosen in product(*below):
        leaves = tuple(leaf for part, _ in chosen for leaf in part)
        yield leaves, 0.5 * np.prod([weight for _, weight in chosen])


def leaf_of(history, leaves):
    whole = (*history, "nothing")
    return next(leaf for leaf in leaves if whole[: len(leaf)] == leaf)


def evidence(data, leaves, prior, alphabet):
    """Return the log probability of next keys, given the tree, by gamma functions."""
    counts = {}
    for history, after in data:
        counts.setdefault(leaf_of(history, leaves), Counter())[after] += 1
    found = 0.0
    for each in counts.values():
        whole = alphabet * prior
        found += lgamma(whole) - lgamma(each.total() + whole)
        found += sum(lgamma(n + prior) - lgamma(prior) for n in each.values())
    return found, counts


@pytest.mark.parametrize("prior", [0.5, 0.1])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_prediction_is_the_mean_over_all_trees(depth, prior):
    rng = np.random.default_rng(3)
    runs = [path(*rng.choice(KEYS, size=12).tolist()) for _ in range(3)]
    tree, data, alphabet = ContextTree.fit(runs, depth, prior), list(histories(runs)), 3
    total, predicted = 0.0, Counter()
    given = ("a", "b", "a")
    for leaves, weight in trees((), depth, KEYS):
        log_evidence, counts = evidence(data, leaves, prior, alphabet)
        total += weight * exp(log_evidence)
        own = counts.get(leaf_of(given, leaves), Counter())
        for key in (*KEYS, None):
            chance = (own[key] + prior) / (own.total() + alphabet * prior)
            predicted[key] += weight * exp(log_evidence) * chance
    assert tree.code_length == pytest.approx(-log(total))
    found = tree.predict(given[::-1])
    assert found == pytest.approx({key: value / total for key, value in predicted.items()})


def test_a_hand_counted_code_length():
    # After a came b twice: (1/2 (3/2)) / (3/2 (5/2)) by KT on a, b and "anything else".
    tree = ContextTree.fit([path("a", "b"), path("a", "b")], depth=0)
    assert tree.code_length == pytest.approx(-log(0.5 / 1.5 * 1.5 / 2.5))


def test_live_and_at_once_are_the_same_to_the_last_digit_over_gaps_and_escapes():
    rng = np.random.default_rng(0)
    names = [START, "a", "b<c", "", "x\ny"]
    runs = []
    for _ in range(30):
        moves = [(str(rng.choice(names)), str(rng.choice(names[1:]))) for _ in range(3)]
        for _ in range(20):
            here = moves[-1][1] or moves[-1][0]
            moves.append((here, None if rng.random() < 0.2 else str(rng.choice(names[1:]))))
        runs.append(Trajectory((*moves, (moves[-1][0], END))))
    tree = ContextTree.fit(runs[:20])
    again = ContextTree.from_dict(json.loads(json.dumps(tree.to_dict())))
    other = [*runs[20:], path("never seen", "a", "neither", "a", "b<c")]
    for given in (tree, again):
        states = [(given.start(), run) for run in other]
        live = [state.update(*move) for state, run in states for move in run.moves]
        assert live == given.log_probabilities(other).tolist()


@pytest.mark.parametrize("keys", [[], ["a"], ["never"], ["b", "a"], ["a", "never", "b"]])
def test_probabilities_sum_to_one(keys):
    tree = ContextTree.fit([path(START, "a", "b", "a", "a", END), path(START, "b", END)])
    assert sum(tree.predict(keys).values()) == pytest.approx(1)


def test_an_escape_adds_nothing_to_the_memory():
    moves = (("a", "b"), ("b", None), ("b", None), ("b", "a"))
    counts = count_contexts(RunTable.of([Trajectory(moves)]), 2)
    assert counts.levels[2][1] == counts.levels[2][2] == counts.levels[2][3]
    tree = ContextTree.fit([Trajectory(moves)] * 5)
    state, found = tree.start(), []
    for move in moves:
        state.update(*move)
        found.append(state.node)
    assert found[0] == found[1] == found[2] != found[3]


def test_a_memory_of_order_two_is_found():
    rng, runs = np.random.default_rng(1), []
    for _ in range(60):
        keys = ["a", "b"]
        for _ in range(30):
            follows = keys[-2] if rng.random() < 0.9 else "c"
            keys.append(follows)
        runs.append(path(*keys))
    losses = [
        -ContextTree.fit(runs[:40], depth).log_probabilities(runs[40:]).mean()
        for depth in (0, 1, 2)
    ]
    assert losses[2] < losses[1] - 0.1
    assert ContextTree.fit(runs, 2).code_length < ContextTree.fit(runs, 1).code_length


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InvalidInputError, match="depth=-1"):
        ContextTree.fit([path("a", "b")], depth=-1)
    with pytest.raises(InvalidInputError, match=r"prior=0\.0"):
        ContextTree.fit([path("a", "b")], prior=0.0)
    with pytest.raises(InsufficientDataError, match="no moves"):
        ContextTree.fit([])
