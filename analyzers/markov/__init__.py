"""What the chain does in the long run: stationary law, flux, order, traps, basins."""
