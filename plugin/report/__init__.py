"""A report on one source: `analyze` in words and tables."""
