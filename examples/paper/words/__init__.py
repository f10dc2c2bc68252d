"""The paper's conditioned word task, and chat models that answer it without a network."""
