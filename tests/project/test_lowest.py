"""The whole way from an agent to a report, with no package but those that the library asks for.

`make lowest-core` runs this file on the lowest versions that pyproject.toml admits.
"""

import importlib
import random
import tomllib

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from packaging.requirements import Requirement
from typer.testing import CliRunner

from detailed_balance.analyzers import RunGuard
from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.callbacks import (
    RunGuardMiddleware,
    TransitionCallbackHandler,
    TransitionStore,
)
from detailed_balance.cli import app
from tests.support.agents import ScriptedModel
from tests.support.sources import MODULES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
}
OPTIONAL = [need for name in EXTRAS.keys() - {"dev", "docs", "frameworks"} for need in EXTRAS[name]]
"""What users may install; the other extras are for those who work on the library."""

RELEASED_WITH = ["langgraph-prebuilt==1.0"]
"""What langgraph 1.0 came with. It admits later ones too, and does not work with them."""

QUESTION = {"messages": [("user", "hi")]}
SCRIPT = [["search"], ["read"], ["search"], ["read"], "done"]


@tool
def search() -> str:
    """Search."""
    return "nothing"


@tool
def read() -> str:
    """Read."""
    return "text"


@tool
def write() -> str:
    """Write."""
    return "written"


def ready_agent(script=SCRIPT):
    return create_agent(ScriptedModel(script=script), [search, read, write])


def drawn_agent():
    """Return the same agent as a graph of its own with a `ToolNode`."""
    model = ScriptedModel(script=SCRIPT)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([search, read]))
    graph.add_edge(START, "model")
    graph.add_edge("tools", "model")
    graph.add_conditional_edges(
        "model", lambda state: "tools" if state["messages"][-1].tool_calls else END
    )
    return graph.compile()


def detailed_balance(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the URL of a store on SQLite with forty runs of an agent, no two alike."""
    url = f"sqlite:///{tmp_path_factory.mktemp('lowest') / 'runs.db'}"
    with TransitionStore(url) as store:
        handler = TransitionCallbackHandler(store=store)
        for run in range(40):
            calls = random.Random(run).choices(["search", "read", "write"], k=10)
            agent = ready_agent([*([call] for call in calls), "done"])
            agent.invoke(QUESTION, {"callbacks": [handler]})
    return url


def pinned_versions():
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def lower_bounds(requirements):
    """Return `name==bound` for each requirement."""
    for requirement in requirements:
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        yield f"{requirement.name}=={bound}"


def test_the_lowest_environment_has_the_lower_bounds_of_what_users_install() -> None:
    asked = {*lower_bounds(CORE), *lower_bounds(OPTIONAL)}
    assert sorted(pinned_versions()) == sorted({*asked, *RELEASED_WITH})


def test_the_tools_ask_for_no_other_version_of_what_users_install() -> None:
    names = {need.name for need in OPTIONAL}
    again = [need for need in EXTRAS["dev"] if need.name in names]
    assert set(lower_bounds(again)) <= set(pinned_versions())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_asks_for_nothing_beyond_the_dependencies_and_the_extras(module):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name not in {"starlette", "uvicorn", "opentelemetry"}:
            raise
        pytest.skip(f"{missing.name} comes with an extra")
    except DetailedBalanceError as missing:
        assert "pip install 'detailed-balance[" in str(missing)  # noqa: PT017 - other errors are raised
        pytest.skip(str(missing))


@pytest.mark.parametrize("build", [ready_agent, drawn_agent])
def test_an_agent_is_recorded(build):
    handler = TransitionCallbackHandler()
    build().invoke(QUESTION, {"callbacks": [handler]})
    assert {"search", "read"} <= set(handler.graph.snapshot().states)


def test_a_store_is_analyzed_watched_compared_and_exported(store, tmp_path):
    page, table = tmp_path / "report.html", tmp_path / "counts.csv"
    assert "search" in detailed_balance("analyze", store, "--html", page)
    assert "search" in page.read_text(encoding="utf-8")
    assert "transitions" in detailed_balance("watch", store, "--once")
    assert "SAME     no difference" in detailed_balance("compare", store, store, "--replicates", 19)
    detailed_balance("export", store, table, "--what", "counts")
    assert "search" in table.read_text(encoding="utf-8")


def test_a_guard_stops_a_run():
    guard = RunGuardMiddleware(RunGuard.from_rules(max_rounds=2), "end")
    model = ScriptedModel(script=[["search"], ["read"]] * 10 + ["done"])
    agent = create_agent(model, [search, read], middleware=[guard])
    messages = agent.invoke(QUESTION)["messages"]
    assert sum(isinstance(message, AIMessage) for message in messages) < 10
    assert "search -> read -> search" in messages[-1].content
