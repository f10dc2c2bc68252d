"""Reading expressions: a small language, its limits, and a parser that runs nothing.

The text comes from a language model, so that it is hostile: it may be endless, nested without end,
or a program. Here it is only ever cut into tokens and laid out as a tree; each limit is checked
before the work that it bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.render.formatting import safe_text

__all__ = [
    "FUNCTIONS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_NODES",
    "PAPER_FUNCTIONS",
    "PI",
    "ExpressionError",
    "Node",
    "check_variables",
    "is_parameter",
    "read_tree",
]

FUNCTIONS = ("abs", "cos", "exp", "log", "sin", "sqrt", "tanh")
"""The functions of the language, each of one argument."""

PI = "pi"
"""A constant that the paper counts among its functions."""

PAPER_FUNCTIONS = (
    *FUNCTIONS,
    *("arccos", "arcsin", "arctan", "log10", "square", "tan"),
    PI,
)
"""Those of the paper: the same and more."""

MAX_LENGTH = 300
"""Characters of an expression."""

MAX_DEPTH = 20
"""Parentheses, signs and powers that may lie inside one another."""

MAX_NODES = 60
"""Numbers, names and operators of an expression."""

MAX_DIGITS = 25
"""Characters of a number."""

_TOKEN = re.compile(
    r"\s*(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|\s*(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|\s*(?P<sign>\*\*|[-+*/()])"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]{0,39}")
_PARAMETER = re.compile(r"c[0-9]*")
# How strongly an operator binds; a sign in front lies between products and powers, as in Python.
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
_PREFIX = 3
_SHOWN = 40


class ExpressionError(InvalidInputError):
    """A text is not an expression of the language; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression.

    Parameters
    ----------
    head : str
        The number, the name or the operator. There are sums "+" and products "*" of any number of
        arguments, "-" and "/" of one (the negative, the inverse), "**" of two, and functions.
    arguments : tuple of Node
        Empty for a number and a name.
    """

    head: str
    arguments: tuple[Node, ...] = ()


def is_parameter(head: str) -> bool:
    """Say whether a name is that of a parameter: ``c``, or ``c`` and a number.

    Examples
    --------
    >>> is_parameter("c"), is_parameter("c12"), is_parameter("cos")
    (True, True, False)
    """
    return _PARAMETER.fullmatch(head) is not None


def check_variables(names: Collection[str]) -> tuple[str, ...]:
    """Return the names of variables, where the language can have them.

    Raises
    ------
    InvalidInputError
        Where one is not a name, or means something else already.
    """
    for name in names:
        if not _NAME.fullmatch(name) or is_parameter(name) or name in PAPER_FUNCTIONS:
            raise InvalidInputError(
                f"no variable can be called {safe_text(name)!r}: a name has up to 40 letters,"
                " digits and underscores, begins with no digit, and is neither a function"
                f" ({', '.join(PAPER_FUNCTIONS)}) nor a parameter (c, c0, c1, ...). Rename the"
                " column"
            )
    return tuple(names)


def read_tree(
    text: str, variables: Collection[str], functions: Collection[str] = FUNCTIONS
) -> Node:
    """Return the tree of an expression, as it is written.

    Parameters
    ----------
    text : str
        Anything.
    variables : collection of str
        The variables that it may use.
    functions : collection of str
        The functions that it may use, of `PAPER_FUNCTIONS`.

    Raises
    ------
    ExpressionError
        Where it is not an expression of the language, or beyond one of the limits.

    Examples
    --------
    >>> read_tree("-x ** 2", ["x"])  # doctest: +NORMALIZE_WHITESPACE
    Node(head='-', arguments=(Node(head='**',
         arguments=(Node(head='x', arguments=()), Node(head='2', arguments=()))),))
    >>> read_tree("x.real", ["x"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    examples.paper.symbolic.grammar.ExpressionError: '.real' at 1 is not of the language; ...
    """
    return _Reader(_cut(text), frozenset(variables), tuple(functions)).read()


def _cut(text: str) -> list[tuple[str, str]]:
    """Cut a text into tokens, each with its kind; the last one is of the kind "end"."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{len(text)} characters; an expression has up to {MAX_LENGTH}")
    if not text.isascii():
        odd = next(character for character in text if not character.isascii())
        raise ExpressionError(f"U+{ord(odd):04X} is not of the language: write it in ASCII")
    text = text.rstrip()
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(
                f"{_show(text[place:])} at {place} is not of the language; it has + - * / **,"
                " parentheses, numbers, names and functions"
            )
        kind = str(found.lastgroup)
        tokens.append((kind, found[kind]))
        place = found.end()
    return [*tokens, ("end", "")]


class _Reader:
    """A parser by binding strengths (Pratt's), over tokens."""

    def __init__(
        self, tokens: list[tuple[str, str]], variables: frozenset[str], functions: tuple[str, ...]
    ) -> None:
        self._tokens = tokens
        self._variables = variables
        self._functions = functions
        self._place = 0
        self._nodes = 0

    def read(self) -> Node:
        tree = self._expression(0, 0)
        if self._tokens[self._place][0] != "end":
            raise ExpressionError(f"there is {self._seen()} where an operator should be")
        return tree

    def _expression(self, binding: int, depth: int) -> Node:
        """Read operands as long as the operators between them bind more than `binding`."""
        if depth > MAX_DEPTH:
            raise ExpressionError(f"it is nested more than {MAX_DEPTH} deep")
        left = self._operand(depth)
        while _BINDING.get(sign := self._tokens[self._place][1], 0) > binding:
            self._place += 1
            # A power binds what follows first: x ** y ** z is x ** (y ** z).
            right = self._expression(_PREFIX if sign == "**" else _BINDING[sign], depth + 1)
            left = self._join(sign, left, right)
        return left

    def _operand(self, depth: int) -> Node:
        kind, piece = self._tokens[self._place]
        self._place += 1
        if kind == "number":
            return self._make(_read_number(piece))
        if kind == "name":
            return self._name(piece, depth)
        if piece == "-":
            return self._make("-", self._expression(_PREFIX, depth + 1))
        if piece == "+":
            return self._expression(_PREFIX, depth + 1)
        if piece == "(":
            return self._inside(depth)
        self._place -= 1
        raise ExpressionError(f"there is {self._seen()} where a value should be")

    def _name(self, name: str, depth: int) -> Node:
        called = self._tokens[self._place][1] == "("
        if called and name in self._functions and name != PI:
            self._place += 1
            return self._make(name, self._inside(depth))
        known_name = name in self._variables or is_parameter(name)
        if not called and (known_name or (name == PI and PI in self._functions)):
            return self._make(name)
        variables, functions = sorted(self._variables), self._functions
        known = f"variables {', '.join(variables)}; functions {', '.join(functions)}"
        kind = "function" if called else "variable"
        raise ExpressionError(f"there is no {kind} {_show(name)}; {known}; parameters c, c0, ...")

    def _inside(self, depth: int) -> Node:
        """Read up to the closing parenthesis."""
        node = self._expression(0, depth + 1)
        if self._tokens[self._place][1] != ")":
            raise ExpressionError(f"there is {self._seen()} where ')' should be")
        self._place += 1
        return node

    def _join(self, sign: str, left: Node, right: Node) -> Node:
        if sign == "-":
            return self._make("+", left, self._make("-", right))
        if sign == "/":
            return self._make("*", left, self._make("/", right))
        return self._make(sign, left, right)

    def _make(self, head: str, *arguments: Node) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ExpressionError(f"it has more than {MAX_NODES} numbers, names and operators")
        return Node(head, arguments)

    def _seen(self) -> str:
        kind, piece = self._tokens[self._place]
        return "the end" if kind == "end" else _show(piece)


def _read_number(token: str) -> str:
    """Return the shortest text of the same number."""
    if len(token) > MAX_DIGITS:
        raise ExpressionError(f"{_show(token)} is too long; a number has up to {MAX_DIGITS} digits")
    value = float(token)
    if not math.isfinite(value):
        raise ExpressionError(f"{_show(token)} is too large for a number")
    return repr(value).removesuffix(".0")


def _show(text: str) -> str:
    return repr(safe_text(text, _SHOWN))
