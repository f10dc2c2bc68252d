"""Transitions and runs in a database: never waited for, never lost."""
