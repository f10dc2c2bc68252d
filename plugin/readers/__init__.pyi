from ._read_transitions import Source as Source, read_transitions as read_transitions
from .recording import Recording as Recording, read_recording as read_recording
from .records.base import SkippedLine as SkippedLine, TransitionReader as TransitionReader
from .registry import FORMATS as FORMATS
from .texts import read_texts as read_texts
