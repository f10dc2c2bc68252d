"""What a change did: two sources, or two contexts of one, side by side."""

from __future__ import annotations

__all__: list[str] = []
