"""Habits that every command of the command line has; each command is asked for each of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from detailed_balance import TransitionStore
from detailed_balance.cli import _options, app
from detailed_balance.sources.imports import import_trace
from tests.support import spans

COMMANDS = get_command(app).commands
OF_SOURCES = ["analyze", "show", "compare", "export", "guard", "import", "serve", "watch"]
CHOOSE_RUNS = ["analyze", "show", "compare", "export", "guard"]
FOLLOW = ["serve", "watch"]
LONG = "customer-7f3b9a52-4d1e-4c7a-9b58-0a1b2c3d4e5f"


def run(*arguments: object, **given: str | bytes) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)), **given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def write_runs(path: Path) -> Path:
    """Write 30 runs, 10 of which go round; the first has a long id."""
    rows = ["run,step,tool,ok,model"]
    for number in range(30):
        stuck = number % 3 == 0
        states = ["plan", *(["search", "read"] * (8 if stuck else 1)), "answer"]
        name = f"{number}-{LONG}"
        rows += [
            f"{name},{step},{s},{int(not stuck)},{'xy'[number % 2]}"
            for step, s in enumerate(states)
        ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


FIELDS = ["--state-field", "tool", "--trajectory-field", "run", "--success-field", "ok"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs.csv")


@pytest.fixture
def store(tmp_path: Path, runs: Path) -> Path:
    path = tmp_path / "runs.db"
    fields = {"state_field": "tool", "trajectory_field": "run", "success_field": "ok"}
    import_trace(runs, path, **fields)
    return path


def options_of(command: str) -> dict[str, typer.models.OptionInfo]:
    return {option: each for each in COMMANDS[command].params for option in each.opts}


# The same options for the same thing


def test_every_command_is_known_here() -> None:
    others = {"completion", "demo", "judge", "prune", "record"}
    assert set(COMMANDS) == {*OF_SOURCES, *others}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_quiet(command: str) -> None:
    assert {"--quiet", "-q", "--help"} <= {*options_of(command), "--help"}


@pytest.mark.parametrize("command", OF_SOURCES)
def test_every_command_with_a_source_reads_it_by_the_same_options(command: str) -> None:
    names = {*signature(_options.reader_options).parameters, "config", "no_config"}
    if command in CHOOSE_RUNS:
        names |= {*signature(_options.selection_options).parameters}
    if command in FOLLOW:
        names |= {*signature(_options.selection_options).parameters} - {"until"}
        assert "--until" not in options_of(command)  # what grows has no end
    assert {f"--{name.replace('_', '-')}" for name in names} <= {*options_of(command)}


def test_an_option_says_the_same_on_every_command() -> None:
    own = {"--alpha", "--context", "--fail-on", "--window", "--every"}  # each says its own
    said: dict[str, set[str]] = {}
    for command in COMMANDS:
        for name, option in options_of(command).items():
            said.setdefault(name, set()).add(str(getattr(option, "help", "")))
    differ = {name for name, helps in said.items() if len(helps) > 1}
    assert {name for name in differ if name.startswith("--")} <= own


def test_help_is_there_for_all_that_can_be_given() -> None:
    for command in COMMANDS.values():
        assert command.help
        assert all(each.help or each.name == "help" for each in command.params), command.name


def test_what_is_followed_is_chosen_as_what_is_finished(store: Path) -> None:
    merged = ["--merge", "read=search", "--hide", "plan", "--hide", "search"]
    code, output, error = run("watch", store, "--once", *merged)
    assert (code in (0, 2), error) == (True, "")
    # START to answer and answer to END of 30 runs: all that is left of them.
    assert "; 60 transitions, 3 states;" in output
    code, output, error = run("watch", store, "--once", "--context", "model=x")
    assert (code, "no state" in output) == (0, False)
    code, output, error = run("watch", store, "--once", "--hide", "plam")
    assert "; no state plam to hide so far" in output
    # The runs of this store have no times, and that is no silence.
    code, output, error = run("watch", store, "--once", "--last", "1h")
    assert code == 2
    assert "without a time, so that no run is known to begin in the time asked for" in output


def test_a_saved_state_of_a_monitor_goes_with_the_states_it_was_saved_with(
    store: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "state.json"
    for wanted in (["--hide", "plan"], ["--last", "1d"], ["--since", "2025-01-01"]):
        code, _, error = run("watch", store, "--once", "--state", saved, *wanted)
        assert (code, "leave out one of them" in error) == (1, True)
    assert not saved.exists()
    merge = ["--merge", "read=search"]
    for _ in range(2):
        _, _, error = run("watch", store, "--once", "--state", saved, *merge)
        assert error == ""
    code, _, error = run("watch", store, "--once", "--state", saved)
    assert code == 1
    assert "its merge is [['read', 'search']], and not None" in error


def test_a_state_function_is_named_where_a_trace_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = [spans.model(), spans.tool("search"), spans.model()]
    trace = tmp_path / "spans.json"
    trace.write_text(json.dumps(spans.document(spans.agent(*inside))), encoding="utf-8")
    counts = ["export", trace, "-", "--what", "counts", "--to", "csv"]
    walks = {name: run(*counts, "--states", name)[1] for name in ("tools", "actions")}
    assert "search,__end__,1" in walks["tools"]
    assert "search,__end__,1" not in walks["actions"]
    code, _, error = run(*counts, "--states", "tool")
    assert (code, "there is no state function 'tool'; is it tools? " in error) == (1, True)

    rows = tmp_path / "runs.csv"
    rows.write_text("run,step,tool\nr,1,a\nr,2,b\n", encoding="utf-8")
    (tmp_path / "my_states.py").write_text("def upper(row): return row['tool'].upper()\n")
    counts = ["export", rows, "-", "--what", "counts", "--to", "csv", *FIELDS[2:4]]
    assert "A,B,1" in run(*counts, "--states", "my_states:upper")[1]
    code, _, error = run(*counts, "--states", "my_states:lower")
    assert code == 1
    assert "AttributeError: module 'my_states' has no attribute 'lower'" in error
    code, _, error = run(*counts, "--states", "nodes")
    assert code == 1
    assert "NodeStates names the runs of nodes, in spans, and this is a record of another" in error


# Exit codes


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_use_is_one_line_and_code_1(command: str) -> None:
    code, output, error = run(command, "--no-such-option")
    assert (code, output) == (1, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [name for name in OF_SOURCES if name not in FOLLOW])
def test_a_file_that_is_not_there_is_named(command: str, tmp_path: Path) -> None:
    more = {"show": ["r"], "export": ["o.json"], "import": [tmp_path / "o.db"]}
    more |= {"compare": ["nowhere.csv", "--since-a", "2020-01-01"]}
    code, output, error = run(command, "nowhere.csv", *more.get(command, []))
    assert (code, output) == (1, "")
    assert "nowhere.csv" in error


# Files and -


def outputs(runs: Path) -> Iterator[list[object]]:
    """Yield each command that prints a file where the file is called -."""
    run = f"0-{LONG}"
    for option in ("--json", "--html", "--junit"):
        yield ["analyze", runs, *FIELDS, option, "-"]
    yield ["compare", runs, runs, *FIELDS, "--replicates", 19, "--json", "-"]
    yield ["show", runs, run, *FIELDS, "--json", "-"]
    yield ["guard", runs, *FIELDS, "--json", "-"]
    yield ["guard", runs, *FIELDS, "--save", "-"]
    yield ["export", runs, "-", "--to", "json", *FIELDS]
    yield ["export", runs, "-", "--to", "csv", "--what", "counts", *FIELDS]


def test_a_file_called_dash_is_printed_alone_and_quiet_does_not_hide_it(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in outputs(runs):
        code, output, error = run(*command, "--quiet")
        assert (code, error) == (0, ""), command
        if "--html" in command:
            assert output.startswith("<!DOCTYPE html>")
        elif "--junit" in command:
            assert output.startswith("<?xml")
        elif "csv" in command:
            assert output.splitlines()[0] == "source,target,count"
        else:
            assert json.loads(output), command
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_two_files_cannot_both_be_printed(runs: Path) -> None:
    code, output, error = run("analyze", runs, *FIELDS, "--json", "-", "--html", "-")
    assert (code, output) == (1, "")
    assert "--json and --html are both -" in error
    code, _, error = run("export", runs, "-", *FIELDS)
    assert (code, "say its format with --to" in error) == (1, True)


def test_the_standard_input_is_a_source_of_every_command_that_reads_to_an_end(
    runs: Path, tmp_path: Path
) -> None:
    text, target = runs.read_bytes(), tmp_path / "new.db"
    for command in (
        ["analyze", "-", "--runs", 0],
        ["show", "-", f"3-{LONG}"],
        ["compare", "-", runs, "--replicates", 19],
        ["compare", runs, "-", "--replicates", 19],
        ["analyze", runs, "--baseline", "-"],
        ["export", "-", "-", "--to", "csv", "--what", "counts"],
        ["guard", "-"],
        ["import", "-", target],
    ):
        code, output, error = run(*command, *FIELDS, input=text)
        assert (code, error) == (0, ""), command
        assert output
    with TransitionStore(f"sqlite:///{target}") as store:
        assert len(store) == 20 * 5 + 10 * 19
    code, _, error = run("import", runs, "-", *FIELDS)
    assert (code, "is no store" in error) == (1, True)
    for command in FOLLOW:
        code, _, error = run(command, "-", input=text)
        assert (code, "is no store" in error) == (1, True), error


# What is printed


def test_quiet_prints_nothing(runs: Path, store: Path, tmp_path: Path) -> None:
    for command in (
        ["analyze", runs, *FIELDS],
        ["show", runs, f"3-{LONG}", *FIELDS],
        ["compare", runs, runs, *FIELDS, "--replicates", 19],
        ["export", runs, tmp_path / "out.json", *FIELDS],
        ["guard", runs, *FIELDS],
        ["import", runs, tmp_path / "new.db", *FIELDS],
        ["prune", store, "--older-than", "1d"],
        ["watch", store, "--once"],
    ):
        code, output, error = run(*command, "--quiet")
        assert (code in (0, 2), output, error) == (True, "", ""), command
    assert run("analyze", "nowhere.csv", "--quiet")[2] == "error: there is no file nowhere.csv\n"


def test_lines_are_whole_and_plain_where_the_output_is_no_terminal(runs: Path, store: Path) -> None:
    for command in (
        ["analyze", runs, *FIELDS],
        ["show", runs, f"3-{LONG}", *FIELDS],
        ["guard", runs, *FIELDS],
        ["watch", store, "--once"],
    ):
        _, output, _ = run(*command, env={"COLUMNS": "40"})
        assert f"-{LONG}" in output, command  # in one line, to its last sign
        assert "\x1b" not in output
        assert "…" not in output


def test_colour_is_left_out_where_no_color_is_set(runs: Path) -> None:
    colours = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    assert "\x1b[1" in run("analyze", runs, *FIELDS, env=colours)[1]
    plain = run("analyze", runs, *FIELDS, env=colours | {"NO_COLOR": "1"})[1]
    assert not [code for code in ("\x1b[3", "\x1b[9") if code in plain]


def test_a_terminal_that_is_narrow_keeps_the_ids_of_runs_whole(runs: Path) -> None:
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1"}
    for command in (["analyze", runs, *FIELDS], ["show", runs, f"3-{LONG}", *FIELDS]):
        assert f"-{LONG}" in run(*command, env=terminal)[1], command


@pytest.mark.parametrize(
    "arguments",
    [["export", "{runs}", "-", "--what", "counts", "--to", "csv"], ["analyze", "--help"]],
)
def test_a_pipe_that_is_closed_early_ends_it_quietly(runs: Path, arguments: list[str]) -> None:
    code = "from detailed_balance.cli import main; main()"
    given = [each.format(runs=runs) for each in arguments]
    command = [sys.executable, "-c", code, *given, *(FIELDS if str(runs) in given else [])]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell: str) -> None:
    code, script, _ = run("completion", shell)
    assert code == 0
    assert "_DETAILED_BALANCE_COMPLETE" in script
    assert run("completion", "csh")[0] == 1
