"""Small traces of real formats that are kept beside the checkout, each with its answer."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from detailed_balance import read_runs
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from tests.support.chains import data_file

TRACES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "traces"
ANSWERS = TRACES / "answers.jsonl"
LINES = ANSWERS.read_text(encoding="utf-8").splitlines() if ANSWERS.is_file() else []
CASES = {answer["file"]: answer for answer in map(json.loads, LINES)}
OPTIONS = {
    "agentdojo.json": {"success_field": "utility"},
    "table_of_steps.json": {
        "state_field": "state",
        "trajectory_field": "run",
        "step_field": "step",
    },
}
MOVE = re.compile(r"([\w.]+)>([\w.]+) (\d+)")
# Answers that allow more than one reading, or say it in words.
FLAT = "__start__>search 1, search>model 1, model>__end__ 1"
SAID_OTHERWISE = {
    "mini_swe_agent.traj.json": ["__start__>ls 1, ls>cat 1, cat>__end__ 1"],
    "phoenix_spans.json": [
        "__start__>model 1, model>search 1, search>model 1, model>__end__ 1",
        FLAT,
    ],
    "any_agent_trace.json": [FLAT],
    "otlp_agent_node_with_tool.json": [FLAT, FLAT.replace("model", "Helper")],
    "tau2_dir/results.json": ["__start__>search 2, search>respond 2, respond>__end__ 1"],
    "tau2_reasons.json": ["__start__>search 10, search>respond 10, respond>__end__ 2"],
}


def parse(moves):
    counted = Counter()
    for source, target, count in MOVE.findall(moves):
        counted[source, target] += int(count)
    return counted


@pytest.mark.skipif(not CASES, reason="the traces are not beside this checkout")
@pytest.mark.parametrize("file", CASES or ["none"])
def test_traces_are_read_as_their_answers_say(file):
    answer, path = CASES[file], TRACES / file
    if not answer["states"]:
        with pytest.raises(ReadError, match="observations"):
            read_runs(path)
        return
    runs = read_runs(path, **OPTIONS.get(file, {}))
    moves = Counter(move for run in runs for move in run.moves)
    assert moves in [parse(each) for each in SAID_OTHERWISE.get(file, [answer["moves"]])]
    said = answer["outcome"] or ""
    for word, value in (("success", True), ("failure", False)):
        if told := re.search(rf"(\d+) {word}", said):
            assert sum(run.success is value for run in runs) == int(told[1])
    if said.startswith("ended"):
        assert {run.outcome for run in runs} == {Outcome.ENDED}


def test_the_outcomes_of_tau2_are_all_known():
    if not CASES:
        pytest.skip("the traces are not beside this checkout")
    outcomes = Counter(run.outcome for run in read_runs(TRACES / "tau2_reasons.json"))
    assert outcomes == {Outcome.ENDED: 2, Outcome.RECURSION_LIMIT: 1, Outcome.FAILED: 7}


def test_real_results_of_tau_bench():
    runs = read_runs(data_file("tau1", "gpt-4o-airline.json.gz"))
    assert sum(len(run.moves) for run in runs) == 2_654
    assert (len(runs), sum(run.success is True for run in runs)) == (200, 84)
