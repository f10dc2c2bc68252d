"""Advice that is code: pasted, it does what is said."""

import json
from itertools import pairwise
from pathlib import Path

from benchmarks.diagnosis.stage import Agent, Turn, set_stage
from detailed_balance import Report, analyze, read_runs
from detailed_balance.analyzers import RunGuard
from detailed_balance.callbacks import ActionStates, RunGuardMiddleware, TransitionCallbackHandler

NAMES = {"RunGuard": RunGuard, "RunGuardMiddleware": RunGuardMiddleware, "read_runs": read_runs}


def record(path: Path, *middleware: RunGuardMiddleware) -> Report:
    """Record 40 runs, of which every eighth asks the same until it is stopped."""
    handler = TransitionCallbackHandler(ActionStates(), store=f"sqlite:///{path}")
    with set_stage(handler) as stage:
        agent = Agent(("search", "read"), {"middleware": middleware})
        for number in range(40):
            stuck = number % 8 == 3
            script: list[Turn] = [("search", "x")] * 99
            if not stuck:
                script = [("search", "1"), ("read", "2"), "done"]
            agent.run(stage, f"t{number}", script, limit=25)
    handler.close()
    return analyze(path)


def test_a_rule_ends_the_runs_that_it_is_said_to_end(tmp_path: Path) -> None:
    (finding,) = record(tmp_path / "before.db").findings
    assert finding.kind == "limit"
    (advice,) = (each for each in finding.advice if "from_rules" in each.code)
    assert advice.stopped == finding.affected == 5
    after = record(tmp_path / "after.db", eval(advice.code, NAMES))  # noqa: S307 - our own code
    assert after.findings == ()


def test_a_guard_is_fitted_to_a_file_that_takes_options(tmp_path: Path) -> None:
    path = tmp_path / "my runs.jsonl"
    with path.open("w") as file:
        for number in range(80):
            good = number % 3 > 0
            states = ["__start__", "draft", *(["check"] if good else []), "send", *"eee", "__end__"]
            for step, (source, target) in enumerate(pairwise(states)):
                line = {"trajectory": f"t{number}", "source": source, "target": target}
                file.write(json.dumps({**line, "at": step, "fine": good}) + "\n")
    (finding,) = analyze(path, success_field="fine", step_field="at").findings
    (advice,) = (each for each in finding.advice if "RunGuard.fit" in each.code)
    assert eval(advice.code, NAMES).guard.threshold is not None  # noqa: S307
