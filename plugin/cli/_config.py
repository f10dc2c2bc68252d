"""Settings of a file: `detailed-balance.toml`, or `[tool.detailed-balance]` of `pyproject.toml`."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import typer

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.named_states import check_states
from detailed_balance.render.formatting import safe_text

_OWN, _SHARED, _TABLE = "detailed-balance.toml", "pyproject.toml", "detailed-balance"

_NUMBER, _WHOLE, _TEXT, _FLAG = "a number", "a whole number", "a text", "true or false"
_OF_COMMANDS = {
    **dict.fromkeys(("alpha", "beta", "every", "min_visits"), _NUMBER),
    **dict.fromkeys(("memory", "min_attempts", "replicates", "runs", "window"), _WHOLE),
    **dict.fromkeys(("attempts", "correction", "errors", "fail_on", "violation"), _TEXT),
    **dict.fromkeys(("by_runs", "in_order", "text"), _FLAG),
}
"""Options that have their own meaning, or their own default, on each command.

What writes, sends, listens or opens is no setting of a file: a folder that you only look into does
not decide on that.
"""

_KINDS: dict[str, Any] = {_NUMBER: (int, float), _WHOLE: int, _TEXT: str, _FLAG: bool}


class ConfigFile(NamedTuple):
    """A file of settings, and the names of those that the command takes."""

    name: str
    settings: tuple[str, ...]

    def describe(self) -> str:
        """Return what was taken from where, in one line."""
        return f"settings of {self.name}: {', '.join(self.settings)} (--no-config uses none)"


def load_config(
    context: typer.Context, given: str | None, shared: Iterable[str]
) -> ConfigFile | None:
    """Make the settings of a file the defaults of a command, before its other options are read.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    given : str or None
        The file, or - for the standard input; None looks for one in the working folder, then in
        those above.
    shared : iterable of str
        The parameters that mean the same on every command.

    Raises
    ------
    InvalidInputError
        Where the file is no TOML, has an unknown key, or a value of another type.
    OSError
        Where it cannot be read.
    """
    without = bool(context.params.get("no_config"))
    if given is not None and without:
        raise typer.BadParameter("give --config or --no-config, not both")
    if context.resilient_parsing or without:
        return None
    found = _find(Path.cwd()) if given is None else _read(Path(given))
    if found is None:
        return None
    file, table = found
    commands: Mapping[str, Any] = context.find_root().command.commands  # type: ignore[attr-defined]
    everywhere: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for name, each in commands.items():
        if options := _settings(each, frozenset(shared)):
            tables[name] = options
            everywhere |= {key: o for key, o in options.items() if o.name not in _OF_COMMANDS}
    of_all = {key: value for key, value in table.items() if key not in tables}
    _refuse_unknown(file, of_all, [*everywhere, *(f"[{name}]" for name in tables)])
    _check(context, file, "", of_all, everywhere)
    for name in tables.keys() & table.keys():
        if not isinstance(table[name], dict):
            raise InvalidInputError(f"{file}: {name} is a table of settings, as in [{name}]")
        _refuse_unknown(file, table[name], tables[name], f"{name}.")
        _check(context, file, f"{name}.", table[name], tables[name])
    command = context.info_name or ""
    own = tables.get(command, {})
    chosen = {k: v for k, v in of_all.items() if k in own} | table.get(command, {})
    context.default_map = {own[key].name: _write(own[key], v) for key, v in chosen.items()}
    if "://" not in (baseline := context.default_map.get("baseline", "-")) and baseline != "-":
        context.default_map["baseline"] = str(Path(file).parent / baseline)  # beside this file
    return ConfigFile(file, tuple(chosen)) if chosen else None


def _find(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the settings of the nearest file that has some."""
    for place in (folder, *folder.parents):
        for name in (_OWN, _SHARED):
            if (place / name).is_file() and (found := _read(place / name)) is not None:
                return found
    return None


def _read(path: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the settings of a file; None of a pyproject.toml that has none."""
    name = safe_text(str(path), 200)
    try:
        text = sys.stdin.read() if name == "-" else path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except ValueError as error:  # no TOML, no UTF-8
        raise InvalidInputError(
            f"{name} is no TOML: {safe_text(str(error), 200)}; --no-config goes on without it"
        ) from None
    if path.name != _SHARED:
        return name, found
    tool = found.get("tool", {})
    table = tool.get(_TABLE) if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise InvalidInputError(f"{name}: tool.{_TABLE} is a table, as in [tool.{_TABLE}]")
    return None if table is None else (name, table)


def _settings(command: Any, shared: frozenset[str]) -> dict[str, Any]:
    """Return the options of a command that a file may set, by their names."""
    if not any(option.name == "config" for option in command.params):
        return {}
    allowed = shared | _OF_COMMANDS.keys()
    options = (option for option in command.params if option.name in allowed)
    return {max(option.opts, key=len).removeprefix("--"): option for option in options}


def _refuse_unknown(file: str, keys: Iterable[str], known: Iterable[str], where: str = "") -> None:
    known = sorted(known)
    for key in keys:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            like = f"is it {close[0]}? " if close else ""
            raise InvalidInputError(
                f"{file}: there is no setting {safe_text(where + key, 80)}; {like}allowed are "
                f"{', '.join(known)}"
            )


def _check(
    context: typer.Context, file: str, where: str, table: Mapping[str, Any], known: dict[str, Any]
) -> None:
    """Refuse a value that is not of the type of its option."""
    for key, value in table.items():
        option = known[key]
        what = _FLAG if option.is_flag else _OF_COMMANDS.get(option.name, _TEXT)
        values = _write(option, value)
        fits = isinstance(value, _KINDS[what]) and (what == _FLAG) == isinstance(value, bool)
        if option.multiple:
            what, fits = "a list of texts", all(isinstance(each, str) for each in values)
            if isinstance(value, dict):
                fits = "=" in option.metavar and all(isinstance(e, str) for e in value.values())
        if not fits:
            shown = safe_text(repr(value), 80)
            raise InvalidInputError(f"{file}: {where}{key} = {shown} is not {what}")
        if option.name == "states":
            _check_states(f"{file}: {where}{key}", str(value))
        try:
            option.process_value(context, values)
        except typer.BadParameter as error:
            raise InvalidInputError(f"{file}: {where}{key}: {error.message}") from None


def _check_states(where: str, name: str) -> None:
    """Refuse a function of a module: a file of settings in some folder does not run code."""
    try:
        check_states(name, own=False)
    except InvalidInputError as error:
        more = "; module:function stands only on the command line" if ":" in name else ""
        raise InvalidInputError(f"{where}: {error}{more}") from None


def _write(option: Any, value: Any) -> Any:
    """Return a value as the command line would give it."""
    if not option.multiple:
        return value
    if isinstance(value, dict):
        return [f"{name}={each}" for name, each in value.items()]
    return value if isinstance(value, list) else [value]
