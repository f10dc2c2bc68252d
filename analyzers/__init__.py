"""What measures: pure mathematics on transition counts and trajectories."""

import lazy_loader

# Loaded when first asked for, so that recording an agent loads no solver into it. The names are
# listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
