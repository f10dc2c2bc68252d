"""Links to the place where a run can be read in full, such as a page of Langfuse or LangSmith."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.render.formatting import safe_text

__all__ = ["check_run_url", "link_run"]

_PLACE = "{run}"
_LONGEST = 1_000


def check_run_url(template: str) -> str:
    """Return a template of links to runs as it is.

    Parameters
    ----------
    template : str
        An address of http or https with ``{run}`` after the host.

    Raises
    ------
    InvalidInputError
        Where it is something else.

    Examples
    --------
    >>> check_run_url("https://example.org/traces/{run}")
    'https://example.org/traces/{run}'
    """
    try:
        parts = urlsplit(template)
        host = parts.netloc if parts.scheme in ("http", "https") else ""
    except ValueError:
        host = ""
    after = template.partition("://")[2].removeprefix(host)
    plain = template.isascii() and template.isprintable() and " " not in template
    if not (plain and host and _PLACE not in host and _PLACE in after):
        raise InvalidInputError(
            f"the address of runs is {safe_text(template)}; it begins with https:// or http:// "
            "and has {run} after the host, such as https://example.org/traces/{run}"
        )
    return template


def link_run(template: str | None, run: str | None) -> str:
    """Return the link to a run, its key percent-encoded.

    Parameters
    ----------
    template : str or None
        As for `check_run_url`.
    run : str or None
        The key of the run.

    Returns
    -------
    str
        Empty where there is no template, no key, or one of more than 1,000 characters.

    Raises
    ------
    InvalidInputError
        As from `check_run_url`.

    Examples
    --------
    >>> link_run("https://example.org/traces/{run}?tab=1", "user 7/../x")
    'https://example.org/traces/user%207%2F..%2Fx?tab=1'
    >>> link_run(None, "t97")
    ''
    """
    if template is None:
        return ""
    check_run_url(template)
    if not run or len(run) > _LONGEST:
        return ""
    return template.replace(_PLACE, quote(run, safe="", errors="surrogatepass"))
