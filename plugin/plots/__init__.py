"""Pictures of results."""

import lazy_loader

# Loaded when first asked for, so that a report that nobody draws loads no matplotlib. The names are
# listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
