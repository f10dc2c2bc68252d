"""What large traces, tables, stores and pages cost, and a language model on numpy."""
