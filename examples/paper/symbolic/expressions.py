"""Expressions as states: one text for all ways to write the same, and their values.

The canonical text of an expression does not depend on spaces, on superfluous parentheses, on the
order of terms and factors, or on the names of parameters: a sum is a set of terms with signs, a
product a set of factors and divisors with one sign, and 1 as a factor is left out. A parameter
that is there once is ``c``; those that are there more often are ``c0``, ``c1``, ..., named so that
the text is the smallest. That is all: ``x + x`` and ``2 * x`` are two states.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.render.formatting import safe_text
from examples.paper.symbolic.grammar import (
    FUNCTIONS,
    PAPER_FUNCTIONS,
    PI,
    ExpressionError,
    Node,
    is_parameter,
    read_tree,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MAX_SHARED", "Expression", "canonical_text", "evaluate", "parse_expression"]

MAX_SHARED = 4
"""Parameters that may be there more than once: all their orders are tried."""

_ONE = Node("1")
_OPERATORS = frozenset({"+", "*", "-", "/", "**"})


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression in its canonical form.

    Parameters
    ----------
    text : str
        The canonical text; the state.
    tree : Node
        Its parts, in the order of the text.
    shared : int
        How many parameters are there more than once; their values come first.
    parameters : int
        How many parameters there are.
    complexity : int
        How many numbers, names and operators.
    """

    text: str
    tree: Node
    shared: int
    parameters: int
    complexity: int

    def __str__(self) -> str:
        return self.text


def parse_expression(
    text: str, variables: Collection[str], functions: Collection[str] = FUNCTIONS
) -> Expression:
    """Read an expression, and bring it into its canonical form.

    Parameters
    ----------
    text : str
        Anything; nothing in it is run.
    variables : collection of str
        The variables that it may use.
    functions : collection of str
        The functions that it may use, of `PAPER_FUNCTIONS`.

    Raises
    ------
    ExpressionError
        Where it is not an expression of the language, beyond one of its limits, or holds a constant
        that is not finite.

    Examples
    --------
    >>> parse_expression("c1*exp( x ) - (c0)", ["x"]).text
    'c * exp(x) - c'
    >>> parse_expression("-c + exp(x)*c", ["x"]).text
    'c * exp(x) - c'
    >>> parse_expression("c7 * x + x ** c7", ["x"]).text
    'c0 * x + x ** c0'
    """
    tree = read_tree(text, variables, functions)
    _check_constants(tree)
    canonical = canonical_text(tree)
    tree = _normalise(read_tree(canonical, variables, functions))
    heads = Counter(head for head in _heads(tree) if is_parameter(head))
    shared = len(heads.keys() - {"c"})
    return Expression(canonical, tree, shared, shared + heads["c"], sum(1 for _ in _heads(tree)))


def canonical_text(tree: Node) -> str:
    """Return the one text of all trees that are equal by the rules above.

    Raises
    ------
    ExpressionError
        Where more than four parameters are there more than once.

    Examples
    --------
    >>> canonical_text(Node("*", (Node("x"), Node("-", (Node("c"),)))))
    '-c * x'
    """
    heads = Counter(head for head in _heads(tree) if is_parameter(head) and head != "c")
    shared = [head for head, count in heads.items() if count > 1]
    if len(shared) > MAX_SHARED:
        raise ExpressionError(
            f"{len(shared)} parameters are there more than once; up to {MAX_SHARED} may be"
        )
    own = dict.fromkeys(heads, "c")
    orders = permutations(f"c{place}" for place in range(len(shared)))
    named = (own | dict(zip(shared, order, strict=True)) for order in orders)
    return min(_write(_normalise(_rename(tree, names))) for names in named)


def evaluate(
    expression: Expression, variables: Mapping[str, ArrayLike], parameters: ArrayLike = ()
) -> NDArray[np.float64]:
    """Return the values of an expression; where it has none they are NaN or infinite.

    Parameters
    ----------
    expression : Expression
        What to compute.
    variables : mapping of str to (n,) array_like
        The values of its variables.
    parameters : (p,) array_like
        Those of its parameters: ``c0``, ``c1``, ..., then each ``c`` as it comes in the text.

    Returns
    -------
    (n,) array of float
        In the broadcast shape of all variables.

    Raises
    ------
    InvalidInputError
        Where there are more or fewer parameters than the expression has.

    Examples
    --------
    >>> line = parse_expression("c + c * x", ["x"])
    >>> evaluate(line, {"x": [0.0, 2.0]}, [1.0, 3.0]).tolist()
    [1.0, 7.0]
    """
    values = np.asarray(parameters, dtype=np.float64)
    if values.shape != (expression.parameters,):
        raise ExpressionError(
            f"{expression.text} has {expression.parameters} parameters; got {values.shape}"
        )
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in variables.items()}
    shape = np.broadcast_shapes(*(column.shape for column in columns.values()))
    names = columns | {f"c{i}": values[i] for i in range(expression.shared)}
    own = iter(values[expression.shared :])
    with np.errstate(all="ignore"):
        result = _value(expression.tree, names, own)
    return np.broadcast_to(np.asarray(result, dtype=np.float64), shape).copy()


def _value(node: Node, names: Mapping[str, Any], own: Iterator[Any]) -> Any:
    head = node.head
    if not node.arguments:
        if head == "c":
            return next(own)
        return names[head] if head in names else np.float64(np.pi if head == PI else head)
    values = [_value(argument, names, own) for argument in node.arguments]
    if head in PAPER_FUNCTIONS:
        return getattr(np, head)(values[0])
    if head in {"-", "/"}:
        return -values[0] if head == "-" else 1 / values[0]
    return reduce({"+": np.add, "*": np.multiply, "**": np.power}[head], values)


def _check_constants(tree: Node) -> None:
    """Refuse a part without names that is not a finite number, such as 10 ** 10 ** 10."""
    with np.errstate(all="ignore"):
        for node in _parts(tree):
            leaves = [part.head for part in _parts(node) if not part.arguments]
            if any(not head[0].isdigit() for head in leaves):
                continue
            if not math.isfinite(_value(node, {}, iter(()))):
                shown = safe_text(_write(_normalise(node)))
                raise ExpressionError(f"{shown} is not a finite number")


def _parts(node: Node) -> Iterator[Node]:
    yield node
    for argument in node.arguments:
        yield from _parts(argument)


def _heads(node: Node) -> Iterator[str]:
    return (part.head for part in _parts(node))


def _rename(node: Node, names: Mapping[str, str]) -> Node:
    arguments = tuple(_rename(argument, names) for argument in node.arguments)
    return Node(names.get(node.head, node.head), arguments)


def _normalise(node: Node) -> Node:
    """Make sums and products flat, and move every sign and every inverse outwards."""
    arguments = tuple(map(_normalise, node.arguments))
    if node.head == "+":
        return _sum(arguments)
    if node.head == "*":
        return _product(arguments)
    if node.head == "-":
        return _negative(arguments[0])
    return _inverse(arguments[0]) if node.head == "/" else Node(node.head, arguments)


def _sum(terms: Iterable[Node]) -> Node:
    flat = _flatten("+", terms)
    return flat[0] if len(flat) == 1 else Node("+", flat)


def _product(factors: Iterable[Node]) -> Node:
    signed = [_split_sign(factor) for factor in factors]
    flat = _flatten("*", (factor for _, factor in signed))
    flat = tuple(factor for factor in flat if factor != _ONE) or (_ONE,)
    product = flat[0] if len(flat) == 1 else Node("*", flat)
    return _negative(product) if sum(negative for negative, _ in signed) % 2 else product


def _flatten(head: str, nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(
        part for node in nodes for part in (node.arguments if node.head == head else (node,))
    )


def _split_sign(node: Node) -> tuple[bool, Node]:
    """Return whether a factor is turned round, and the factor: c - x and x - c are one."""
    if node.head == "-":
        return True, node.arguments[0]
    if node.head != "+":
        return False, node
    other = _negative(node)
    keys = [(sum(term.head == "-" for term in way.arguments), _write(way)) for way in (node, other)]
    return (True, other) if keys[1] < keys[0] else (False, node)


def _negative(node: Node) -> Node:
    if node.head == "-":
        return node.arguments[0]
    if node.head == "+":
        return Node("+", tuple(map(_negative, node.arguments)))
    if node.head == "*" and any(map(_is_own_negative, node.arguments)):
        return node
    return Node("-", (node,))


def _is_own_negative(node: Node) -> bool:
    """Say whether a sum is 0 as it is written, like x - x: a sign before it says nothing."""
    return node.head == "+" and _write(node) == _write(_negative(node))


def _inverse(node: Node) -> Node:
    negative, node = _split_sign(node)
    if node.head == "*":
        result = Node("*", tuple(map(_inverse, node.arguments)))
    elif node.head == "/" or node == _ONE:
        result = node.arguments[0] if node.arguments else node
    else:
        result = Node("/", (node,))
    return _negative(result) if negative else result


def _write(node: Node) -> str:
    """Write a normalised tree, the arguments of sums and products sorted."""
    head, arguments = node.head, node.arguments
    if not arguments:
        return head
    if head in {"+", "-"}:
        return _write_sum(arguments if head == "+" else (node,))
    if head in {"*", "/"}:
        return _write_product(arguments if head == "*" else (node,))
    if head == "**":
        return " ** ".join(_enclose(argument, _OPERATORS) for argument in arguments)
    return f"{head}({_write(arguments[0])})"


def _write_sum(terms: tuple[Node, ...]) -> str:
    plus = sorted(_write(term) for term in terms if term.head != "-")
    minus = sorted(_write(term.arguments[0]) for term in terms if term.head == "-")
    text = " + ".join(plus) + "".join(f" - {term}" for term in minus)
    return text if plus else f"-{text[3:]}"


def _write_product(factors: tuple[Node, ...]) -> str:
    above = sorted(_enclose(factor, {"+"}) for factor in factors if factor.head != "/")
    below = sorted(_enclose(factor.arguments[0], {"+"}) for factor in factors if factor.head == "/")
    return " * ".join(above or ["1"]) + "".join(f" / {divisor}" for divisor in below)


def _enclose(node: Node, heads: Collection[str]) -> str:
    return f"({_write(node)})" if node.head in heads else _write(node)
