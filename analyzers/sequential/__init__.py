"""Tests that are valid at every look: martingales on runs as they come."""
