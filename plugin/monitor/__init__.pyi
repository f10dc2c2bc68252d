from .analysis import default_analyzers as default_analyzers
from .analysis.base import View as View
from .analysis.findings import (
    Event as Event,
    Finding as Finding,
    Kind as Kind,
    Observation as Observation,
    Severity as Severity,
)
from .analysis.status import Analysis as Analysis, Status as Status
from .monitor import Monitor as Monitor
from .sinks import JsonLinesSink as JsonLinesSink, LoggingSink as LoggingSink
