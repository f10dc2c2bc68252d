"""What a change did: two sources, or two contexts of one, side by side."""
