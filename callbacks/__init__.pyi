from .graph import TransitionGraph as TransitionGraph
from .middleware import (
    RunGuardMiddleware as RunGuardMiddleware,
    StopEvent as StopEvent,
    action_steps as action_steps,
    stop_when as stop_when,
)
from .recorder.handler import TransitionCallbackHandler as TransitionCallbackHandler
from .recorder.record import record_transitions as record_transitions
from .states.actions import (
    ActionStates as ActionStates,
    NodeStates as NodeStates,
    ToolStates as ToolStates,
)
from .states.base import (
    CombinedStates as CombinedStates,
    ModelCallStates as ModelCallStates,
    NodeRun as NodeRun,
)
from .states.channels import ChannelStates as ChannelStates
from .states.embeddings import EmbeddingStates as EmbeddingStates
from .states.messages import RunStep as RunStep
from .states.prompts import PromptStates as PromptStates
from .store.store import TransitionStore as TransitionStore
from .transition import Ending as Ending, Transition as Transition
