"""What one run repeats, and from when on."""
