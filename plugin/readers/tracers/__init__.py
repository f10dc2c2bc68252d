"""Files of tracing tools, one adapter a format: what is in them becomes spans.

``files`` and ``otel_records`` are what the adapters share; `readers.spans` assembles the spans.
"""
