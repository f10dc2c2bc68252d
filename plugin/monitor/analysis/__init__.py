"""What a monitor looks for."""
