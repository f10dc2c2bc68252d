"""What the chain does in the long run: stationary law, flux, entropy, order, traps, basins."""
