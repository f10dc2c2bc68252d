"""Text that anyone wrote, made harmless and readable: terminal, page, cells of tables."""
