"""A guard that reads facts and texts gives the same risks in the agent, in a router and offline."""

import logging

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from detailed_balance import read_runs
from detailed_balance.analyzers import END, OutcomeScore, RunGuard, Trajectory
from detailed_balance.analyzers.guard.watch import run_risks
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import (
    RunGuardMiddleware,
    RunStep,
    TransitionCallbackHandler,
    action_steps,
    stop_when,
)
from tests.callbacks.test_middleware import since_1_2_9
from tests.support.agents import thread


@tool
def search(query: str) -> str:
    """Search."""
    return f"nothing about {len(query) % 2}"


@tool
def read(path: str) -> str:
    """Read."""
    raise ValueError(f"no file {path}")


class Talker(BaseChatModel):
    """Says a text and asks for tools, with the tokens that it took."""

    script: list = []  # noqa: RUF012  (a pydantic field)
    said: int = 0

    def _generate(self, messages, *args, **kwargs):
        text, calls, tokens = self.script[self.said]
        self.said += 1
        asked = [
            {"name": name, "args": {key: value}, "id": f"{self.said}-{i}"}
            for i, (name, key, value) in enumerate(calls)
        ]
        counts = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
        message = AIMessage(text, tool_calls=asked, usage_metadata=counts)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(self, tools, **kwargs):
        return self

    @property
    def _llm_type(self):
        return "talker"


def q(value):
    return ("search", "query", value)


STUCK = [
    ("Let me look.", [q("a")], 100),
    ("Again.", [q("a")], 220),
    ("", [q("a"), q("bb")], 350),
    ("Sorry, once more.", [q("a"), ("read", "path", "x")], 500),
    ("Sorry.", [("read", "path", "x")], 900),
    ("I give up, sorry.", [], 1000),
]
FINE = [
    ("I look.", [q("a")], 100),
    ("I read it.", [q("bb")], 100),
    ("Here it is.", [], 120),
]
QUESTION = {"messages": [("user", "Where is it?")]}


class TellErrors(AgentMiddleware):
    """Turns the error of a tool into an answer."""

    def wrap_tool_call(self, request, handler):
        from langchain_core.messages import ToolMessage

        try:
            return handler(request)
        except ValueError as error:
            call = request.tool_call
            return ToolMessage(
                str(error), tool_call_id=call["id"], name=call["name"], status="error"
            )


def play(script, *middleware, config=None, **options):
    """Run an agent; return its messages and the runs that the recorder kept."""
    agent = create_agent(
        Talker(script=script), [search, read], middleware=[*middleware, TellErrors()], **options
    )
    handler = TransitionCallbackHandler()
    found = agent.invoke(QUESTION, {"callbacks": [handler], **(config or {})})
    return found["messages"], read_runs(handler)


def texts_of(script, runs):
    return {run.name: [text or None for text, _, _ in script] for run in runs}


def records():
    """Recorded runs of known success, and what was written."""
    runs, texts = [], {}
    for i in range(24):
        script, success = (FINE, True) if i % 2 else (STUCK[i % 3 :], False)
        (run,) = play(script)[1]
        runs.append(Trajectory(run.moves, f"run {i}", success=success, facts=run.facts))
        texts[f"run {i}"] = [text or None for text, _, _ in script]
    return runs, texts


RUNS, TEXTS = records()
GUARDS = {
    "facts": OutcomeScore().fit(RUNS),
    "memory": OutcomeScore(memory=3).fit(RUNS),
    "text": OutcomeScore(text="ngrams").fit(RUNS, texts=TEXTS),
}


class Watched(RunGuard):
    """Keeps the risk of each time that it is asked to watch a run."""

    def watch(self, *args):
        watch = super().watch(*args)
        self.__dict__.setdefault("risks", []).append(watch.risk)
        return watch


def offline(score, script):
    """Return the risk after each move of the run as recorded, without the move to END."""
    _, (run,) = play(script)
    table = RunTable.of([run])
    risks = run_risks(score, table, {run.name: [text or None for text, _, _ in script]})
    assert run.moves[-1][1] == END
    return risks.tolist()[:-1]


@pytest.mark.parametrize("score", GUARDS.values(), ids=GUARDS)
@pytest.mark.parametrize("script", [STUCK, FINE])
def test_the_agent_a_router_and_the_record_give_the_same_risks(score, script):
    assert any(facts and facts.stale for run in RUNS for facts in run.facts)
    assert any(facts and facts.failed for run in RUNS for facts in run.facts)
    expected = offline(score, script)
    guard = Watched(score, None)
    messages, _ = play(script, RunGuardMiddleware(guard))
    assert guard.risks == [None, *expected[:-1]]  # the model is not asked after its answer
    router = Watched(score, None)
    stop_when(router, lambda state: "go on")({"messages": messages})
    assert router.risks == expected[-1:]


@since_1_2_9
@pytest.mark.parametrize("score", GUARDS.values(), ids=GUARDS)
def test_a_cut_of_the_messages_and_a_retried_call_change_no_risk(score):
    class Cut(AgentMiddleware):
        def before_model(self, state, runtime):
            first, *more = state["messages"]
            kept = [RemoveMessage(REMOVE_ALL_MESSAGES), first, *more[-3:]]
            return {"messages": kept} if len(more) > 3 else None

    class Twice(AgentMiddleware):
        """Asks for the model again, as a retry does."""

        def wrap_model_call(self, request, handler):
            handler(request.override(model=Talker(script=STUCK, said=0)))
            return handler(request)

    guard = Watched(score, None)
    play(
        STUCK,
        Cut(),
        Twice(),
        RunGuardMiddleware(guard),
        checkpointer=MemorySaver(),
        config=thread("T"),
    )
    assert guard.risks[::2] == guard.risks[1::2] == [None, *offline(score, STUCK)[:-1]]


@since_1_2_9
def test_another_process_goes_on_with_what_the_checkpoint_and_the_messages_hold():
    saver, score = MemorySaver(), GUARDS["text"]
    before = create_agent(
        Talker(script=STUCK),
        [search, read],
        checkpointer=saver,
        interrupt_before=["tools"],
        middleware=[RunGuardMiddleware(RunGuard(score, None)), TellErrors()],
    )
    before.invoke(QUESTION, thread("T"))
    kept = saver.get(thread("T"))["channel_values"]["_run_guard_path"]
    assert kept["texts"] == []
    for number in (1, 2):
        before.invoke(None, thread("T"))
        kept = saver.get(thread("T"))["channel_values"]["_run_guard_path"]
        assert kept["texts"][-1] == STUCK[number - 1][0]
        assert kept["facts"][-1][3] is (number == 2)  # it repeats the call
    guard = Watched(score, None)
    again = [*STUCK[:3], ("Again.", [q("a")], 9), ("Sorry.", [], 9)]
    after = create_agent(
        Talker(script=again, said=3),
        [search, read],
        checkpointer=saver,
        middleware=[RunGuardMiddleware(guard), TellErrors()],
    )
    after.invoke(None, thread("T"))
    assert all(risk is not None for risk in guard.risks)
    kept = saver.get(thread("T"))["channel_values"]["_run_guard_path"]
    assert kept["facts"][-1][3]  # of a call that only the messages remember


def test_a_guard_without_text_keeps_none_in_the_checkpoint():
    saver = MemorySaver()
    play(
        FINE,
        RunGuardMiddleware(RunGuard(GUARDS["facts"], None)),
        checkpointer=saver,
        config=thread("T"),
    )
    kept = saver.get(thread("T"))["channel_values"].get("_run_guard_path", {})
    assert "texts" not in kept


@pytest.mark.parametrize(("name", "missing"), [("facts", "the facts"), ("text", "the text")])
def test_a_router_without_what_the_guard_reads_says_so_once(name, missing, caplog):
    guard = RunGuard(GUARDS[name], None, moves={move for run in RUNS for move in run.moves})
    route = stop_when(guard, lambda state: "go on", path=lambda state: state["path"])
    with caplog.at_level(logging.WARNING, "detailed_balance"):
        for _ in range(3):
            assert route({"path": ["search"] * 6}) == "go on"
        assert route({"path": [RunStep("search")] * 6}) == "go on"
    (record,) = [r for r in caplog.records if "this run has none" in r.getMessage()]
    assert missing in record.getMessage()
    assert "action_steps" in record.getMessage()


def test_steps_of_messages_have_the_text_of_the_message_that_asked():
    messages, _ = play(STUCK)
    steps = action_steps(messages)
    assert [step.text for step in steps] == [text or None for text, _, _ in STUCK]
    assert [step.facts.tokens for step in steps] == [tokens + 1 for _, _, tokens in STUCK]
    assert [step.facts.repeats for step in steps] == [False, True, False, False, False, False]
    assert action_steps([HumanMessage("hi"), AIMessage([{"type": "text", "text": "a"}])]) == [
        RunStep(
            "model",
            steps[-1].facts._replace(
                call=None, answer=None, answer_size=None, call_size=None, tokens=None
            ),
            "a",
        )
    ]
