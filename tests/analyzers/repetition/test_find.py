"""Runs that repeat themselves more than successful runs do, or without getting anywhere."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.stats import binom

from detailed_balance.analyzers import (
    END,
    START,
    Outcome,
    RepetitionRules,
    RunTable,
    Trajectory,
    find_repetition,
    suggest_step_limit,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition._contrast import contrast_failed
from detailed_balance.analyzers.runs.trajectory import StepFacts

NEW = StepFacts(call=1, answer=1)
STALE = StepFacts(call=1, answer=1, repeats=True, stale=True)


def run_of(states, name="run", success=None, **known):
    return Trajectory(tuple(pairwise([START, *states])), name, success=success, **known)


def healthy(n, rng, failed=0.3):
    """Runs at random among three tools, failures at random."""
    return [
        run_of(rng.choice(list("abc"), size=rng.integers(5, 31)), f"r{i}", rng.random() > failed)
        for i in range(n)
    ]


def good_runs(n, states="abcd"):
    return [run_of(states, f"good {i}", success=True) for i in range(n)]


def the_finding(runs, **settings):
    (finding,) = find_repetition(runs, **settings).findings
    return finding


# The contrast.


def adjusted_by_enumeration(values, n_failed):
    """The least-p adjusted p-values of the first choice of failed runs, over all choices."""
    n = values.shape[1]

    def count(failed):
        good = [i for i in range(n) if i not in failed]
        return [sum(row[i] > max(row[good]) for i in failed) for row in values]

    counts = np.array([count(failed) for failed in combinations(range(n), n_failed)])
    pvalues = np.array(
        [[(counts[:, q] >= row[q]).mean() for q in range(len(values))] for row in counts]
    )
    return [(pvalues.min(axis=1) <= p).mean() for p in pvalues[0]]


def test_pvalues_are_those_of_all_permutations():
    values = np.array([[9, 9, 4, 4, 4, 2, 2, 1, 1, 1], [3, 3, 3, 5, 1, 1, 1, 1, 1, 1], [0] * 10])
    found = contrast_failed(
        values,
        np.zeros_like(values),
        np.full(10, 50),
        np.arange(10) < 3,
        np.full(10, -1),
        np.zeros(3, dtype=np.int64),
        np.zeros(3, dtype=np.bool_),
        content=0.95,
        confidence=0.95,
        replicates=40_000,
        rng=np.random.default_rng(0),
    )
    # By length, all runs being as long, the first two drawn are failed ones: 3/10 * 2/9.
    expected = np.maximum(adjusted_by_enumeration(values, 3), [6 / 90, 1, 1])
    # The error of a p-value by 40,000 permutations is at most 0.0025.
    assert found.pvalue == pytest.approx(expected, abs=0.01)
    assert found.failed.tolist() == [2, 0, 0]


@pytest.mark.parametrize("n", [1, 20, 58, 59, 92, 93, 200])
def test_the_bound_is_an_order_statistic_of_good_runs(n):
    stays = np.random.default_rng(n).integers(1, 200, size=n).tolist()
    runs = [run_of("x" * stay, f"r{i}", success=True) for i, stay in enumerate(stays)]
    found = find_repetition(runs)
    limit = suggest_step_limit(stays, share=0.95)
    assert found.tests[0].bound == max(limit.limit, 4)
    assert found.content == pytest.approx(limit.share if limit.enough else 0.05 ** (1 / n))
    within = n - found.tests[0].good
    assert n < 59 or binom.cdf(within - 1, n, 0.95) >= 0.95


def test_failed_runs_that_shuttle_are_found_with_place_onset_and_what_came_after():
    sizes = (6, 9, 12)
    costs = [(1.0,) * (2 * k + 1) for k in sizes]
    bad = [
        run_of("x" + "ab" * k, f"bad {k}", success=False, costs=cost)
        for k, cost in zip(sizes, costs, strict=True)
    ]
    finding = the_finding([*good_runs(60), *bad])
    assert (finding.kind, finding.states, finding.evidence) == ("shuttle", ("a", "b"), "contrast")
    assert [(run.name, run.times, run.onset, run.after) for run in finding.runs] == [
        ("bad 12", 23, 2, 23),
        ("bad 9", 17, 2, 17),
        ("bad 6", 11, 2, 11),
    ]
    assert [run.cost_after for run in finding.runs] == [23.0, 17.0, 11.0]
    assert (finding.test.bound, finding.test.good, finding.test.failed) == (4, 0, 3)
    assert finding.content == 0.95
    assert "3 runs (bad 12, bad 9, bad 6) go back and forth between a and b" in finding.describe()


def test_each_run_is_found_once_and_runs_of_one_place_are_one_finding():
    bad = [run_of("x" + "abc" * 6, f"round {i}", success=False) for i in range(3)]
    bad += [run_of("x" + "y" * 9, f"stay {i}", success=False) for i in range(4)]
    found = find_repetition([*good_runs(60), *bad])
    places = [(f.kind, f.states, len(f.runs)) for f in found.findings]
    assert places == [("stay", ("y",), 4), ("cycle", Loop("abc"), 3)]
    assert len(found.to_table()["name"]) == 7
    assert found.to_dict()["findings"][0]["runs"][0]["times"] == 9


def test_what_good_runs_do_as_much_is_no_finding():
    runs = [run_of("etr" * (6 + i % 10), f"r{i}", success=i % 3 > 0) for i in range(100)]
    runs += [run_of("p" + "r" * 12, f"s{i}", success=i % 3 > 0) for i in range(100)]
    found = find_repetition(runs)
    assert found.findings == ()
    assert "do not repeat themselves significantly more than successful ones" in found.describe()


def test_a_few_visits_are_no_repetition_however_little_good_runs_repeat():
    bad = [run_of("xxxxababa", f"bad {i}", success=False) for i in range(20)]
    assert find_repetition([*good_runs(60), *bad]).findings == ()


def test_the_level_is_kept_whatever_the_number_of_runs():
    rng = np.random.default_rng(0)
    for n, records in ((12, 200), (40, 200)):
        found = [
            bool(find_repetition(healthy(n, rng), replicates=99).findings) for _ in range(records)
        ]
        assert sum(found) <= binom.ppf(1 - 1e-4, records, 0.05)


def test_long_runs_that_fail_are_not_said_to_repeat_themselves_more():
    rng = np.random.default_rng(0)

    def record():
        sizes = np.sort(rng.integers(5, 31, size=100)).tolist()
        return [
            run_of(rng.choice(list("abc"), size=size), f"r{i}", i < 70)
            for i, size in enumerate(sizes)
        ]

    found = [bool(find_repetition(record(), replicates=99).findings) for _ in range(150)]
    assert sum(found) <= binom.ppf(1 - 1e-4, 150, 0.07)


def test_hard_tasks_that_fail_more_and_repeat_more_are_no_finding_within_tasks():
    rng = np.random.default_rng(0)

    def record():
        for task in range(8):
            hard = rng.random()
            for i in range(8):
                reads = 1 + rng.poisson(10 * hard)
                states = "r" * reads + "".join(rng.choice(list("abcdef"), size=30 - reads))
                name, label = f"{task}/{i}", (("task", str(task)),)
                yield run_of(states, name, rng.random() > hard, context=label)

    tables = [RunTable.of(record()) for _ in range(150)]
    within = [find_repetition(t, block="task", replicates=99).findings for t in tables]
    pooled = [find_repetition(t, replicates=99).findings for t in tables]
    assert sum(map(bool, within)) <= binom.ppf(1 - 1e-4, 150, 0.05)
    assert sum(map(bool, pooled)) > binom.ppf(1 - 1e-4, 150, 0.05)


def test_a_task_gives_one_maximum_of_its_good_runs():
    runs = [
        run_of("a" * stay, f"{task}{i}", success=True, context=(("task", task),))
        for task, stays in {"s": (2, 9), "t": (3, 4), "u": (5, 5)}.items()
        for i, stay in enumerate(stays)
    ]
    found = find_repetition(runs, block="task")
    assert (found.units, found.good) == (3, 6)
    assert found.content == pytest.approx(0.05 ** (1 / 3))


def test_runs_at_the_limit_are_told_and_not_compared():
    limit = Outcome.RECURSION_LIMIT
    runs = [*good_runs(60), *(run_of("etr" * 30, f"l{i}", False, outcome=limit) for i in range(9))]
    runs.append(run_of("abcd", "short", False, outcome=limit))
    found = find_repetition(runs)
    assert (found.findings, found.failed, found.good) == ((), 0, 60)
    assert [(r.kind, r.states, r.times, r.onset) for r in found.limits][:1] == [
        ("cycle", Loop("etr"), 29, 1)
    ]
    last = found.limits[-1]
    assert (len(found.limits), last.name, last.kind, last.onset) == (10, "short", None, None)


def test_what_runs_inside_a_run_counts_as_part_of_it():
    def family(number, inner, success):
        yield run_of("pq", f"o{number}", success, run=f"o{number}")
        yield run_of(inner, f"i{number}", None, run=f"i{number}", parent=f"o{number}")

    runs = [run for i in range(60) for run in family(i, "xyz", True)]
    runs += [run for i in range(60, 63) for run in family(i, "x" * 15, False)]
    finding = the_finding(runs)
    assert (finding.compared, finding.states) == ((60, 3), ("x",))
    assert sorted(run.name for run in finding.runs) == ["i60", "i61", "i62"]


# Without a test.


def test_a_run_that_fails_while_the_same_answer_comes_again_is_a_fact():
    facts = (NEW, *[STALE] * 4)
    run = run_of("aaaaa", "bad", False, facts=facts)
    finding = the_finding([*good_runs(30), run])
    assert (finding.kind, finding.states, finding.evidence) == ("stay", ("a",), "fact")
    (row,) = finding.runs
    assert (row.times, row.onset, row.stale) == (5, 1, 4)
    # It went on with something new, or it succeeded, or it is not known what it brought: no fact.
    runs = [
        run_of("aaaaab", "new", False, facts=(*facts, NEW)),
        run_of("aaaaa", "good", True, facts=facts),
        run_of("aaaaa", "unknown", False),
    ]
    assert find_repetition([*good_runs(30, "aaaaaa"), *runs]).findings == ()


def test_what_few_others_did_too_belongs_to_a_fact_and_what_many_do_is_work():
    facts = (NEW, *[STALE] * 4)
    bad = run_of("aaaaa", "bad", False, facts=facts)
    got_out = run_of("aaaaab", "got out", True, facts=(*facts, NEW))
    elsewhere = run_of("bbbbba", "elsewhere", True, facts=(*facts, NEW))
    plain = [run_of("ab", f"{i}", True, facts=(NEW, NEW)) for i in range(30)]
    (finding,) = find_repetition([bad, got_out, elsewhere, *plain]).findings
    assert {run.name for run in finding.runs} == {"bad", "got out"}
    assert "1 of them stopped there" in finding.describe()
    polls = [run_of("aaaaab", f"{i}", True, facts=(*facts, NEW)) for i in range(30)]
    assert find_repetition([bad, *polls]).findings == ()
    limited = replace(bad, name="limited", outcome=Outcome.RECURSION_LIMIT)
    (finding,) = find_repetition([bad, limited, *polls]).findings
    assert [run.name for run in finding.runs] == ["limited"]


def test_the_end_of_a_run_hides_no_fact():
    moves = (*pairwise([START, *"abababa"]), ("a", END))
    facts = (NEW, NEW, *[STALE] * 5, None)
    run = Trajectory(moves, "bad", success=False, facts=facts)
    finding = the_finding([run])
    assert (finding.kind, finding.states, finding.runs[0].times) == ("shuttle", ("a", "b"), 6)


def test_thirty_different_commands_are_told_to_be_new():
    run = run_of(
        "b" * 30, "bad", False, facts=tuple(StepFacts(call=i, answer=i) for i in range(30))
    )
    finding = the_finding([*good_runs(60), run, run])
    assert finding.evidence == "contrast"
    assert [(r.new, r.stale, r.failed, r.unknown) for r in finding.runs] == [(30, 0, 0, 0)] * 2
    assert finding.describe().endswith("of 60 repeated steps 60 new")


@pytest.mark.parametrize(
    ("states", "times", "found"), [("a" * 11, 10, True), ("a" * 10, 9, False), ("ab" * 6, 11, True)]
)
def test_with_few_good_runs_a_rule_holds_for_steps_that_bring_nothing(states, times, found):
    facts = (NEW, *[STALE] * (len(states) - 1), NEW)
    run = run_of(f"{states}z", "odd", None, facts=facts)
    report = find_repetition([run, *good_runs(19, states)])
    assert bool(report.findings) == found or times == 9
    if found:
        assert report.findings[0].evidence == "rule"
        assert "a rule, because 19 successful runs are too few" in report.findings[0].describe()
    assert find_repetition([run, *good_runs(20, states)]).findings == ()


def test_a_rule_is_for_steps_in_a_row_that_bring_nothing():
    facts = (NEW, STALE) * 20  # an edit that is new, a test that says the same
    run = run_of("et" * 20, "work", False, facts=facts)
    assert find_repetition([run]).findings == ()


def test_without_facts_the_rule_is_for_failed_runs_where_none_is_good():
    failed = [run_of("x" + "ab" * 20, f"r{i}", success=False) for i in range(4)]
    assert the_finding(failed).evidence == "rule"
    unjudged = [run_of("x" + "ab" * 20, f"r{i}") for i in range(4)]
    assert find_repetition(unjudged).findings == ()
    assert "not known" in find_repetition(unjudged).describe()
    assert find_repetition(failed, rules=RepetitionRules(visits=50, rounds=50)).findings == ()


# Order, and what is refused.


def test_the_order_of_runs_and_blocks_changes_no_number():
    rng = np.random.default_rng(1)
    runs = [
        run_of(
            rng.choice(list("abc"), p=[0.6, 0.3, 0.1], size=rng.integers(5, 40)),
            f"r{i}",
            rng.random() > 0.4,
            context=(("task", str(i % 7)),),
        )
        for i in range(60)
    ]

    def look(order, block):
        table = RunTable.of([runs[i] for i in order]).with_blocks("task")
        found = find_repetition(table, alpha=0.99, block=block).to_dict()
        for finding in found["findings"]:
            for run in finding["runs"]:
                del run["place"]
        return found

    for block in (None, "task"):
        expected = look(range(60), block)
        assert expected["findings"]
        for _ in range(3):
            assert look(rng.permutation(60), block) == expected


def test_the_order_of_runs_without_names_changes_no_pvalue():
    rng = np.random.default_rng(2)
    runs = [
        run_of(rng.choice(list("ab"), size=rng.integers(5, 30)), None, rng.random() > 0.4)
        for _ in range(50)
    ]
    expected = find_repetition(runs).tests
    for _ in range(3):
        assert find_repetition([runs[i] for i in rng.permutation(50)]).tests == expected


def test_nothing_is_found_in_nothing():
    found = find_repetition([])
    assert (found.findings, found.limits, found.runs) == ((), (), 0)
    assert find_repetition([Trajectory(())]).runs == 0


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InvalidInputError, match="alpha=1"):
        find_repetition([], alpha=1)
    with pytest.raises(InvalidInputError, match="replicates=0"):
        find_repetition([], replicates=0)
