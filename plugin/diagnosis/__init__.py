"""Findings: what went wrong, where, in which runs, since when, at what cost, and what to do."""

import lazy_loader

# Loaded when first asked for, so that the command line starts without scipy. The names are listed
# once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
