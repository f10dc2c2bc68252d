"""Hold an agent at a wanted action."""
