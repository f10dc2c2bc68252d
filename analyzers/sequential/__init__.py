"""Tests of runs as they come: martingales that are valid at any time, and since when."""
