"""The options that commands share: what each is called, and what it means."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import typer

from detailed_balance.cli._config import ConfigFile, load_config
from detailed_balance.cli._output import note, quiet_if

_Name = TypeVar("_Name", bound=str)

Baseline: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Successful runs; their loops are not faults."),
]
"""``--baseline``."""

MinVisits: TypeAlias = Annotated[
    float, typer.Option(help="Visits to each state from which on it is a trap.")
]
"""``--min-visits``."""

HtmlFile: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the report as one page; - prints it.")
]
"""``--html``."""

JsonFile: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write everything as JSON; - prints it.")
]
"""``--json``."""

JUnitFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write what was found, or what --fail-on names, as JUnit XML; - too."
    ),
]
"""``--junit``."""

Context: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep only records with this label.")
]
"""``--context``."""

STATES_HELP = "What is a state: actions, nodes, tools, nodes+tools, or module:function of your own."
"""What ``--states`` says on each command."""

OpenBrowser: TypeAlias = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]
"""``--open``."""

SuccessValue: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VALUE", help="A value of that field that means success; '>=0.5' for numbers."
    ),
]
"""``--success-value``."""

SkipBadLines: TypeAlias = Annotated[
    bool, typer.Option("--skip-bad-lines", help="Skip broken records, and report how many.")
]
"""``--skip-bad-lines``."""

Block: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The label of the task of a run, or thread.")
]
"""``--block``."""


def _refuse_dash(name: str) -> str:
    if name == "-":
        raise typer.BadParameter(
            "the standard input is read once, to its end, and is no store; give a file or a URL"
        )
    return name


StoreArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="STORE", callback=_refuse_dash, help="A file of SQLite, or the URL of a store."
    ),
]
"""``STORE``."""

FollowedArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        callback=_refuse_dash,
        help="A store, by path or URL, or a JSON Lines file that grows.",
    ),
]
"""``SOURCE`` of what is followed."""

SourceArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Any trace, or a store: a file, a folder, a pattern in quotes, a URL, or -.",
    ),
]
"""``SOURCE``."""

RunUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of a run, such as https://example.org/{run}."),
]
"""``--run-url``."""

Window: TypeAlias = Annotated[
    int, typer.Option(min=100, help="How many of the last transitions count as recent.")
]
"""``--window``."""

AlarmLevel: TypeAlias = Annotated[
    float, typer.Option(help="Probability of a false alarm, over the whole time.")
]
"""``--alpha`` of a monitor."""


def reader_options(
    *,
    format: Annotated[  # noqa: A002 - the name of the option
        str | None, typer.Option(help="The format, if the file name does not say.")
    ] = None,
    states: Annotated[str | None, typer.Option(metavar="NAME", help=STATES_HELP)] = None,
    state_field: Annotated[
        str | None, typer.Option(help="Field of a step's state, or a text like {node}:{tool}.")
    ] = None,
    source_field: Annotated[
        str | None, typer.Option(help="Field of the state a move leaves.")
    ] = None,
    target_field: Annotated[
        str | None, typer.Option(help="Field of the state a move reaches.")
    ] = None,
    trajectory_field: Annotated[
        str | None, typer.Option(help="Field of the name of the run.")
    ] = None,
    order_field: Annotated[str | None, typer.Option(help="Field of the number of a step.")] = None,
    time_field: Annotated[str | None, typer.Option(help="Field of the time.")] = None,
    count_field: Annotated[str | None, typer.Option(help="Field of a count.")] = None,
    cost_field: Annotated[str | None, typer.Option(help="Field of the cost of a move.")] = None,
    failed_field: Annotated[
        str | None, typer.Option(help="Field that says whether a step failed.")
    ] = None,
    tokens_field: Annotated[str | None, typer.Option(help="Field of a step's tokens.")] = None,
    call_field: Annotated[
        str | None, typer.Option(help="Field of the call that a step made.")
    ] = None,
    answer_field: Annotated[str | None, typer.Option(help="Field of the answer to it.")] = None,
    block_field: Annotated[str | None, typer.Option(help="Field of the task of a run.")] = None,
    success_field: Annotated[
        str | None, typer.Option(help="Field that says whether a run succeeded.")
    ] = None,
    success_value: SuccessValue = None,
    context_field: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A field that becomes a label of runs.")
    ] = None,
    start_state: Annotated[
        str | None, typer.Option(help="What the trace calls the start of a run.")
    ] = None,
    end_state: Annotated[
        str | None, typer.Option(help="What the trace calls the end of a run.")
    ] = None,
    skip_bad_lines: SkipBadLines = False,
) -> dict[str, Any]:
    """Return options of the command line as those of `read_recording`, without empty ones.

    Examples
    --------
    >>> reader_options(order_field="n", end_state="done")
    {'step_field': 'n', 'boundaries': ('__start__', 'done')}
    """
    from detailed_balance.analyzers import END, START  # loads scipy

    named = start_state is not None or end_state is not None
    options = {
        "format": format,
        "states": None if states is None else _load_states(states),
        "state_field": state_field,
        "source_field": source_field,
        "target_field": target_field,
        "trajectory_field": trajectory_field,
        "step_field": order_field,
        "time_field": time_field,
        "count_field": count_field,
        "cost_field": cost_field,
        "failed_field": failed_field,
        "tokens_field": tokens_field,
        "call_field": call_field,
        "answer_field": answer_field,
        "block_field": block_field,
        "success_field": success_field,
        "success_values": tuple(success_value or ()),
        "context_fields": context_field,
        "boundaries": (start_state or START, end_state or END) if named else None,
        "skip_bad_lines": skip_bad_lines,
    }
    return {name: value for name, value in options.items() if value}


def _load_states(name: str) -> Any:
    """Return the state function of a name, also of a module in the working folder."""
    from detailed_balance.callbacks.named_states import find_states

    sys.path.insert(0, "")
    try:
        return find_states(name)
    finally:
        sys.path.remove("")


def selection_options(
    *,
    context: Context = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs that began since then.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs that began before then.")
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Keep runs that began in the last 90m, 12h, 7d, 2w."),
    ] = None,
    hide: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Hide a state: a > hub > b becomes a > b."),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Call a state NEW; OLD may have a *."),
    ] = None,
    block: Block = None,
) -> dict[str, Any]:
    """Return options of the command line as those of `open_source`, without empty ones.

    Examples
    --------
    >>> selection_options(merge=["search_*=search"], last="7d")
    {'last': '7d', 'merge': {'search_*': 'search'}}
    """
    options = {
        "context": parse_context(context or []),
        "since": since,
        "until": until,
        "last": last,
        "hide": tuple(hide or ()),
        "merge": parse_pairs(merge or [], "--merge", "OLD=NEW"),
        "block": block,
    }
    return {name: value for name, value in options.items() if value}


def _load_config(context: typer.Context, value: str | None) -> ConfigFile | None:
    names = {*signature(reader_options).parameters, *signature(selection_options).parameters}
    return load_config(context, value, names - {"since", "until", "last"} | {"baseline", "run_url"})


def _leave_config(context: typer.Context, value: bool) -> bool:
    if value and context.params.get("config") is not None:
        raise typer.BadParameter("give --config or --no-config, not both")
    return value


def _config_options(
    *,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            is_eager=True,
            callback=_load_config,
            help="Settings; by default detailed-balance.toml or pyproject.toml, here or above.",
        ),
    ] = None,
    no_config: Annotated[
        bool,
        typer.Option(
            "--no-config", is_eager=True, callback=_leave_config, help="Use no settings of a file."
        ),
    ] = False,
) -> dict[str, Any]:
    return {"config": config}


def _common_options(
    *,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print nothing but errors, and a file called -."),
    ] = False,
) -> dict[str, Any]:
    return {"quiet": quiet}


def takes_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that each has."""
    return _takes(command)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that each has, and those of a file of settings."""
    return _takes(command, has_settings=True)


def takes_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `reader_options`, whose result it takes as `reading`.

    An option of the same name that the command has of its own comes in place of the shared one.
    """
    return _takes(command, reader_options)


def takes_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `reader_options` and of `selection_options` as `reading`."""
    return _takes(command, selection_options, reader_options)


def takes_followed_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `takes_source_options` that a record which grows may have."""
    return _takes(command, selection_options, reader_options, without=("until",))


def _takes(
    command: Callable[..., None],
    *groups: Callable[..., dict[str, Any]],
    without: Collection[str] = (),
    has_settings: bool = False,
) -> Callable[..., None]:
    own = dict(signature(command, eval_str=True).parameters)
    own.pop("reading", None)
    has_settings = has_settings or bool(groups)
    last = [_config_options, _common_options] if has_settings else [_common_options]
    shared = [dict(signature(group, eval_str=True).parameters) for group in (*groups, *last)]
    left_out = {*own, *without}
    added = [[each for name, each in group.items() if name not in left_out] for group in shared]

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = [{option.name: given.pop(option.name) for option in group} for group in added]
        with quiet_if(chosen[-1]["quiet"]):
            if has_settings and (config := chosen[-2]["config"]) is not None:
                note(config.describe())  # the callback made a ConfigFile of it
            if groups:
                read = [group(**options) for group, options in zip(groups, chosen, strict=False)]
                given["reading"] = {name: each for part in read for name, each in part.items()}
            command(**given)

    parameters = [*own.values(), *(option for options in added for option in options)]
    vars(run)["__signature__"] = Signature(parameters)
    run.__annotations__ = {option.name: option.annotation for option in parameters}
    return run


def parse_conditions(given: Sequence[str], allowed: Sequence[_Name]) -> set[_Name]:
    """Return what `--fail-on` names, several times or with commas.

    Raises
    ------
    typer.BadParameter
        Where one is not allowed.

    Examples
    --------
    >>> sorted(parse_conditions(["drift,trap", "drift"], ["drift", "trap"]))
    ['drift', 'trap']
    """
    names = {name.strip() for text in given for name in text.split(",")}
    if unknown := sorted(names - set(allowed)):
        raise typer.BadParameter(
            f"unknown {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}",
            param_hint="--fail-on",
        )
    return {name for name in allowed if name in names}


def parse_context(pairs: Sequence[str]) -> dict[str, str] | None:
    """Return labels given as NAME=VALUE, None where there are none.

    Raises
    ------
    typer.BadParameter
        Where one is not of that form.
    """
    return parse_pairs(pairs, "--context", "NAME=VALUE")


def parse_pairs(pairs: Sequence[str], option: str, form: str) -> dict[str, str] | None:
    """Return what an option was given as pairs with an equals sign, None where there are none.

    Raises
    ------
    typer.BadParameter
        Where one is not of that form.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, found[name] = pair.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{pair!r} is not {form}", param_hint=option)
    return found or None
