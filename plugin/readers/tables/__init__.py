"""Tables and lists of records: CSV, JSON, Parquet, XES."""
