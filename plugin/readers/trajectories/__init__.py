"""The trajectories of agents that benchmarks and evaluations keep: an adapter for each format."""
