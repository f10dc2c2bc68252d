"""Each word of a verdict has a rule: what is a problem, what to watch, what is in order."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from rich.console import Console

from benchmarks.statistics.agents import (
    draw_lengths,
    draw_paths,
    draw_weights,
    make_runs,
    push_loop,
)
from detailed_balance import Report, analyze
from detailed_balance.analyzers import (
    Outcome,
    RunTable,
    Trajectory,
    TransitionCounts,
)
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.diagnosis.case import Case
from detailed_balance.diagnosis.diagnose import diagnose
from detailed_balance.diagnosis.measure import AgentRecord, MeasureSettings, measure
from detailed_balance.render import html, terminal
from detailed_balance.render.document import Statement, Verdict, VerdictOutcome
from detailed_balance.sources.source import SourceInfo
from tests.plugin.test_report import HOSTILE
from tests.plugin.test_run_report import runs_of

LOOP = (0, 1, 2)


def agent(seed: int, runs: int, *, push: float = 0.0, more: float = 0.0) -> RunTable:
    """Runs of 5 to 30 moves of 6 tools; the 30% that fail are pushed more round a triangle."""
    rng = np.random.default_rng(seed)
    weights, bad = draw_weights(rng, 6), round(0.3 * runs)
    good = draw_paths(rng, push_loop(weights, LOOP, push), draw_lengths(rng, runs - bad))
    worse = draw_paths(rng, push_loop(weights, LOOP, push + more), draw_lengths(rng, bad))
    return make_runs(good + worse, np.arange(runs) < runs - bad)


def mixture(*, labels: bool = False) -> RunTable:
    """200 runs of one reversible task type and 200 of another; their sum is not reversible."""
    rng, paths = np.random.default_rng(3), []
    for start in (0, 3):
        weights = draw_weights(rng, 6, spread=2.0)
        paths += draw_paths(rng, weights, draw_lengths(rng, 200), start=start)
    table = make_runs(paths)
    if not labels:
        return table
    kinds = [(("kind", "AB"[i // 200]),) for i in range(400)]
    return RunTable.of(
        Trajectory(run.moves, run.name, success=True, context=kind)
        for run, kind in zip(table, kinds, strict=True)
    )


def case_of(table: RunTable) -> Case:
    """What findings of a table are made of, with the p-value of each kind that is tested."""
    record = AgentRecord(table, table.counts(), SourceInfo("runs"))
    case = measure(record, MeasureSettings(), lambda stage, done, total: None).case
    diagnose(case)
    return case


def told(report: Report) -> str:
    return " ".join(str(report.verdict).split())


# PROBLEM


def test_a_limit_that_stopped_a_run_is_a_problem_without_any_test() -> None:
    moves = tuple(pairwise(("__start__", *"abcd" * 5)))
    stopped = [Trajectory(moves, "endless", Outcome.RECURSION_LIMIT, False)]
    report = analyze([*runs_of(("good", 30, "abd", True)), *stopped])
    assert report.verdict.outcome == "problem"
    assert report.verdict.headline == (
        "PROBLEM: 1 of 31 runs hit the recursion limit: it goes round a → b → c → d → a, 4 rounds"
    )


def test_the_limit_comes_before_what_tests_find() -> None:
    table = agent(4, 100, more=3.0)
    moves = tuple(pairwise(("__start__", *["tool_3", "tool_4"] * 20)))
    stopped = Trajectory(moves, "endless", Outcome.RECURSION_LIMIT, False)
    report = analyze([*table, stopped])
    assert report.verdict.headline.startswith("PROBLEM: 1 of 101 runs hit the recursion limit")
    assert "PROBLEM 30 of 101 runs did not succeed; they go round tool_0" in told(report)


def test_the_same_call_with_the_same_answer_before_a_failure_is_a_problem() -> None:
    again = StepFacts(failed=False, repeats=True, stale=True)
    moves = tuple(pairwise(("__start__", *"a" + "s" * 8, "__end__")))
    facts = (None, None, *[again] * 7, None)
    stuck = [Trajectory(moves, f"stuck {i}", success=False, facts=facts) for i in range(2)]
    report = analyze([*stuck, *runs_of(("good", 20, "asb", True))])
    assert report.verdict.headline == (
        "PROBLEM: 2 of 22 runs stay in s, up to 8 times in a row, the same call with the same "
        "answer"
    )
    assert "while the same call got the same answer again and again" in told(report)


def test_failed_runs_that_are_pushed_more_are_a_problem_with_their_odds() -> None:
    report = analyze(agent(1, 100, more=3.0))
    assert report.verdict.outcome == "problem"
    start = (
        "PROBLEM: 30 of 100 runs did not succeed; they go round tool_0 → tool_1 → tool_2 → tool_0"
    )
    assert report.verdict.headline.startswith(start)
    (cause,) = (v for v in report.balance.violations if v.kind == "suspect")
    assert f"{cause.odds_ratio:.2f} times the odds" in report.verdict.headline
    assert cause.odds_interval[0] > 1


def test_failed_runs_that_do_other_things_are_a_problem() -> None:
    report = analyze(runs_of(("good", 30, "abd", True), ("bad", 10, "acd", False)))
    assert report.verdict.headline.startswith("PROBLEM: 10 of 40 runs did not succeed; after a ")
    (finding,) = report.findings
    assert finding.runs == tuple(f"bad-{i}" for i in range(10))


def test_kinds_that_are_tested_share_alpha() -> None:
    case = case_of(agent(1, 100, more=3.0))
    assert set(case.pvalues) == {"driven", "repetition", "failure"}
    # Holm: the smallest of three is held against alpha / 3.
    kind, smallest = min(case.pvalues.items(), key=lambda item: item[1])
    assert not any(map(replace(case, alpha=2.9 * smallest).supports, case.pvalues))
    assert replace(case, alpha=3.1 * smallest).supports(kind)


def test_what_chance_may_show_in_one_of_several_tests_is_said_and_is_no_problem() -> None:
    case = case_of(agent(1, 100, more=3.0))
    (finding,) = diagnose(replace(case, alpha=1.5 * min(case.pvalues.values())))
    assert (finding.kind, finding.severity) == ("failure", "watch")
    assert "differs no more than chance allows in 3 tests" in finding.title


# WATCH


@pytest.mark.parametrize("push", [0.0, 3.0])
def test_failures_without_a_difference_are_told_with_the_odds_that_would_have_shown(
    push: float,
) -> None:
    report = analyze(agent(5, 100, push=push))
    least = min(contrast.detectable for contrast in report.balance.contrasts)
    assert report.verdict.outcome == "watch"
    assert report.verdict.headline == (
        "WATCH: 30 of 100 runs did not succeed; nothing they do differs (steps along a loop at "
        f"{least:.2f} times the odds would have been found)"
    )


def test_a_work_flow_is_described_and_is_no_finding() -> None:
    report = analyze(agent(2, 100, push=3.0))
    assert [v.kind for v in report.balance.violations] == ["work-flow"]
    assert [finding.severity for finding in report.findings] == ["watch"]
    assert "work-flow: failed runs do not take it more" in told(report)


def test_with_fewer_than_5_failed_runs_what_they_do_is_not_known() -> None:
    report = analyze(runs_of(("good", 30, "abd", True), ("bad", 4, "acd", False)))
    assert report.verdict.headline == (
        "WATCH: 4 of 34 runs did not succeed; to compare what they do, 5 failed and 5 successful "
        "runs are needed"
    )


def test_where_no_run_succeeds_that_is_a_problem_without_any_test() -> None:
    few, all_of_them = (analyze(runs_of(("bad", n, "abd", False))).verdict for n in (9, 10))
    assert few.outcome == "watch"
    assert all_of_them.headline == "PROBLEM: 10 of 10 runs did not succeed"


def test_a_step_that_breaks_often_since_a_change_is_a_problem_though_it_is_seldom_over_all() -> (
    None
):
    ended, failed = (("__start__", *"ab"), Outcome.ENDED), (("__start__", "a"), Outcome.FAILED)
    runs = []
    for number in range(120):
        path, outcome = failed if number > 80 and number % 3 == 0 else ended
        moves = (*pairwise(path), *([(path[-1], None)] if outcome is Outcome.FAILED else ()))
        success, began = outcome is Outcome.ENDED, 60.0 * number
        runs.append(Trajectory(moves, f"t{number}", outcome, success, "OSError", started=began))
    report = analyze(runs)
    assert report.verdict.headline == "PROBLEM: 13 of 120 runs failed after a (OSError)"
    assert report.findings[0].since.endswith(": 13 of the last 39 runs, none of the 81 before")


def test_what_failed_runs_do_is_said_without_the_state_between_all_others() -> None:
    good, bad = ("hub".join(f" {each} " for each in each_of) for each_of in ("abc", "bc"))
    report = analyze(runs_of(("good", 30, good.split(), True), ("bad", 15, bad.split(), False)))
    assert report.verdict.headline == (
        "PROBLEM: 15 of 45 runs did not succeed; failed runs begin with b 100% of the time, "
        "successful ones 0%"
    )
    assert report.findings[0].place == ("b",)


def test_a_rule_is_something_to_watch_and_is_called_a_rule() -> None:
    again = StepFacts(failed=False, repeats=True, stale=True)
    moves = tuple(pairwise(("__start__", *"a" + "s" * 14, "__end__")))
    facts = (None, None, *[again] * 13, None)
    stuck = Trajectory(moves, "stuck", facts=facts)
    report = analyze([stuck, *runs_of(("other", 5, "asb", None))])
    assert report.verdict.outcome == "watch"
    assert report.verdict.headline == (
        "WATCH: 1 of 6 runs stays in s, 14 times in a row, the same call with the same answer"
    )
    assert "by a rule (visited one state 10 times or more in a row" in told(report)


# OK and UNKNOWN


def test_ten_runs_that_succeeded_are_in_order_and_nine_are_too_few() -> None:
    ten, nine = (analyze(runs_of(("good", n, "abd", True))).verdict for n in (10, 9))
    assert (ten.outcome, nine.outcome) == ("ok", "unknown")
    assert ten.headline == (
        "OK: 10 of 10 runs ended; none repeats itself more than successful runs do; the longest "
        "took "
        "4 moves"
    )
    assert nine.headline == (
        "UNKNOWN: 9 runs, of which 9 ended; 1 more that succeed would be enough to say that "
        "nothing is wrong"
    )


def test_runs_without_an_end_that_outlast_all_good_ones_are_told() -> None:
    hung = Trajectory(tuple(pairwise(("__start__", *"ab" * 60))), "hung")
    verdict = analyze([*runs_of(("good", 30, "abd", True)), hung]).verdict
    assert verdict.headline == (
        "OK: 30 of 31 runs ended; none of them repeats itself too much; the longest took 4 moves"
    )
    told = "1 run with no end took more moves than any successful run; hung took 120"
    assert ("open", told) in verdict.statements[0].rows


def test_of_runs_that_nobody_saw_stop_it_is_not_said_that_none_ended() -> None:
    runs = [Trajectory(tuple(pairwise("ab" * (1 + n % 9))), f"t{n}") for n in range(50)]
    assert analyze(runs).verdict.headline.startswith("UNKNOWN: 50 runs, outcome unknown; ")


def test_a_driven_cause_alone_is_no_fault_where_all_runs_succeeded() -> None:
    report = analyze(runs_of(("good", 40, "abcabd", True), ("other", 10, "acbd", True)))
    assert [v.kind for v in report.balance.violations] == ["unclassified"]
    assert report.findings == ()
    assert report.verdict.outcome == "ok"
    assert "compare with successful runs" in told(report)


def test_runs_of_unknown_outcome_are_judged_on_balance_and_that_is_said() -> None:
    rng = np.random.default_rng(0)
    paths = draw_paths(rng, draw_weights(rng, 4, spread=0.3), np.full(300, 25))
    runs = [Trajectory(tuple(pairwise(map(str, path))), f"run {i}") for i, path in enumerate(paths)]
    many, few = analyze(runs), analyze(runs[:9])
    assert many.verdict.headline == (
        "OK: no violation of detailed balance and no trap was found; it is not known whether the "
        "300 runs succeeded"
    )
    assert few.verdict.outcome == "unknown"


# What breaks balance, in words


def test_a_push_is_said_to_act_inside_runs() -> None:
    report = analyze(agent(2, 100, push=3.0))
    (cause,) = report.balance.driven
    assert cause.run_pvalue <= 0.05
    assert "driven inside runs, or runs change as they go on" in told(report)
    assert "mixture" not in told(report)


def test_a_mixture_is_told_with_the_label_that_divides_it() -> None:
    report = analyze(mixture(labels=True))
    assert report.balance.driven == ()
    assert report.balance.violations
    text = told(report)
    assert "driven, or a mixture of different runs" in text
    assert "they differ by kind: analyze them separately (--context kind=...)." in text
    assert report.verdict.outcome == "ok"


def test_a_mixture_without_labels_is_said_to_be_one() -> None:
    text = told(analyze(mixture()))
    assert "driven, or a mixture of different runs" in text
    assert "The runs differ from each other, or their moves depend on more than the state" in text
    assert "analyze them separately" not in text


# Whatever the keys are


def test_hostile_keys_stay_text_in_every_sentence() -> None:
    names = [*HOSTILE[:4], *HOSTILE[4:6]]
    table = agent(1, 100, more=3.0)
    code = {f"tool_{i}": name for i, name in enumerate(names)}
    runs = [
        Trajectory(
            tuple((code.get(f, f), code.get(g or "", g)) for f, g in run.moves),
            HOSTILE[6],
            success=run.success,
            context=((HOSTILE[4], HOSTILE[i % 3]),),
        )
        for i, run in enumerate(table)
    ]
    verdict = analyze(runs).verdict
    assert verdict.outcome == "problem"
    for line in str(verdict).splitlines():
        assert line.isprintable()
        assert len(line) < 1_500


def test_the_order_of_runs_changes_no_word() -> None:
    runs = list(agent(1, 100, more=1.0))
    backwards = analyze(runs[::-1]).verdict
    assert backwards == analyze(runs).verdict


def test_counts_and_runs_of_the_same_moves_have_one_affinity() -> None:
    table = agent(2, 100, push=3.0)
    by_counts = analyze(table.counts())
    assert isinstance(by_counts.counts, TransitionCounts)
    assert by_counts.verdict.outcome == "watch"
    seen = {v.loop: v.affinity for v in analyze(table).balance.violations}
    assert seen.items() <= {v.loop: v.affinity for v in by_counts.balance.violations}.items()


def test_every_word_has_a_colour_on_the_page_and_in_the_terminal() -> None:
    page = html.render_page("title", ["<p></p>"])
    for outcome in get_args(VerdictOutcome):
        assert re.search(rf"h1\.{outcome}[ ,]", page)
        verdict = Verdict(outcome, (Statement(outcome.upper(), "headline"),))
        console = Console(force_terminal=True, color_system="standard")
        with console.capture() as captured:
            console.print(*terminal.render_verdict(verdict))
        assert "\x1b[1;3" in captured.get()


def test_runs_that_have_not_stopped_and_get_nowhere_are_something_to_watch() -> None:
    again = StepFacts(failed=False, repeats=True, stale=True)
    moves = tuple(pairwise(("__start__", *"a" + "s" * 14)))
    facts = (None, None, *[again] * 13)
    hung = [Trajectory(moves, f"hung {i}", facts=facts) for i in range(3)]
    report = analyze([*hung, *runs_of(("good", 40, "asb", True))])
    assert report.verdict.headline == (
        "WATCH: 3 of 43 runs stay in s, up to 14 times in a row, the same call with the same answer"
    )
    assert "these runs have not stopped" in told(report)
    # Good runs that wait as long for a job make it work, and so does an end.
    polling = [Trajectory(moves, f"polls {i}", Outcome.ENDED, True, facts=facts) for i in range(40)]
    assert analyze([*hung, *polling]).verdict.outcome == "ok"
    ended = Trajectory(
        (*moves, ("s", "__end__")), "slow", Outcome.ENDED, True, facts=(*facts, None)
    )
    assert analyze([ended, *runs_of(("good", 40, "asb", True))]).verdict.outcome == "ok"
