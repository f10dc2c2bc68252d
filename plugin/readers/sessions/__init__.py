"""Session logs of coding agents, and trajectories of benchmarks: an adapter for each format."""
