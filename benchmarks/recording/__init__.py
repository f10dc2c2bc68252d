"""What recording costs an agent, beside other tracers."""
