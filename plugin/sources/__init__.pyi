from ._ibis import count_events as count_events
from .source import (
    Source as Source,
    SourceInfo as SourceInfo,
    open_source as open_source,
)
from .tables import count_table as count_table
