from ._read_transitions import Source as Source, read_transitions as read_transitions
from .records.base import SkippedLine as SkippedLine, TransitionReader as TransitionReader
from .registry import FORMATS as FORMATS
