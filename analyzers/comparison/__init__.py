"""Two contexts or more, compared: kernels, potentials, runs, counts."""
