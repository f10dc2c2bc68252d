"""How a run will end, when, at what cost, and how reliable that is."""
