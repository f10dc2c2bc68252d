"""What the chain does in the long run: stationary distribution, flux, order, traps, basins."""
