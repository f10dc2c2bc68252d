"""A whole process recorded by a variable, or by the command that starts it."""

import os
import subprocess
import sys

import pytest

from detailed_balance import TransitionStore, read_runs
from detailed_balance.cli._record import make_environment

AGENT = """
import threading
from langgraph.graph import StateGraph
agent = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()
agent.invoke({})
thread = threading.Thread(target=agent.invoke, args=({},))
thread.start()
thread.join()
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "runs.db"


def python(code, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETAILED_BALANCE")}
    command = [sys.executable, "-c", code]
    environment |= {name: str(value) for name, value in variables.items()}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def states_in(place):
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        return [run.states for run in read_runs(store)]


FORK = """
import os
from detailed_balance.callbacks.recorder.record import ProcessRecorder
print(ProcessRecorder().graph.snapshot().total, ProcessRecorder() is ProcessRecorder())
child = os.fork()
agent.invoke({})
if child:
    os.waitpid(child, 0)
else:
    ProcessRecorder().flush()
    os._exit(0)
"""


def test_variable_records_every_thread_and_every_fork_in_one_recorder_with_its_labels(place):
    labels = {"DETAILED_BALANCE_CONTEXT": "version=2, team=search"}
    code = f"import detailed_balance{AGENT}{FORK}"
    done = python(code, DETAILED_BALANCE_STORE=place, **labels)
    assert done.stdout.split()[:2] == ["4", "True"]
    assert states_in(place) == 4 * [("a",)]
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        assert store.contexts() == ((("team", "search"), ("version", "2")),)


LOOP = """
import asyncio
import sqlite3

import detailed_balance
from langgraph.graph import StateGraph

connect = sqlite3.connect


def refuse(*given, **named):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return connect(*given, **named)
    raise RuntimeError("an event loop waits for a file")


sqlite3.connect = sqlite3.dbapi2.connect = refuse
agent = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()


async def main():
    for _ in range(3):
        await agent.ainvoke({})


asyncio.run(main())
"""


def test_an_event_loop_does_not_wait_for_the_store_and_loses_nothing(place):
    labels = {"DETAILED_BALANCE_CONTEXT": '{"team": "red, blue=2"}'}  # as JSON it has any value
    assert python(LOOP, DETAILED_BALANCE_STORE=place, **labels).stderr == ""
    assert states_in(place) == 3 * [("a",)]
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        assert (("team", "red, blue=2"),) in store.contexts()


def test_nothing_is_recorded_without_the_variable(place):
    code = f"import detailed_balance, sys; print('langgraph' in sys.modules){AGENT}"
    assert python(code).stdout.strip() == "False"
    assert not place.exists()


def test_store_that_cannot_be_opened_is_said_once_and_hurts_nobody(tmp_path):
    nowhere = tmp_path / "no" / "such" / "folder" / "runs.db"
    done = python(f"import detailed_balance{AGENT}", DETAILED_BALANCE_STORE=nowhere)
    assert done.stderr.count("nothing is stored") == 1


OWN = {
    "a good one": ("print('mine')", "mine\n", ""),
    "a broken one": ("import no_such_module_at_all", "", "no_such_module_at_all"),
}


@pytest.mark.parametrize("own", OWN)
def test_sitecustomize_of_the_program_runs_as_it_would(place, tmp_path, own):
    text, printed, complaint = OWN[own]
    (tmp_path / "sitecustomize.py").write_text(text)
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    before = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment = make_environment(str(place), environment=before)
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == printed
    assert complaint in done.stderr if complaint else done.stderr == ""
    assert states_in(place) == [("a",), ("a",)]
