import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from detailed_balance.callbacks import TransitionStore
from tests.support.pages import blocks_of
from tests.support.programs import run_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STEPS = 14_000
"""Of the demo: fewer than by default, and enough to find what is driven."""


def test_the_claude_example_prints_the_published_potentials():
    rows = [line.split() for line in run_file(EXAMPLES / "claude_words.py").splitlines()[1:]]
    values = {state: float(value) for state, value, _ in rows}
    published = {"ATTITUDE": 0.0, "PERSONAL": 4.1, "PROBLEMS": 5.2}
    for state, value in published.items():
        assert values[state] == pytest.approx(value, abs=0.05)
    assert values["BUZZY"] == values["TURKEY"] == np.inf
    errors = {state: float(error) for state, _, error in rows}
    assert 0 < errors["PERSONAL"] < errors["PROBLEMS"] < 0.5


def test_the_five_lines_attach_to_an_agent_and_report_its_tools():
    text = run_file(EXAMPLES / "attach_to_agent.py")
    for state in ("search", "read", "model"):
        assert re.search(rf"\b{state}\b", text)
    assert "Traceback" not in text


def test_the_guard_saves_nearly_all_the_steps_of_a_stuck_agent():
    lines = run_file(EXAMPLES / "guard_stops_a_loop.py").splitlines()
    steps = {line.split("  ")[0]: int(line.split()[-1]) for line in lines if line[-1:].isdigit()}
    assert steps["no guard"] > 100
    assert steps["the guard"] < 20
    assert steps["same call three times"] == steps["no guard"]  # its arguments vary
    assert any("it went search -> read -> search" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["support_agent_shuttles", "supervisor_team_at_limit", "healthy_agent"]
)
def test_the_first_screens_of_the_documentation_are_what_the_examples_print(
    name, tmp_path, monkeypatch
):
    blocks = blocks_of("docs/reference/diagnosis.md")
    command = f"$ python examples/{name}.py\n"
    place = next(i for i, block in enumerate(blocks) if block.code == command)
    monkeypatch.chdir(tmp_path)
    printed_lines = run_file(EXAMPLES / f"{name}.py").splitlines()
    for shown, printed in zip_longest(blocks[place + 1].code.splitlines(), printed_lines):
        # Since when depends on when it runs.
        assert without_time(shown or "") == without_time(printed or "")


def without_time(line):
    return re.sub(r"since    .* UTC", "since", line)


def test_one_exporter_records_agents_of_three_frameworks():
    for module in ("agents", "pydantic_ai", "smolagents", "openinference.instrumentation"):
        pytest.importorskip(module, reason="the extra `frameworks` is not installed")
    # It changes the frameworks, so it needs a process of its own.
    command = [sys.executable, EXAMPLES / "record_other_frameworks.py"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    tools = ("__start__ -> search 5", "search -> read 5", "read -> search 5")
    for name, last in (
        ("openai-agents", "model"),
        ("pydantic-ai", "model"),
        ("smolagents", "final_answer"),
    ):
        walked = (*tools, f"search -> {last} 5", f"{last} -> __end__ 5")
        assert {line for line in lines if line.startswith(name)} == {
            f"{name}: {move}" for move in walked
        }
    assert lines[-1] == "{<Outcome.ENDED: 'ended'>: 15}, 0 spans dropped"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    from detailed_balance.demo import run_demo

    output = tmp_path_factory.mktemp("demo")
    seen = []
    report = run_demo(output, steps=STEPS, progress=lambda *done: seen.append(done))
    assert seen[-1] == (STEPS, STEPS)
    return output, report


def test_the_demo_records_every_step_of_every_thread(demo):
    output, report = demo
    assert report.counts.attempts.sum() == STEPS
    with TransitionStore(f"sqlite:///{output / 'transitions.db'}") as store:
        assert set(store.trajectories()) == {f"thread-{i}" for i in range(64)}
        assert store.counts().total == report.counts.total


def test_the_demo_shows_that_detailed_balance_is_broken_and_by_real_loops(demo):
    _, report = demo
    causes = report.balance.violations
    assert f"BALANCE  broken by {len(causes)} causes" in str(report.verdict)
    assert sum(1 + len(cause.explains) for cause in causes) >= 5
    with np.load(EXAMPLES / "demo" / "smollm2_chat.npz") as measured:
        exact, words = measured["logP"][0], measured["words"].tolist()
    for violation in report.balance.violations:
        loop = [words.index(word) for word in violation.loop]
        after = [*loop[1:], loop[0]]
        affinity = sum(exact[f, g] - exact[g, f] for f, g in zip(loop, after, strict=True))
        # The loop that was flagged is one that the exact kernel drives, that way round.
        assert affinity > 0.5


def test_the_demo_shows_that_one_potential_explains_most_of_the_drift(demo):
    _, report = demo
    assert report.balance.explained > 0.6
    assert report.balance.correlation > 0.8


def test_the_demo_leaves_a_report_behind(demo):
    output, report = demo
    page = (output / "report.html").read_text(encoding="utf-8")
    assert report.verdict.headline in page
    assert (output / "report.json").stat().st_size > 1_000
