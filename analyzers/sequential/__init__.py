"""Tests of runs as they come: martingales that are valid at every look, and since when."""
