"""The paper's conditioned word agent."""
