"""What records: the callback handler, its state functions, the live graph and the store."""

import lazy_loader

# Loaded when first asked for, so that a graph needs no LangChain and a handler no SQLAlchemy. The
# names are listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
