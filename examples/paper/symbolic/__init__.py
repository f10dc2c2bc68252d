"""The paper's symbolic fitting agent."""
