"""`compare_reversals` against counts by a loop, a ring, and reversible chains with memory."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from detailed_balance.analyzers import (
    END,
    START,
    Trajectory,
    check_balance,
    compare_reversals,
    find_contexts,
    reversibility_test,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError


def path(*states, **known):
    return Trajectory(tuple(pairwise(states)), **known)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_words_are_counted_as_a_loop_counts_them(length):
    rng = np.random.default_rng(length)
    paths = [rng.choice(list("abc"), 30).tolist() for _ in range(8)]
    found = compare_reversals([path(START, *p, END) for p in paths], length, replicates=19)
    words = Counter(tuple(p[i : i + length]) for p in paths for i in range(len(p) - length + 1))
    assert set(found.words) | {w[::-1] for w in found.words} >= {w for w in words if w != w[::-1]}
    for word, forward, backward in zip(found.words, found.forward, found.backward, strict=True):
        assert (words[word], words[word[::-1]]) == (forward, backward)
        assert forward >= backward


def test_runs_turned_round_at_random_are_seldom_rejected_and_a_push_is_seen():
    rng, rejected = np.random.default_rng(0), 0
    for _ in range(60):
        runs = []
        for number in range(20):
            states = [str(rng.choice(list("abc"))) for _ in range(2)]
            while len(states) < 30:  # memory of order 2: it seldom goes where it came from
                others = [key for key in "abc" if key not in (states[-1], states[-2])]
                turn = others[0] if others and rng.random() < 0.9 else str(rng.choice(list("abc")))
                states.append(turn)
            turned = states[::-1] if rng.random() < 0.5 else states
            runs.append(path(*turned, name=f"{number:02}"))
        rejected += compare_reversals(runs, replicates=39).pvalue <= 0.05
    assert rejected <= 9  # 60 trials at 5%: P(more than 9) = 0.0008
    ring = [path(*"abc" * 10, name=str(i)) for i in range(20)]
    found = compare_reversals(ring)
    assert found.pvalue == 0.001
    assert found.to_table()["backward"] == [0, 0, 0]


def test_balance_warns_of_contexts_and_not_of_keys():
    rng = np.random.default_rng(1)
    runs = [path(*rng.choice(["a", "b", "c<d"], 40).tolist()) for _ in range(20)]
    runs += [path(*["a", "x", "a", "b", "x", "b", "c<d"] * 6)] * 10
    contexts = find_contexts(runs, refine=False)
    renamed = contexts.rename(runs)
    for ask in (check_balance, reversibility_test):
        with pytest.warns(UserWarning, match="no way back"):
            ask(renamed.counts())
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_balance(contexts.restore(renamed).counts())


def test_what_has_no_words_is_refused():
    with pytest.raises(InsufficientDataError, match="no word of 3 keys"):
        compare_reversals([path(START, "a", END)])
    with pytest.raises(InvalidInputError, match="length=1"):
        compare_reversals([path("a", "b")], 1)
