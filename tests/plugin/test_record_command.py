"""``detailed-balance record``: the program keeps its signals and exit code, and is asked before."""

import os
import shlex
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detailed_balance import TransitionStore, read_runs
from detailed_balance.callbacks import Transition
from detailed_balance.cli import _record, app
from detailed_balance.cli._probe import explain_silence
from detailed_balance.cli._record import make_environment

RECORD = [sys.executable, "-c", "from detailed_balance.cli import main; main()", "record"]

AGENT = """
from langgraph.graph import StateGraph
agent = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()
agent.invoke({})
"""

ANY_AGENT = """
from langchain_core.runnables import RunnableLambda
RunnableLambda(lambda given: print("done")).invoke({})
"""

CLEANS_UP = """
import os, sys, time
try:
    open("ready.tmp", "w").write(str(os.getpid()))
    os.replace("ready.tmp", "ready")
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    while not os.path.exists("go"):
        time.sleep(0.01)
    open("clean", "w").close()
    sys.exit(7)
"""

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither exec nor these signals")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Give the command in this process, which does not become the program but starts it."""

    def run(*arguments):
        started = []
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(_record, "become", lambda *given: started.append(given))
        done = CliRunner().invoke(app, ["record", *arguments, "--", sys.executable, "agent.py"])
        ((command, environment),) = started
        assert (done.exit_code, done.stdout) == (0, "")
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout, done.stderr + ran.stderr

    return run


def states_in(place):
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        return [run.states for run in read_runs(store)]


def wait_for(path, limit=120.0):
    end = time.monotonic() + limit
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.01)
    return path.read_text()


def start(folder, code, *options):
    """Start a program under the command, in a group of its own, and wait until it runs."""
    (folder / "program.py").write_text(code)
    command = [*RECORD, *options, "runs.db", "--", sys.executable, "program.py"]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    return process, int(wait_for(folder / "ready"))


def test_command_records_a_program_that_knows_nothing_of_it(place, tmp_path):
    program = tmp_path / "agent.py"
    program.write_text(AGENT + "raise SystemExit(3)\n")
    options = ["--context", "team=red, blue=2"]
    done = subprocess.run([*RECORD, *options, str(place), sys.executable, "-u", program])
    assert done.returncode == 3
    assert states_in(place) == [("a",)]
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        assert dict(store.contexts()[0])["team"] == "red, blue=2"


STEPS_BY_HAND = """
def name_node(run):
    return f"node {run.name}"
"""


@pytest.mark.parametrize(
    ("given", "walk"),
    [
        (["--states", "nodes"], ("a",)),
        (["--states", "tools"], ()),
        (["--states", "mine:name_node"], ("node a",)),
        (["--states", "agent:name_here"], ("here a",)),  # of the program itself
    ],
)
def test_the_state_function_can_be_named(record, place, tmp_path, given, walk):
    (tmp_path / "mine.py").write_text(STEPS_BY_HAND)
    own = "name_here = lambda run: f'here {run.name}'\n"
    (tmp_path / "agent.py").write_text(own + AGENT)
    assert record("--no-config", *given, "runs.db") == (0, "", "")
    assert states_in(place) == [walk]


def test_the_state_function_may_stand_in_a_file_of_settings_or_in_a_variable(
    record, place, tmp_path, monkeypatch
):
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "mine.py").write_text(STEPS_BY_HAND)
    settings = "states = 'tools'\nhide = ['a']\ncontext = { model = 'x' }\n"
    (tmp_path / "detailed-balance.toml").write_text(settings)
    code, _, said = record("runs.db")
    assert code == 0
    assert said.endswith("detailed-balance.toml: states (--no-config uses none)\n")
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        assert "model" not in dict(store.contexts()[0])  # what is read is no label of what is done
    monkeypatch.setenv("DETAILED_BALANCE_STATES", "mine:name_node")
    assert record("runs.db")[0] == 0
    assert states_in(place) == [(), ("node a",)]


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        ("", "mine:name_node", "AttributeError: module 'mine' has no attribute 'name_node'"),
        ("1 / 0", "mine:name_node", "ZeroDivisionError: division by zero"),
        ("", "nowhere:name_node", "ModuleNotFoundError: No module named 'nowhere'"),
        ("name_node = 3", "mine:name_node", "is not callable; it takes a NodeRun"),
        ("class name_node: pass", "mine:name_node", "is a class; name an instance of it"),
    ],
)
def test_a_state_function_that_cannot_be_loaded_is_one_line_and_harms_no_agent(
    record, place, tmp_path, code, name, reason
):
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "agent.py").write_text(ANY_AGENT)
    returned, printed, said = record("--no-config", "--states", name, "runs.db")
    assert (returned, printed) == (0, "done\n")
    assert said.count("\n") == 1
    assert "DETAILED_BALANCE_STATES: nothing is stored: " in said
    assert reason in said
    assert not place.exists()


def test_an_option_behind_the_store_is_told_where_it_stands(place):
    done = CliRunner().invoke(app, ["record", str(place), "--states", "tools", "--", "python"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'--states' is no program; options of record come before the store" in done.stderr


def test_a_name_that_is_none_is_refused_before_anything_is_started(place):
    for name in ("tool", "mine:", "a b:c", "my-agent:name"):
        done = CliRunner().invoke(app, ["record", "--states", name, str(place), "--", "python"])
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"there is no state function {name!r}; " in done.stderr
    assert "allowed are actions, nodes, tools, nodes+tools, and module:function" in done.stderr


@posix
def test_program_that_cleans_up_on_ctrl_c_ends_as_it_wants(tmp_path):
    process, _ = start(tmp_path, CLEANS_UP)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # the command does not end before the program
    (tmp_path / "go").touch()
    assert process.wait(120) == 7
    assert (tmp_path / "clean").exists()


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_signal_to_the_command_reaches_the_program_and_leaves_no_orphan(tmp_path, name):
    process, program = start(tmp_path, CLEANS_UP)
    os.kill(process.pid, getattr(signal, name))
    assert process.wait(120) == -getattr(signal, name)
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)


@posix
def test_broken_pipe_ends_a_program_as_it_would_without_the_command(tmp_path):
    command = [*RECORD, "runs.db", "--", "sh", "-c", "kill -PIPE $$; exit 5"]
    assert subprocess.run(command, cwd=tmp_path).returncode == -signal.SIGPIPE


def test_program_that_goes_elsewhere_records_into_the_file_that_was_meant(record, place, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "agent.py").write_text(f"import os; os.chdir('else'){AGENT}")
    assert record("runs.db")[0] == 0
    assert states_in(place) == [("a",)]


@pytest.mark.parametrize("store", ["sqlite:///runs.db", "sqlite:///file:runs.db?uri=true"])
def test_url_of_a_file_names_the_file_that_was_meant_from_everywhere(
    place, tmp_path, monkeypatch, store
):
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path)
    url = make_environment(store)["DETAILED_BALANCE_STORE"]
    monkeypatch.chdir("else")
    with TransitionStore(url) as opened:
        opened.append([Transition("a", "b", "T")])
    assert states_in(place) == [("a", "b")]


@pytest.mark.parametrize(
    "options", [["-I"], ["-S"], ["-E"], ["-uE"], ["-W", "error", "-I"], ["-Ic"]]
)
def test_python_that_is_closed_to_us_is_refused_before_it_starts(place, options, monkeypatch):
    started = []
    monkeypatch.setattr(_record, "become", lambda *given: started.append(given))
    code = ["-c"] if options != ["-Ic"] else []
    command = ["record", str(place), "--", sys.executable, *options, *code, "print('started')"]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, started) == (1, [])
    given = shlex.join(option.removesuffix("c") for option in options)
    said = " ".join(done.stderr.split())
    assert f"was given {given}:" in said
    assert "leave that out" in said


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    venv.create(folder, symlinks=os.name != "nt", with_pip=False)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def shebang(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return [str(path)]


FOREIGN = {
    "by itself": lambda python, folder: [str(python), "agent.py"],
    "a script": lambda python, folder: shebang(folder / "tool", f"#!{python}", "print()"),
    "a script with a long name": lambda python, folder: shebang(
        folder / "tool", "#!/bin/sh", f"'''exec' {python} \"$0\" \"$@\"", "' '''"
    ),
    "by env": lambda python, folder: ["env", "A=1", str(python), "agent.py"],
}


@posix
@pytest.mark.parametrize("how", FOREIGN)
def test_foreign_python_that_lacks_the_library_is_refused(place, foreign, tmp_path, how):
    environment = make_environment(str(place), environment={"PATH": os.environ["PATH"]})
    reason = explain_silence(FOREIGN[how](foreign, tmp_path), environment)
    assert reason.startswith(f"{foreign} has no detailed_balance")
    assert f"{foreign} -m pip install detailed-balance" in reason


def test_python_without_the_driver_of_the_store_is_refused(place):
    environment = make_environment(str(place))
    reason = explain_silence([sys.executable, "agent.py"], environment, "no_such_driver")
    assert f"{sys.executable} has no no_such_driver" in reason


@pytest.mark.parametrize(
    "command",
    [
        ["sleep", "1"],
        [sys.executable, "--version"],
        [sys.executable, "-V"],
        [sys.executable, "a.py"],
    ],
)
def test_nothing_is_said_of_what_records_or_cannot_be_known(place, command):
    assert explain_silence(command, make_environment(str(place))) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs.db", "no-such-program-at-all"], "there is no program 'no-such-program-at-all'"),
        (["runs.db", "--"], "which program?"),
        (["--context", "x", "runs.db", "python"], "is not NAME=VALUE"),
        (["--context", "=x", "runs.db", "python"], "is not NAME=VALUE"),
        (["mysql://host/runs", "python"], "'mysql' is not a database"),
        (["no/such/folder/runs.db", "python"], "there is no folder"),
    ],
)
def test_wrong_use_is_one_clean_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["record", *arguments])
    assert result.exit_code == 1
    assert message in result.output.replace("\n", " ")
    assert not list(Path().iterdir())
