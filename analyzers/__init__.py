"""What measures: pure mathematics on transition counts and trajectories."""
