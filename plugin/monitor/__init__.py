"""Follow a record that grows: `Monitor`, what it finds, and where it reports that."""

import lazy_loader

# Loaded when first asked for, so that a finding needs no sink. The names are listed once, in
# __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
