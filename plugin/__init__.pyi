from .analyzers.counts import TransitionCounts as TransitionCounts
from .analyzers.runs.table import RunTable as RunTable
from .callbacks.graph import TransitionGraph as TransitionGraph
from .callbacks.store.store import TransitionStore as TransitionStore
from .callbacks.transition import Transition as Transition
from .comparison import Comparison as Comparison, compare as compare
from .diagnosis import Finding as Finding
from .monitor import Monitor as Monitor
from .readers import read_transitions as read_transitions
from .report import Report as Report, analyze as analyze
from .sources.source import (
    read_runs as read_runs,
    read_trajectories as read_trajectories,
)

__version__: str
