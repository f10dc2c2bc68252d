"""The page of one run: its path, what is known of its steps, and where it begins to repeat."""

import json
import shlex
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from detailed_balance import Transition, TransitionStore, analyze
from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome, StepFacts
from detailed_balance.cli import app
from detailed_balance.render.links import check_run_url, link_run
from detailed_balance.report.run_page import find_run, show_run
from detailed_balance.report.run_path import list_path
from tests.support.dashboards import HOSTILE


def make_run(path, name="t1", **known):
    return Trajectory(tuple(pairwise(path)), name, **known)


def path_of(*states, **known):
    table = RunTable.of([make_run(["__start__", *states], **known)])
    return [(line.steps, line.text, line.times) for line in list_path(table, 0)]


def test_a_shuttle_of_forty_changes_is_one_line():
    assert path_of("plan", *["check", "look"] * 20, "check", "__end__") == [
        ("1", "plan", 1),
        ("2-41", "check ⇄ look", 20),
        ("42", "check", 1),
        ("43", "__end__", 1),
    ]


def test_rounds_of_a_loop_and_rounds_from_a_hub_are_one_line():
    assert path_of(*"abcabcabcd") == [("1-9", "a → b → c", 3), ("10", "d", 1)]
    assert path_of(*"hahbhahbhahbz") == [("1-12", "h → a → h → b", 3), ("13", "z", 1)]


def test_stays_inside_a_loop_do_not_hide_it():
    assert path_of(*"aabaaab") == [("1-7", "a ⇄ b", 2)]


def test_what_does_not_repeat_is_a_line_for_each_step():
    assert [text for _, text, _ in path_of(*"abcdbe")] == list("abcdbe")


def test_a_record_that_begins_in_the_midst_of_a_run_says_where_it_stood():
    table = RunTable.of([Trajectory((("a", "b"), ("b", None)))])
    assert [(line.steps, line.text, line.facts) for line in list_path(table, 0)] == [
        ("", "a", ""),
        ("1", "b", ""),
        ("2", "(no state reached)", "failed"),
    ]


def test_each_line_says_what_its_steps_brought():
    facts = (
        StepFacts(call=1, answer=1, tokens=5),
        StepFacts(call=1, answer=1, repeats=True, stale=True, tokens=7),
        StepFacts(call=3, answer=3, resumed=True),
        StepFacts(call=3, answer=4, repeats=True),
        StepFacts(failed=True, cost=0.5),
    )
    table = RunTable.of([make_run(["__start__", *"aabcd"], facts=facts)])
    said = [(line.text, line.facts, line.tokens, line.cost) for line in list_path(table, 0)]
    assert said == [
        ("a", "1 same call, same answer; 1 new", 12, None),
        ("b", "a person has answered; new", None, None),
        ("c", "same call, new answer", None, None),
        ("d", "failed", None, 0.5),
    ]


def test_a_step_that_fails_again_and_again_is_one_line():
    table = RunTable.of([Trajectory((("__start__", "a"), *[("a", None)] * 5, ("a", "b")))])
    said = [(line.text, line.times, line.facts) for line in list_path(table, 0)]
    assert said == [("a", 1, ""), ("(no state reached)", 5, "all failed"), ("b", 1, "")]


def test_a_loop_is_counted_anew_where_a_person_has_answered():
    facts = tuple(StepFacts(resumed=i == 4) for i in range(8))
    assert path_of(*"abababab", facts=facts) == [("1-4", "a ⇄ b", 2), ("5-8", "a ⇄ b", 2)]


def test_the_onset_is_marked_where_the_run_begins_to_repeat_itself():
    path = ["__start__", "plan", *["check", "look"] * 20]
    page = show_run(RunTable.of([make_run(path, outcome=Outcome.RECURSION_LIMIT)]), "t1")
    assert [(line.steps, line.onset) for line in page.lines] == [
        ("1", ""),
        ("2-41", "repeats itself from here: 39 changes"),
    ]
    assert page.head.word == "LIMIT"
    told = page.to_dict()
    assert (told["outcome"], told["success"], told["onset"]) == ("recursion_limit", None, 2)
    assert dict(page.head.rows)["moves"] == "41, 39 after it started repeating"


def test_an_unexpected_step_is_named_with_the_chance_that_it_had():
    usual = [make_run(["__start__", "plan", "look", "say", "__end__"], f"t{i}") for i in range(60)]
    odd = make_run(["__start__", "plan", "delete\x1b", "say", "__end__"], "odd")
    page = show_run(RunTable.of([*usual, odd]), "odd")
    known = {line.text: line.surprisal for line in page.lines}
    # 60 times plan came before look: by KT with 0.1 a key about 0.1 / 60 is left for others.
    assert known["plan"] < 0.1 < 4 < known["delete\\x1b"]
    assert max(known, key=known.get) == "delete\\x1b"
    told = dict(page.head.rows)["unexpected"]
    assert told.startswith("step 2, plan to delete\\x1b (1 in ")
    assert "unexpected" not in dict(show_run(RunTable.of([*usual, odd]), "t3").head.rows)
    assert "chance" in str(page)
    assert "<th>chance</th>" in page._repr_html_()


def test_what_is_expected_is_learned_from_runs_of_other_blocks():
    runs = [
        make_run(["__start__", "plan", f"only-{i % 12}", "__end__"], f"t{i}") for i in range(48)
    ]
    table = RunTable.of(runs)
    block = np.arange(48) % 12
    blocked = replace(
        table, runs=table.runs._replace(block=block), blocks=tuple(f"{i:02}" for i in range(12))
    )
    by_run, by_block = (show_run(each, 5).lines[1].surprisal for each in (table, blocked))
    assert by_block > by_run + 1


def test_a_few_runs_tell_nothing_of_what_is_expected():
    table = RunTable.of([make_run("abc", f"t{i}") for i in range(10)])
    page = show_run(table, "t1")
    assert {line.surprisal for line in page.lines} == {None}
    assert "chance" not in str(page)


def test_runs_inside_stand_under_the_visit_in_which_they_ran():
    outer = make_run(["__start__", "plan", "work", "check", "work", "__end__"], "T", run="1")
    inner = [
        make_run(["__start__", state], f"T/work:{i}", run=f"1{i}", parent="1", started=float(i))
        for i, state in enumerate("xy")
    ]
    lines = list_path(RunTable.of([outer, *reversed(inner)]), 0)
    assert [(line.depth, line.text) for line in lines] == [
        (0, "plan"),
        (0, "work"),
        *[(1, "run work:0, 1 move"), (1, "x")],
        (0, "check"),
        (0, "work"),
        *[(1, "run work:1, 1 move"), (1, "y")],
        (0, "__end__"),
    ]


def test_runs_that_are_inside_each_other_end():
    runs = [make_run("ab", "A", run="1", parent="2"), make_run("ab", "B", run="2", parent="1")]
    assert len(list_path(RunTable.of(runs), 0)) == 5


def test_a_long_run_is_shown_in_two_hundred_lines_that_say_what_is_left_out():
    path = ["__start__", *(f"s{i}" for i in range(3_000)), *["a", "b"] * 20]
    page = show_run(RunTable.of([make_run(path, outcome=Outcome.RECURSION_LIMIT)]), "t1")
    lines = str(page).splitlines()
    assert len(lines) <= 200
    assert sum("left out" in line for line in lines) == 1
    assert "repeats itself from here" in lines[-1]
    assert len(page.to_dict()["lines"]) == 3_001


def test_no_key_breaks_a_line_or_paints_the_terminal():
    runs = [make_run(["__start__", *HOSTILE, None], "\x1b[31mred\nline", error="E\n\x1b[2J")]
    page = show_run(RunTable.of(runs), 0)
    for text in (str(page), page._repr_html_()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert len(str(page).splitlines()) == len(page.lines) + len(page.head.rows) + 3
    assert "<script>" not in page._repr_html_()
    json.dumps(page.to_dict(), allow_nan=False)


def test_a_run_is_found_by_its_key_its_id_or_how_one_begins():
    keys = [("t7", "r1"), ("t70", "r2"), ("t97", "x3")]
    table = RunTable.of([make_run("ab", name, run=run) for name, run in keys])
    assert [find_run(table, key) for key in ("t7", "t70", "r2", "t9", "x")] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "key",
    ["a\nb", "\x1b[31mred", "a\\b", "\u202eabc", "k" * 10_000, "--help", "; rm -rf ~"],
)
def test_the_command_that_a_report_prints_shows_the_run_whatever_its_key(key, tmp_path):
    path = tmp_path / "runs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for name in (key, "other"):
            for source, target in pairwise(
                ["__start__", *("xy" if name == "other" else "ab" * 15)]
            ):
                line = {"trajectory": name, "source": source, "target": target}
                file.write(json.dumps({**line, "success": False, "call": 0, "answer": 0}) + "\n")
    fields = {f"{name}_field": name for name in ("success", "call", "answer")}
    finding = analyze(path, **fields).findings[0]
    assert finding.runs == (key,)
    shown = CliRunner().invoke(app, shlex.split(finding.show)[1:])
    assert shown.exit_code == 0, shown.output
    assert "moves    30" in shown.output


def test_of_several_runs_of_one_key_the_last_is_shown_and_the_page_says_so():
    table = RunTable.of([make_run("ab", "t1", run="r1"), make_run("abc", "t1", run="r2")])
    page = show_run(table, "t1")
    assert page.run == "r2"
    assert dict(page.head.rows)["key"] == "shared by 2 runs; each has its own id"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("checkuot-1", "no run checkuot-1 among 30 runs; is it one of checkout-1"),
        ("checkout-2", None),
        ("checkout", "30 runs begin with checkout: checkout-0, .* and 25 more; give more"),
        ("", "there is no run"),
        ("\x1b[31m", r"no run \\x1b\[31m among"),
    ],
)
def test_an_unknown_run_is_an_error_that_names_close_ones(asked, said):
    table = RunTable.of([make_run("ab", f"checkout-{i}") for i in range(30)])
    if said is None:
        assert find_run(table, asked) == 2
        return
    with pytest.raises(InvalidInputError, match=said):
        find_run(table, asked)


@pytest.mark.parametrize(
    "template",
    ["https://example.org/", "ftp://example.org/{run}", "javascript:alert('{run}')", "{run}",
     "https://{run}/x", "https://user:{run}@example.org/", "https://example.org/ {run}",
     "https://[::1/{run}", "//example.org/{run}", "https://example.org/{run}\n"],
)  # fmt: skip
def test_an_address_that_is_none_of_runs_is_refused(template):
    with pytest.raises(InvalidInputError, match="after the host"):
        check_run_url(template)


@pytest.mark.parametrize("key", [*HOSTILE[:21], "?x=1&y#z", "%2F", "{run}"])
def test_no_key_leads_a_link_elsewhere(key):
    link = link_run("https://example.org/t/{run}?tab=1", key)
    begin, end = "https://example.org/t/", "?tab=1"
    assert link == "" or (link.startswith(begin) and link.endswith(end))
    assert not set(link.removeprefix(begin).removesuffix(end)) & set("/?#&<>'\" \n")


def run_command(*given):
    return CliRunner().invoke(app, ["show", *map(str, given)])


@pytest.fixture
def stored(tmp_path):
    with TransitionStore(f"sqlite:///{tmp_path}/runs.db") as store:
        for key in ("t1", "t2\n\x1b[31m"):
            path = ["__start__", *["check a policy of a long name", "look up an order"] * 20]
            store.append(
                Transition(a, b, key, (("model", "m"),), i, 1000.0 + i)
                for i, (a, b) in enumerate(pairwise(path))
            )
    return tmp_path / "runs.db"


def test_the_command_prints_lines_that_are_never_broken(stored):
    done = run_command(stored, "t1", "--run-url", "https://example.org/{run}")
    assert done.exit_code == 0, done.output
    assert "  1-40  check a policy of a long name ⇄ look up an order  x 20" in done.output
    assert "  link     https://example.org/t1" in done.output
    assert len(run_command(stored, "t2").output.splitlines()) == len(done.output.splitlines()) - 1


def test_the_command_writes_json_to_a_file_or_prints_it(stored, tmp_path):
    printed = json.loads(run_command(stored, "t1", "--json", "-").output)
    run_command(stored, "t1", "--json", tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == printed
    assert printed["name"] == "t1"
    assert printed["lines"][0]["times"] == 20


def test_the_command_says_which_runs_there_are(stored):
    done = run_command(stored, "t3")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: there is no run t3 among 2 runs; is it one of t1?")
