"""The command line: exit codes that scripts can rely on, errors in one paragraph."""

import json
import os
import subprocess
import sys
import time
from inspect import signature
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from detailed_balance import Transition, TransitionStore
from detailed_balance.cli import _options, _output, app
from tests.support.chains import data_file

DRIVEN = [("plan", "search"), ("search", "critic"), ("critic", "plan")]


def write_trace(path: Path, moves: list[tuple[str, str, int]], **fields: str) -> Path:
    names = {"source": "source", "target": "target", "count": "count"} | fields
    keys = [names["source"], names["target"], names["count"]]
    lines = [json.dumps(dict(zip(keys, move, strict=True))) for move in moves]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def driven(tmp_path: Path) -> Path:
    moves = [(f, g, 90) for f, g in DRIVEN] + [(g, f, 10) for f, g in DRIVEN]
    return write_trace(tmp_path / "driven.jsonl", moves)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    moves = [(f, g, 100) for f, g in DRIVEN] + [(g, f, 900) for f, g in DRIVEN]
    return write_trace(tmp_path / "good.jsonl", moves)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    moves = [("__start__", "a", 20), ("a", "b", 29), ("b", "a", 9)]
    moves += [("b", "c", 900), ("c", "b", 890)]
    return write_trace(tmp_path / "trapped.jsonl", moves)


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    moves = [(f, g, 500) for f, g in DRIVEN] + [(g, f, 500) for f, g in DRIVEN]
    return write_trace(tmp_path / "calm.jsonl", moves)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_verdict_comes_first(driven: Path) -> None:
    code, output = run("analyze", driven)
    assert code == 0
    assert output.startswith("WATCH    detailed balance is broken by 1 cause, most by the loop ")
    assert "\x1b" not in output


def test_html_and_json_are_written(driven: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "out.html", tmp_path / "out.json"
    assert run("analyze", driven, "--html", page, "--json", data)[0] == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    found = json.loads(data.read_text())
    assert found["verdict"]["outcome"] == "watch"
    assert found["source"]["description"].endswith("driven.jsonl")


# Exit codes


def test_nothing_fails_unless_asked(driven: Path, trapped: Path) -> None:
    assert run("analyze", driven)[0] == 0
    assert run("analyze", trapped)[0] == 0


def test_a_violation_can_fail(driven: Path, trapped: Path, calm: Path) -> None:
    assert run("analyze", driven, "--fail-on", "violation")[0] == 2
    assert run("analyze", trapped, "--fail-on", "violation")[0] == 0
    assert run("analyze", calm, "--fail-on", "violation")[0] == 0


def test_a_kind_of_finding_can_fail(driven: Path, trapped: Path, calm: Path) -> None:
    assert run("analyze", driven, "--fail-on", "driven")[0] == 2
    assert run("analyze", trapped, "--fail-on", "driven")[0] == 0
    assert run("analyze", trapped, "--fail-on", "limit,trap")[0] == 2
    assert run("analyze", calm, "--fail-on", "driven,trap,limit,failure,repetition")[0] == 0


def test_a_problem_can_fail_and_what_is_to_be_watched_does_not(driven: Path, good: Path) -> None:
    assert run("analyze", driven, "--fail-on", "problem")[0] == 0
    assert run("analyze", driven, "--baseline", good, "--fail-on", "problem")[0] == 2


def test_a_work_flow_fails_nothing(driven: Path) -> None:
    code, output = run("analyze", driven, "--baseline", driven, "--fail-on", "violation,driven")
    assert code == 0
    assert "work-flow" in output


def test_a_trap_can_fail(driven: Path, trapped: Path) -> None:
    assert run("analyze", trapped, "--fail-on", "trap")[0] == 2
    assert run("analyze", driven, "--fail-on", "trap")[0] == 0


def test_conditions_may_be_several_or_with_commas(driven: Path, trapped: Path) -> None:
    for path in (driven, trapped):
        assert run("analyze", path, "--fail-on", "trap", "--fail-on", "violation")[0] == 2
        assert run("analyze", path, "--fail-on", "trap, violation")[0] == 2


def test_files_are_written_even_where_something_was_found(driven: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert run("analyze", driven, "--fail-on", "violation", "--html", page)[0] == 2
    assert page.exists()


# Wrong use: exit code 1, never 2, and one paragraph


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--fail-on", "loops"],
            "unknown 'loops'; allowed are problem, violation, loss, limit, failure",
        ),
        (["--fail-on", ""], "allowed are problem, violation, loss, limit, failure"),
        (["--attempts", "few"], "'few' is none of: observed, transitions, a number"),
        (["--attempts", "-3"], "attempts are finite and positive"),
        (["--context", "model"], "'model' is not NAME=VALUE"),
        (["--context", "model=x"], "no transition carries model=x"),
        (["--violation", "square"], "exponential"),
        (["--errors", "none"], "multinomial"),
        (["--alpha", "2"], "alpha=2.0; a level lies between 0 and 1"),
        (["--beta", "0"], "beta=0.0; beta is a finite positive number"),
        (["--min-visits", "1"], "a trap is visited more than once"),
        (["--format", "xml"], "format must be one of"),
        (["--source-field", "from"], "there is no field 'from'; the fields are 'source', 'target'"),
        (["--count-field", "n"], "there is no field 'n'"),
        (["--start-state", "a", "--end-state", "a"], "two different names"),
        (["--baseline", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["--html", "no/such/folder/x.html"], "No such file or directory"),
        (["--json", "no/such/folder/x.json"], "No such file or directory"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_a_wrong_option_is_one_clean_error(driven: Path, options: list[str], message: str) -> None:
    code, output = run("analyze", driven, *options)
    assert code == 1
    said = " ".join(Text.from_ansi(output).plain.replace("│", " ").split())
    assert message in said
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", "", "is empty: it holds no transitions"),
        ("broken.jsonl", '{"source": "a", "target": "b"}\n{oops\n', "line 2: invalid JSON"),
        ("columns.csv", "from,to\na,b\n", "--source-field"),
        ("escapes.csv", "source,target\na,\na,\n", "only 2 attempts that reached no state"),
        ("trace.parquet", "PAR1", "cannot be read as Parquet"),
        ("trace.xyz", "?", "shows a format"),
        ("runs.db", "no store", "runs.db"),
        ("noise.db", "\x01,\x02\n,", "not a database"),
    ],
)
def test_a_trace_that_cannot_be_used_is_one_clean_error(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    code, output = run("analyze", path)
    assert code == 1
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert message in output


def test_missing_arguments_are_no_finding() -> None:
    assert run("analyze")[0] == 1
    assert run("no-such-command")[0] == 1
    assert run("analyze", "nowhere.jsonl") == (1, "error: there is no file nowhere.jsonl\n")
    assert run("analyze", "redis://host")[0] == 1


def test_an_error_shows_hostile_keys_as_text(tmp_path: Path) -> None:
    hostile = "\x1b[31m\u202e" + "x" * 10_000
    path = write_trace(tmp_path / "trace.jsonl", [(hostile, hostile, 3)])
    code, output = run("analyze", path)
    assert code == 0
    assert output.startswith("UNKNOWN")
    assert output.replace("\n", "").isprintable()
    assert max(map(len, output.splitlines())) < 2_100


# Reading


def test_fields_boundaries_and_labels_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = ["begin,plan,9,x", "plan,search,50,x", "search,plan,41,x", "plan,done,9,x", "a,b,7,y"]
    path.write_text("from,to,n,model\n" + "\n".join(rows))
    options = "--source-field from --target-field to --count-field n --context-field model"
    ends = "--start-state begin --end-state done --context model=x"
    code, output = run("analyze", path, *options.split(), *ends.split())
    assert code == 0
    assert "labels       model=x" in output
    assert "runs         9" in output
    assert (
        "transitions  91, of them 0 from a state to itself; 18 more from START and to END" in output
    )
    assert "begin" not in output


READERS = ["analyze", "compare", "export", "import", "serve", "watch"]


@pytest.mark.parametrize("command", READERS)
def test_every_command_that_reads_a_trace_takes_the_same_options(command: str) -> None:
    options = {option for each in get_command(app).commands[command].params for option in each.opts}
    names = [*signature(_options.reader_options).parameters]
    assert len(names) > 10
    if command in READERS[:3]:
        names += signature(_options.selection_options).parameters
    assert {f"--{name.replace('_', '-')}" for name in names} <= options


@pytest.fixture
def runs_file(tmp_path: Path) -> Path:
    """Runs of two tools and a hub between them: one a day, up to now."""
    rows = ["run,step,time,tool,model"]
    for number in range(12):
        path = ["web_1", "hub", "web_2", "hub", "docs", "hub", "web_1"]
        began = time.time() - 3_600 - 86_400 * number
        rows += [
            f"run {number},{step},{began + step},{tool},{'x' if number % 2 else 'y'}"
            for step, tool in enumerate(path)
        ]
    file = tmp_path / "runs.csv"
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


STEPS = ["--state-field", "tool", "--trajectory-field", "run", "--context-field", "model"]


def test_runs_are_chosen_by_time_and_label(runs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    for options, runs in [
        ([], 12),
        (["--last", "5d"], 5),
        (["--last", "36h", "--context", "model=y"], 1),
        (["--since", "2000-01-01", "--until", "2100-01-01"], 12),
    ]:
        code, output = run("analyze", runs_file, *STEPS, *options, "--json", out)
        assert code == 0, output
        assert json.loads(out.read_text())["source"]["trajectories"] == runs
    code, output = run("analyze", runs_file, *STEPS, "--last", "5m")
    assert code == 1
    assert "the newest began 20" in output
    code, output = run("analyze", runs_file, *STEPS, "--last", "5 days")
    assert (code, "write 90s, 30m, 12h, 7d or 2w" in output) == (1, True)


def test_states_are_hidden_and_merged(runs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "counts.csv"
    chosen = ["--hide", "hub", "--merge", "web_*=web", "--merge", "web_2=second"]
    code, output = run("export", runs_file, out, "--what", "counts", *STEPS, *chosen)
    assert code == 0, output
    assert out.read_text().split() == [
        "source,target,count",
        "__start__,web,12",
        "docs,web,12",
        "second,docs,12",
        "web,__end__,12",
        "web,second,12",
    ]
    code, output = run("analyze", runs_file, *STEPS, "--merge", "web")
    assert (code, "'web' is not OLD=NEW" in output) == (1, True)


def test_the_standard_input_is_a_trace(driven: Path) -> None:
    given = CliRunner().invoke(app, ["analyze", "-"], input=driven.read_bytes())
    assert given.exit_code == 0, given.output
    assert "source       standard input" in given.output
    wrong = CliRunner().invoke(app, ["analyze", "-"], input=b"a,b\n1,2\n")
    assert wrong.exit_code == 1
    assert "error: standard input: there is no field 'source'" in wrong.output
    assert given.output.startswith(
        "WATCH    detailed balance is broken by 1 cause, most by the loop "
    )


def test_where_all_is_skipped_the_error_says_what_was_wrong(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("run,step,tool\nA,1,a\nA,2\nA,x,b\n")
    fields = ("--state-field", "tool", "--trajectory-field", "run", "--order-field", "step")
    code, output = run("analyze", path, *fields, "--skip-bad-lines")
    assert code == 1
    assert "2 records skipped, the first at line 3: 2 fields, where the header has 3" in output


def test_bad_lines_are_skipped_only_when_asked(driven: Path) -> None:
    driven.write_text(driven.read_text() + "{oops\n")
    assert run("analyze", driven)[0] == 1
    code, output = run("analyze", driven, "--skip-bad-lines")
    assert code == 0
    assert "1 broken line: line 7, invalid JSON" in output


def test_a_store_is_read_by_file_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Transition(f, g, "r", count=90) for f, g in DRIVEN)
        store.append(Transition(g, f, "r", count=10) for f, g in DRIVEN)
    for source in (path, f"sqlite:///{path}"):
        code, output = run("analyze", source, "--fail-on", "violation")
        assert code == 2
        assert "affinity 6.59 ± 0.58 nats" in " ".join(output.split())


def test_settings_reach_the_analysis(driven: Path) -> None:
    options = "--alpha 0.01 --violation softplus --beta 2 --attempts 400 --min-attempts 3"
    code, output = run("analyze", driven, *options.split(), "--errors", "paper", "--min-visits", 5)
    shown = " ".join(output.split())
    assert code == 0
    assert "alpha: 0.01" in shown
    assert "Softplus, β = 2" in shown
    assert "400 from each state (states with fewer than 3" in shown
    assert "errors: paper" in shown
    assert "5 visits or more" in shown


def test_real_airline_runs_are_read_to_the_last_transition() -> None:
    path = data_file("tau2_airline", "gpt-4o.jsonl.gz")
    code, output = run("analyze", path, "--start-state", "start", "--end-state", "end")
    assert code == 0
    assert "runs         50" in output
    assert "get_reservation_details" in output


# As a program


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from detailed_balance.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
    )


def test_the_program_keeps_its_errors_to_stderr_and_writes_escapes_without_unicode(
    driven: Path,
) -> None:
    done = program("analyze", driven, "--fail-on", "violation", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stdout.startswith("WATCH    detailed balance is broken")
    assert "6.59 \\xb1 0.58" in done.stdout
    assert done.stderr == ""
    done = program("completion", "csh")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_stops_early_does_no_harm(driven: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    code = "from detailed_balance.cli import main; main()"
    command = [sys.executable, "-c", code, "analyze", driven, "--html", page]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.exists()


def test_it_says_its_version() -> None:
    code, output = run("--version")
    assert code == 0
    assert output.startswith("detailed-balance ")


@pytest.mark.parametrize(("wait", "seen"), [(0.0, True), (60.0, False)])
def test_progress_shows_itself_only_after_a_while(
    monkeypatch: pytest.MonkeyPatch, wait: float, seen: bool
) -> None:
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, force_interactive=True, width=80)
    monkeypatch.setattr(_output, "Console", lambda **_: terminal)
    monkeypatch.setattr(_output, "_SECONDS_WITHOUT_BAR", wait)
    with _output.late_progress() as report:
        assert report is not None
        report("Reading", 5, 10)
        report("Testing loops", 0, 0)
        until = time.monotonic() + 10
        while seen and "Testing loops" not in screen.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
    assert ("Testing loops" in screen.getvalue()) == seen


def test_ctrl_c_ends_with_one_line(
    driven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    kept = tmp_path / "report.json"
    kept.write_text("of an earlier run")
    monkeypatch.setattr("detailed_balance.diagnosis.measure.find_traps", interrupt)
    code, output = run("analyze", driven, "--json", kept)
    assert code == 130
    assert output.strip() == "interrupted"
    assert kept.read_text() == "of an earlier run"


def test_no_progress_is_shown_where_nobody_looks() -> None:
    with _output.late_progress() as report:
        assert report is None


def test_the_demo_opens_its_report_when_asked(
    tmp_path: Path, driven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import detailed_balance.demo

    def run_demo(output: Path, **settings: object) -> object:
        assert settings["steps"] == 100
        assert settings["threads"] == 4
        return detailed_balance.analyze(driven)

    opened: list[str] = []
    monkeypatch.setattr(detailed_balance.demo, "run_demo", run_demo)
    monkeypatch.setattr(typer, "launch", opened.append)
    sizes = ["--steps", 100, "--threads", 4]
    assert run("demo", "--output", tmp_path, *sizes)[0] == 0
    assert opened == []
    assert run("demo", "--output", tmp_path, *sizes, "--open")[0] == 0
    assert opened == [str(tmp_path / "report.html")]
    assert run("demo", "--steps", 0)[0] == 1


def test_the_correction_can_be_chosen(driven: Path) -> None:
    assert "Benjamini and Hochberg" in " ".join(run("analyze", driven)[1].split())
    chosen = run("analyze", driven, "--correction", "by")[1]
    assert "Benjamini and Yekutieli" in " ".join(chosen.split())
    assert run("analyze", driven, "--correction", "holm")[0] == 1


def test_json_is_printed_where_its_path_is_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "moves.csv"
    path.write_text("trajectory,source,target\n" + "t1,a,b\nt1,b,c\nt1,c,a\n" * 9)
    for command in (["analyze", str(path)], ["compare", str(path), str(path)]):
        printed = CliRunner().invoke(app, [*command, "--json", "-"])
        assert json.loads(printed.stdout)["version"], printed.output
    assert list(tmp_path.iterdir()) == [path]
