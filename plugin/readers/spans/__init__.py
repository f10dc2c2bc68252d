"""Spans of tracing tools become runs, by playing them back to the handler."""
