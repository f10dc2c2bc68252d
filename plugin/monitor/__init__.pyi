from .analysis import default_analyzers as default_analyzers
from .analysis.alerts import Alert as Alert, Event as Event, Observation as Observation
from .analysis.base import View as View
from .analysis.status import Analysis as Analysis, Status as Status
from .monitor import Monitor as Monitor
from .sinks import JsonLinesSink as JsonLinesSink, LoggingSink as LoggingSink
