"""The markers of where a run begins and ends, which are not states of the agent."""

__all__ = ["BOUNDARIES", "END", "START"]

START = "__start__"
"""The source of the first transition of a trajectory (as in LangGraph)."""

END = "__end__"
"""The target of the last transition of a trajectory that ended (as in LangGraph)."""

BOUNDARIES = frozenset({START, END})
"""The markers that are not states of the agent and enter no balance test."""
