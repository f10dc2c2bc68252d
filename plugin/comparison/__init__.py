"""What a change did: two sources, or two contexts of one, side by side."""

import lazy_loader

# Loaded when first asked for, so that the command line starts without scipy. The names are listed
# once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
