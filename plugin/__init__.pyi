from .analyzers.counts import TransitionCounts as TransitionCounts
from .callbacks.graph import TransitionGraph as TransitionGraph
from .callbacks.store.store import TransitionStore as TransitionStore
from .callbacks.transition import Transition as Transition
from .comparison import Comparison as Comparison, compare as compare
from .monitor import Monitor as Monitor
from .readers import read_transitions as read_transitions
from .report import Report as Report, analyze as analyze
from .sources.runs import read_trajectories as read_trajectories

__version__: str
