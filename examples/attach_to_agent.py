"""Attach the recorder to an ordinary `create_agent`, and see its landscape."""

from itertools import cycle

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from detailed_balance import analyze
from detailed_balance.callbacks import TransitionCallbackHandler


def search(query: str) -> str:
    """Search the web."""
    return f"nothing new about {query}"


def read(page: str) -> str:
    """Read a page."""
    return f"{page} says what it always said"


class ScriptedModel(GenericFakeChatModel):
    """Stands in for a real model, so that this file runs offline; use "openai:gpt-4o" and such."""

    def bind_tools(self, tools, **kwargs):
        """Ignore the tools; the script names them."""
        return self


def call(name, **arguments):
    """Return the message of a model that asks for a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name}])


def script():
    """Search twice, read, and answer; every third time read first."""
    for turn in cycle(range(3)):
        if turn == 2:
            yield call("read", page="home")
        yield from (call("search", query="x"), call("search", query="y"), call("read", page="z"))
        yield AIMessage("done")


agent = create_agent(ScriptedModel(messages=script()), tools=[search, read])

# These are the lines: a handler, its place in the config, and the report.
handler = TransitionCallbackHandler()
for run in range(50):
    question = {"messages": [{"role": "user", "content": f"question {run}"}]}
    agent.invoke(question, {"callbacks": [handler]})
print(analyze(handler))
