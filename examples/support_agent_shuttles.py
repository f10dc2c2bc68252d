"""A support agent goes back and forth between two tools, since a policy changed; and what is said.

Until its 60th question the policy has an answer for everything. Then gifts are to be settled "as
the order says", and the order says "as the policy says".
"""

import random
from contextlib import suppress
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.errors import GraphRecursionError

from detailed_balance import analyze
from detailed_balance.callbacks import TransitionCallbackHandler

CHANGED = 60
rng = random.Random(1)
question = 0


def lookup_order(order: str) -> str:
    """Look up an order."""
    return f"{order}: a gift, refunded as the policy says" if "gift" in order else f"{order}: paid"


def check_policy(order: str) -> str:
    """Check what the policy says about an order."""
    if question >= CHANGED and "gift" in order:
        return "gifts are refunded as the order says"
    return "refund within 30 days"


def refund(order: str) -> str:
    """Refund an order."""
    return f"{order} is refunded"


class SupportModel(BaseChatModel):
    """Stands in for a real model, so that this file runs offline; use "openai:gpt-5" and such."""

    @property
    def _llm_type(self):
        return "support"

    def bind_tools(self, tools, **kwargs):
        """Ignore the tools, which it knows."""
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        """Look up the order, check the policy, refund; and go back where neither is clear."""
        done = [message for message in messages if isinstance(message, ToolMessage)]
        after = {"lookup_order": "check_policy", "check_policy": "refund", "refund": None}
        tool = after[done[-1].name] if done else "lookup_order"
        if tool == "refund" and "as the order says" in done[-1].content and rng.random() < 0.9:
            tool = "lookup_order"
        call = {"name": tool, "args": {"order": messages[0].content}, "id": f"call-{len(done)}"}
        message = (
            AIMessage("", tool_calls=[call]) if tool else AIMessage("Your money is on its way.")
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


Path("support.db").unlink(missing_ok=True)
handler = TransitionCallbackHandler(store="sqlite:///support.db")
agent = create_agent(SupportModel(), [lookup_order, check_policy, refund])
for question in range(100):
    order = f"{'gift' if question % 4 == 1 else 'order'} {question}"
    config = {"callbacks": [handler], "recursion_limit": 50}
    config["configurable"] = {"thread_id": f"t{question}"}
    with suppress(GraphRecursionError):
        agent.invoke({"messages": [("user", order)]}, config)
handler.close()
print(analyze("support.db").verdict)
