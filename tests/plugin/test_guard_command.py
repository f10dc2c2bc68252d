"""``detailed-balance guard``: what it prints, saves and refuses."""

import json
import random

import pytest
from typer.testing import CliRunner

from detailed_balance import read_runs
from detailed_balance.analyzers import RunGuard
from detailed_balance.cli import app
from detailed_balance.readers import read_texts


def ask(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.output


def say(rng, good, tool, number):
    text = "It is done." if good else "Sorry, I try again."
    if rng.random() < 0.2:
        text = "Let me see."
    call = {
        "id": str(number),
        "type": "function",
        "function": {"name": tool, "arguments": json.dumps({"n": 0 if not good else number})},
    }
    return [
        {"role": "assistant", "content": text, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": str(number), "name": tool, "content": "ok"},
    ]


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    """60 conversations of 30 tasks; failed ones go on searching."""
    rng, runs = random.Random(0), []
    for i in range(60):
        good = rng.random() < 0.6
        tools = ["search", "read", "write"] if good else ["search"] * rng.randint(2, 8)
        messages = [{"role": "user", "content": "?"}]
        for number, tool in enumerate(tools):
            messages += say(rng, good, tool, number)
        messages.append({"role": "assistant", "content": "Here it is." if good else "Sorry."})
        runs.append({"task_id": i // 2, "trial": i % 2, "reward": float(good), "traj": messages})
    path = tmp_path_factory.mktemp("chats") / "chats.json"
    path.write_text(json.dumps(runs))
    return path


def test_it_prints_what_it_would_have_stopped_and_which_promise_holds(chats):
    code, out = ask("guard", chats)
    assert code == 0, out
    first, guard, steps, promise, stopped, hurt = out.splitlines()
    assert "each tried by guards fitted to other runs" in first
    assert guard.split()[:2] == ["guard", "stops"]
    assert steps.startswith("  counting steps  stops ")
    assert "with probability at most 0.1" in promise
    assert stopped.startswith("  rightly stopped ")
    assert hurt.startswith("  wrongly stopped")


def test_a_label_that_looks_like_a_task_is_named_and_block_makes_the_promise_for_new_tasks(chats):
    _, out = ask("guard", chats, "--context-field", "task_id")
    assert 'for a new task_id give groups="task_id"' in out
    _, out = ask("guard", chats, "--context-field", "task_id", "--block", "task_id")
    assert "fitted to other tasks" in out
    assert "a run of a new " in out
    _, out = ask("guard", chats, "--context-field", "task_id", "--block", "task_id", "--by-runs")
    assert "fitted to other runs" in out


@pytest.mark.parametrize("options", [(), ("--text",), ("--memory", "2")])
def test_the_saved_guard_is_that_of_python(chats, tmp_path, options):
    path = tmp_path / "guard.json"
    code, out = ask("guard", chats, "--save", path, *options)
    assert code == 0, out
    assert "RunGuard.load(" in out
    guard = RunGuard.load(path)
    assert guard.reads_text is ("--text" in options)
    texts = read_texts(chats)
    for run in read_runs(chats)[:5]:
        watch = guard.watch(run.moves, run.facts, texts[run.name])
        assert watch.risk is not None


def test_json_is_printed_alone_or_written(chats, tmp_path):
    _, out = ask("guard", chats, "--json", "-")
    found = json.loads(out)
    assert found["guard"]["alpha"] == 0.1
    assert len(found["runs"]["run"]) == 60
    _, out = ask("guard", chats, "--json", tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == found
    assert "counting steps" in out


def test_too_few_runs_are_an_error_that_says_how_many_it_takes(chats, tmp_path):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(json.loads(chats.read_text())[:8]))
    code, out = ask("guard", few)
    assert code == 1
    assert "at least 10 successful runs on record" in out.replace("\n", " ")


def test_a_source_without_texts_says_so(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("trajectory,source,target,success\n" + "a,x,y,true\n")
    code, out = ask("guard", path, "--text")
    assert code == 1
    assert "holds no texts of messages" in out.replace("\n", " ")


def test_hidden_states_and_texts_do_not_go_together(chats):
    code, out = ask("guard", chats, "--text", "--hide", "search")
    assert code == 1
    assert "--text" in out


def test_texts_are_those_of_the_moves(chats):
    runs, texts = read_runs(chats), read_texts(chats)
    assert set(texts) == {run.name for run in runs}
    for run in runs:
        assert len(texts[run.name]) == len(run.states)
