"""State functions: how a node run, or the call of a model, becomes a state key."""

from detailed_balance.callbacks.states.actions import ActionStates, NodeStates, ToolStates
from detailed_balance.callbacks.states.base import (
    CombinedStates,
    ModelCallStates,
    NodeRun,
    StateFunction,
    state_names,
)
from detailed_balance.callbacks.states.cardinality import OTHER
from detailed_balance.callbacks.states.channels import ChannelStates
from detailed_balance.callbacks.states.embeddings import EmbeddingStates
from detailed_balance.callbacks.states.prompts import PromptStates, last_human_text, reply_text

__all__ = [
    "OTHER",
    "ActionStates",
    "ChannelStates",
    "CombinedStates",
    "EmbeddingStates",
    "ModelCallStates",
    "NodeRun",
    "NodeStates",
    "PromptStates",
    "StateFunction",
    "ToolStates",
    "last_human_text",
    "reply_text",
    "state_names",
]
