"""How fast, how small and how exact the potential is solved for, beside rivals."""
