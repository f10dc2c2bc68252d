from .formatting import (
    escape_text as escape_text,
    guard_cell as guard_cell,
    rich_text as rich_text,
    safe_text as safe_text,
    unescape_text as unescape_text,
    unguard_cell as unguard_cell,
)
