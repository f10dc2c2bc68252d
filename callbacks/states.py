"""State functions: how a node run, or the call of a model, becomes a state key."""

from detailed_balance.callbacks.actions import ActionStates, NodeStates, ToolStates
from detailed_balance.callbacks.channels import ChannelStates
from detailed_balance.callbacks.combined import CombinedStates
from detailed_balance.callbacks.embeddings import EmbeddingStates
from detailed_balance.callbacks.limits import OTHER
from detailed_balance.callbacks.noderun import (
    ModelCallStates,
    NodeRun,
    StateFunction,
    state_names,
)
from detailed_balance.callbacks.prompts import PromptStates, last_human_text, reply_text

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
