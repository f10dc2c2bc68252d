"""Text and tables made harmless and readable: terminal, page, cells of tables."""

import lazy_loader

# Loaded when first asked for. The names are listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
