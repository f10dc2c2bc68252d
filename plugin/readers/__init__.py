"""Readers: from a trace that is already there to transitions."""

import lazy_loader

# Loaded when first asked for, and each format when a file of it is read. The names are listed once,
# in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
