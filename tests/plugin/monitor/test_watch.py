"""`detailed-balance watch`, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from detailed_balance import Transition, TransitionStore, analyze
from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks import Ending
from detailed_balance.cli import app
from tests.support.walkers import Walker

# Where the tests run in the background of a shell, Ctrl-C is ignored from the start.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from detailed_balance.cli import main; main()"
)
PATIENCE = 300  # seconds, on a machine with much to do
WATCH = [sys.executable, "-c", PROGRAM, "watch"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["watch", *arguments])


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([*WATCH, *arguments], stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_store(path: Path, *, driven: bool) -> str:
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Walker(1).walk(1_000, driven=driven))
    return str(path)


def test_once_says_what_is_known_and_its_code_tells_an_alarm(tmp_path: Path) -> None:
    calm = run(make_store(tmp_path / "calm.db", driven=False), "--once")
    assert (calm.exit_code, calm.stderr) == (0, "")
    assert calm.stdout.startswith("UNKNOWN  no run is known to have stopped yet\n")
    assert "; 1,000 transitions, 6 states; evidence against balance: log e-value " in calm.stdout
    driven = run(store := make_store(tmp_path / "driven.db", driven=True), "--once")
    assert driven.exit_code == 0  # without outcomes of runs it is to be watched
    assert "raised    watch driven: plan -> search -> read -> plan is driven" in driven.stdout
    assert "\nWATCH    plan -> search -> read -> plan is driven" in driven.stdout
    assert run(store, "--once", "--fail-on", "limit,driven").exit_code == 2


def test_events_as_json_have_the_standard_output_for_themselves(tmp_path: Path) -> None:
    done = run(make_store(tmp_path / "runs.db", driven=True), "--once", "--jsonl", "-")
    kinds = [json.loads(line)["alert"]["finding"]["kind"] for line in done.stdout.splitlines()]
    assert kinds == ["driven"]
    assert "1,000 transitions" in done.stderr


def test_a_second_look_with_a_state_tells_only_what_is_new(tmp_path: Path) -> None:
    store, state = make_store(tmp_path / "runs.db", driven=True), str(tmp_path / "state.json")
    first = run(store, "--once", "--state", state)
    second = run(store, "--once", "--state", state)
    assert "raised" in first.stdout
    assert "raised" not in second.stdout
    assert first.exit_code == second.exit_code == 0
    assert first.stdout.splitlines()[-1] == second.stdout.splitlines()[-1]


def test_services_may_stand_in_a_variable_where_no_list_of_processes_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "runs.db", driven=False)
    monkeypatch.setenv("DETAILED_BALANCE_NOTIFY", "json://127.0.0.1 ftp://127.0.0.1")
    done = run(store, "--once")
    assert done.exit_code == 1
    assert "this URL, which begins with 'ftp://'" in " ".join(done.stderr.split())


def test_a_watch_tells_what_comes_and_ends_cleanly(tmp_path: Path) -> None:
    path, events = tmp_path / "runs.db", tmp_path / "events.jsonl"
    make_store(path, driven=False)
    with watching(str(path), "--every", "0.05", "--jsonl", str(events)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"watching {path}: 0 runs, ")
        with TransitionStore(f"sqlite:///{path}") as store:
            store.append(Walker(2).walk(1_000, driven=True))
        wait_until(lambda: events.read_text().count("\n"))
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "raised" in out


def test_a_source_that_goes_away_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    path, events = tmp_path / "runs.db", tmp_path / "events.jsonl"
    make_store(path, driven=False)
    with watching(str(path), "--every", "0.05", "--jsonl", str(events)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        path.rename(tmp_path / "away.db")
        wait_until(lambda: events.read_text().count('"what": "raised"'))
        (tmp_path / "away.db").rename(path)
        wait_until(lambda: events.read_text().count('"what": "resolved"'))
        os.kill(process.pid, signal.SIGINT)  # ends it as cleanly as the other signal
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "the source cannot be read, trying again" in out
    assert "the source can be read again" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.db"], "there is no file nothing.db"),
        (["runs.csv"], "what can be watched is a store"),
        (["sqlite:///nothing.db"], "nothing.db"),
        (["{store}", "--notify", "ftp://x"], "apprise has no service for this URL"),
        (["{store}", "--state", "{store}"], "is not a state of a monitor"),
        (["{store}", "--alpha", "2"], "alpha must lie between 0 and 1"),
        (["{store}", "--baseline", "nothing.jsonl"], "nothing.jsonl"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_1(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    store = make_store(tmp_path / "runs.db", driven=False)
    done = run(*[argument.format(store=store) for argument in arguments], "--once")
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_batches_of_one_task_are_no_drift_where_block_names_the_task(tmp_path: Path) -> None:
    paths = []
    for name, first in (("usual", 0), ("new", 100)):
        path = tmp_path / f"{name}.db"
        with TransitionStore(f"sqlite:///{path}") as store:
            for task in range(first, first + 24):
                labels = (("task", f"t{task}"),)
                states = ["__start__", *"ab" * (2 + 7 * task % 29), "__end__"]
                store.append(
                    Transition(f, g, f"{task}-{trial}", labels)
                    for trial in range(8)
                    for f, g in pairwise(states)
                )
        paths.append(str(path))
    options = (paths[1], "--baseline", paths[0], "--once")
    assert "drift" not in run(*options, "--block", "task").stdout
    assert "drift" in run(*options).stdout


def shuttle(path: Path) -> str:
    """Make a store of 40 runs, three of which are stopped while they go back and forth."""
    with TransitionStore(f"sqlite:///{path}") as store:
        for number in range(40):
            name, stuck = f"t{number}", number in (20, 27, 33)
            states = ["__start__", "plan", *(["a", "b"] * 12 if stuck else ["a", "b", "__end__"])]
            outcome = Outcome.RECURSION_LIMIT if stuck else Outcome.ENDED
            store.append(
                Transition(f, g, name, (), k, 1e9 + 60 * number + k, run=name)
                for k, (f, g) in enumerate(pairwise(states))
            )
            store.append([Ending(name, outcome, time=1e9 + 60 * number + 50, run=name)])
    return str(path)


def test_the_first_screen_is_that_of_the_report_and_the_event_names_the_runs(
    tmp_path: Path,
) -> None:
    store = shuttle(tmp_path / "runs.db")
    done, report = run(store, "--once"), str(analyze(store).verdict)
    assert done.exit_code == 2
    raised, *screen = done.stdout.splitlines()
    assert raised[25:].startswith("raised    problem limit: 3 of 40 runs hit the recursion limit: ")
    assert raised.endswith("; runs t20, t27, t33")
    first = report.splitlines()[0]
    assert first.startswith("PROBLEM  3 of 40 runs hit the recursion limit")
    labels = [line[2:9].strip() for line in screen[1:6]]
    assert screen[0] == first
    assert labels == ["runs", "since", "cost", "differs", "do"]
    assert screen[1] in report.splitlines()
    assert f"detailed-balance show {store} t20" in screen[1]
    assert screen[-1].startswith("40 runs, 3 failed, 3 at the limit, 3 repeating; ")
    assert run(store, "--once", "--fail-on", "drift").exit_code == 0


def test_an_event_that_could_not_be_delivered_is_said_at_the_end(tmp_path: Path) -> None:
    done = run(shuttle(tmp_path / "runs.db"), "--once", "--notify", "json://127.0.0.1:9/x")
    assert done.exit_code == 1
    assert "1 event was not delivered to json://127.0.0.1:9" in done.stderr
