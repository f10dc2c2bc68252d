"""Runs of agents: the one form in which they are held."""
