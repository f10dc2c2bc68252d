"""Middleware as it is shipped changes neither the record nor the guard's path, unless it acts."""

import inspect
from contextlib import suppress
from types import SimpleNamespace

import pytest
from langchain.agents import create_agent, middleware
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START
from langgraph.types import Command

from detailed_balance.analyzers import RunGuard, Trajectory
from detailed_balance.callbacks import RunGuardMiddleware, TransitionCallbackHandler
from detailed_balance.callbacks.middleware import action_path
from tests.support.agents import ScriptedModel, Walks, path

STATES = ["search", "read", "read|search", "search", "search", "model"]
SCRIPT = [*[state.split("|") for state in STATES[:-1]], "write to bob@example.org"]
QUESTION = {"messages": [HumanMessage("I am ann@example.org, find it", id="q")]}


@tool
def search() -> str:
    """Search."""
    return "found carl@example.org"


@tool
def read() -> str:
    """Read."""
    return "text"


class InTurn(ScriptedModel):
    """Gives its replies in turn, however much it is shown, and chooses what it is asked to."""

    turn: list = []  # noqa: RUF012  (a pydantic field, copied for each model)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.turn.append(1)
        before = [AIMessage("")] * (len(self.turn) - 1)
        return super()._generate(before, stop, run_manager, **kwargs)

    def with_structured_output(self, schema, **kwargs):
        return RunnableLambda(lambda _: {"tools": ["search", "read"]})


class Classifier:
    """Finds nothing risky, and chooses the first model."""

    def invoke(self, asked, *args, **kwargs):
        from langchain_core.decisions import ChoiceAnswer  # LangChain 1.5

        chosen = ChoiceAnswer(
            type="choice", choice="first", probabilities={"first": 1.0}, confidence=1.0
        )
        return SimpleNamespace(
            nouls={"is_risky": SimpleNamespace(noul=0.0)},
            choices=dict.fromkeys(asked["questions"], chosen),
        )


def scripted(text="fine"):
    return ScriptedModel(script=[text] * 50)


def build(kind, folder):
    """Return a middleware of a class, with what it needs; skip where nobody knows that."""
    options = {
        "AutoModeMiddleware": {"tools": ["search"], "classifier": Classifier()},
        "FilesystemFileSearchMiddleware": {"root_path": str(folder)},
        "HumanInTheLoopMiddleware": {"interrupt_on": {"search": True}},
        "LLMToolEmulator": {"tools": ["search"], "model": scripted()},
        "LLMToolSelectorMiddleware": {"model": InTurn(script=[])},
        "ModelCallLimitMiddleware": {"run_limit": 100},
        "ModelFallbackMiddleware": {"first_model": scripted()},
        "PIIMiddleware": {
            "pii_type": "email",
            "apply_to_output": True,
            "apply_to_tool_results": True,
        },
        "ShellToolMiddleware": {"workspace_root": str(folder)},
        "SummarizationMiddleware": {
            "model": scripted(),
            "trigger": ("messages", 5),
            "keep": ("messages", 2),
        },
        "ToolCallLimitMiddleware": {"run_limit": 100},
        "ToolErrorMiddleware": {"on_error": lambda error, request: "it failed"},
    }.get(kind.__name__, {})
    if kind is middleware.ShellToolMiddleware and not hasattr(
        middleware.types, "ExtendedModelResponse"
    ):
        pytest.skip("the shell of LangChain 1.0 fits into no checkpoint")
    if kind.__name__ == "ModelRouterMiddleware":
        choice = middleware.ModelChoice(model=InTurn(script=SCRIPT), criteria="all")
        options = {"choices": {"first": choice}, "instructions": "", "classifier": Classifier()}
    try:
        return kind(**options)
    except TypeError as error:
        pytest.skip(f"it is not known how to build {kind.__name__}: {error}")


def kinds_of(module):
    """Return the classes of middleware that a module offers."""
    offered = (getattr(module, name) for name in dir(module))
    return [
        kind
        for kind in offered
        if inspect.isclass(kind)
        and issubclass(kind, AgentMiddleware)
        and kind is not AgentMiddleware
    ]


def follow(agent):
    """Run an agent to its end, approving all; return what was recorded and what the guard kept."""
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "configurable": {"thread_id": "T"}, "recursion_limit": 200}
    result, resumed = agent.invoke(QUESTION, config), False
    while waiting := result.get("__interrupt__"):
        asked = waiting[0].value["action_requests"]
        decisions = {"decisions": [{"type": "approve"}] * len(asked)}
        result, resumed = agent.invoke(Command(resume=decisions), config), True
    assert handler.faults == 0
    kept = agent.checkpointer.get(config)["channel_values"].get("_run_guard_path")
    walk = next(walk for key, walk in handler.graph.walks.items() if "/" not in key)
    return walk, kept, result["messages"], resumed


def check(middlewares, states=STATES):
    guard = RunGuardMiddleware(RunGuard.from_rules(max_stay=100))
    model = InTurn(script=SCRIPT)
    agent = create_agent(
        model, [search, read], middleware=[*middlewares, guard], checkpointer=InMemorySaver()
    )
    walk, kept, messages, resumed = follow(agent)
    assert walk == path(START, *states, END)
    assert guard.faults == 0
    if kept and not resumed:  # else it counts from where the person answered
        assert kept["states"] == states[:-1]
    if not any(message.additional_kwargs.get("lc_source") for message in messages):
        assert action_path(messages) == states


def test_the_agent_alone():
    check([])


@pytest.mark.parametrize("kind", kinds_of(middleware), ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore")
def test_each_middleware_of_langchain_leaves_the_states_alone(kind, tmp_path):
    check([build(kind, tmp_path)])


@pytest.mark.filterwarnings("ignore")
def test_all_that_only_look_on_leave_the_states_alone_together(tmp_path):
    names = ["ModelCallLimitMiddleware", "PIIMiddleware", "TodoListMiddleware"]
    names += ["SummarizationMiddleware", "ToolCallLimitMiddleware", "HumanInTheLoopMiddleware"]
    check([build(getattr(middleware, name), tmp_path) for name in names])


OF_DEEPAGENTS = {
    "FilesystemMiddleware": {},
    "MemoryMiddleware": {"sources": ["/memory.md"]},
    "RubricMiddleware": {"model": scripted()},
    "SkillsMiddleware": {"sources": ["/skills"]},
    "SummarizationMiddleware": {
        "model": scripted(),
        "trigger": ("messages", 5),
        "keep": ("messages", 2),
    },
    "UnsupportedContentMiddleware": {},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OF_DEEPAGENTS)
def test_each_middleware_of_deepagents_leaves_the_states_alone(name):
    pytest.importorskip("deepagents", reason="deepagents is not installed")
    from deepagents import middleware as offered
    from deepagents.backends import StateBackend

    backend = {"backend": StateBackend()}
    alone = name in ("RubricMiddleware", "UnsupportedContentMiddleware")
    kind = getattr(offered, name)
    built = kind(**OF_DEEPAGENTS[name], **({} if alone else backend))
    files = [] if name == "FilesystemMiddleware" else [offered.FilesystemMiddleware(**backend)]
    check([*files, built])


@pytest.mark.filterwarnings("ignore")
def test_a_deep_agent_has_the_states_of_an_agent():
    deepagents = pytest.importorskip("deepagents", reason="deepagents is not installed")
    guard = RunGuardMiddleware(RunGuard.from_rules(max_stay=100))
    agent = deepagents.create_deep_agent(
        InTurn(script=SCRIPT), [search, read], middleware=[guard], checkpointer=InMemorySaver()
    )
    walk, kept, messages, _ = follow(agent)
    assert walk == path(START, *STATES, END)
    assert kept["states"] == STATES[:-1]
    assert action_path(messages) == STATES


class Worker(InTurn):
    """Works through a few tools, or goes back and forth between two of them for ever."""

    stuck: bool = False

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        names = ["search", "read"] * 100 if self.stuck else ["search", "read", "read"]
        self.script = [[name] for name in names] + ([] if self.stuck else ["done"])
        return super()._generate(messages, stop, run_manager, **kwargs)


def no_hooks(folder):
    return []


def limited(folder):
    return [middleware.ModelCallLimitMiddleware(run_limit=999)]


def with_todos(folder):
    return [middleware.TodoListMiddleware()]


def summarised(folder):
    return [build(middleware.SummarizationMiddleware, folder)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("hooks", [no_hooks, limited, with_todos, summarised])
def test_a_guard_fitted_on_records_stops_stuck_runs_behind_any_hooks(hooks, tmp_path):
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "recursion_limit": 60}
    for number in range(40):
        worker = Worker(script=[], stuck=number % 4 == 0)
        agent = create_agent(worker, [search, read], middleware=hooks(tmp_path))
        with suppress(GraphRecursionError):
            agent.invoke(QUESTION, config)
    walks = handler.graph.walks.values()
    runs = [Trajectory(tuple(walk), success=walk[-1][1] == END) for walk in walks]
    guard = RunGuardMiddleware(RunGuard.fit(runs, alpha=0.1), "end", "Sorry.")
    for _ in range(10):
        stuck = Worker(script=[], stuck=True)
        agent = create_agent(stuck, [search, read], middleware=[*hooks(tmp_path), guard])
        assert agent.invoke(QUESTION, config)["messages"][-1].content == "Sorry."
    assert guard.faults == 0
