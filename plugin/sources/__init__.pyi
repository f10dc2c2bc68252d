from ._ibis import count_events as count_events
from .tables import count_table as count_table
