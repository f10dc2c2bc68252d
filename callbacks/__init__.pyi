from .graph import TransitionGraph as TransitionGraph
from .middleware import (
    RunGuardMiddleware as RunGuardMiddleware,
    StopEvent as StopEvent,
    stop_when as stop_when,
)
from .recorder.handler import TransitionCallbackHandler as TransitionCallbackHandler
from .recorder.record import record_transitions as record_transitions
from .states import (
    ActionStates as ActionStates,
    ChannelStates as ChannelStates,
    CombinedStates as CombinedStates,
    EmbeddingStates as EmbeddingStates,
    ModelCallStates as ModelCallStates,
    NodeRun as NodeRun,
    NodeStates as NodeStates,
    PromptStates as PromptStates,
    ToolStates as ToolStates,
)
from .store.store import TransitionStore as TransitionStore
from .transition import Ending as Ending, Transition as Transition
