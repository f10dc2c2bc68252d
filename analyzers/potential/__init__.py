"""The potential of least action: its value, its errors, and what explains it."""
