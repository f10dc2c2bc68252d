"""An agent that edits and tests until all tests pass, as it should; and what is said.

Its runs repeat themselves, some of them five times. That is work, and no finding.
"""

import random
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from detailed_balance import analyze
from detailed_balance.callbacks import TransitionCallbackHandler

rng = random.Random(1)


def read_file(path: str) -> str:
    """Read a file."""
    return f"the code of {path}"


def edit_file(path: str, change: int) -> str:
    """Change a file."""
    return f"change {change} of {path} is saved"


def run_tests(change: int) -> str:
    """Run the tests."""
    return "passed" if rng.random() < 0.5 else f"after change {change} 1 test failed"


class CodingModel(BaseChatModel):
    """Stands in for a real model, so that this file runs offline; use "openai:gpt-5" and such."""

    @property
    def _llm_type(self):
        return "coding"

    def bind_tools(self, tools, **kwargs):
        """Ignore the tools, which it knows."""
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        """Read the file, then edit and test until the tests pass."""
        done = [message for message in messages if isinstance(message, ToolMessage)]
        path, change = messages[0].content, len(done) // 2
        if not done:
            message = ask("read_file", path=path)
        elif done[-1].name != "edit_file" and done[-1].content != "passed":
            message = ask("edit_file", path=path, change=change)
        elif done[-1].name == "edit_file":
            message = ask("run_tests", change=change)
        else:
            message = AIMessage("All tests pass.")
        return ChatResult(generations=[ChatGeneration(message=message)])


def ask(name, **arguments):
    """Return the message of a model that calls a tool."""
    call = {"name": name, "args": arguments, "id": f"{name}-{arguments}"}
    return AIMessage("", tool_calls=[call])


Path("coding.db").unlink(missing_ok=True)
handler = TransitionCallbackHandler(store="sqlite:///coding.db")
agent = create_agent(CodingModel(), [read_file, edit_file, run_tests])
for number in range(100):
    config = {"callbacks": [handler], "configurable": {"thread_id": f"t{number}"}}
    agent.invoke({"messages": [("user", f"module_{number}.py")]}, config)
handler.close()
print(analyze("coding.db").verdict)
