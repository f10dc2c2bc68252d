"""Whatever a user holds becomes counts and runs."""

import lazy_loader

# Loaded when first asked for, so that a source without tables loads no Ibis. The names are listed
# once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
