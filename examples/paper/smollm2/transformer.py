"""A decoder of the Llama family on numpy: tokens in, hidden states and logits out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Layer", "Past", "Transformer"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The weights of one layer, float32; matrices are (out, in).

    The last ones are of models other than Llama: what is added to queries, keys and values, norms
    of each head of queries and keys, norms of what attention and feed-forward give, and the
    rotation of this layer where it has its own.
    """

    attention_norm: NDArray[np.float32]
    query: NDArray[np.float32]
    key: NDArray[np.float32]
    value: NDArray[np.float32]
    output: NDArray[np.float32]
    feed_norm: NDArray[np.float32]
    gate: NDArray[np.float32]
    up: NDArray[np.float32]
    down: NDArray[np.float32]
    query_bias: NDArray[np.float32] | None = None
    key_bias: NDArray[np.float32] | None = None
    value_bias: NDArray[np.float32] | None = None
    query_norm: NDArray[np.float32] | None = None
    key_norm: NDArray[np.float32] | None = None
    attention_after: NDArray[np.float32] | None = None
    feed_after: NDArray[np.float32] | None = None
    rope_base: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The keys and values of tokens that later tokens attend to.

    Parameters
    ----------
    keys, values : (layers, b, kv heads, s, width) array of float32
        Of s slots in b rows; one row serves every row of a batch.
    seen : (b, s) array of bool
        Which slots hold a token; the others are padding.
    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    seen: NDArray[np.bool_]

    def head(self, slots: int) -> Past:
        """Return the first `slots` slots."""
        return Past(self.keys[..., :slots, :], self.values[..., :slots, :], self.seen[:, :slots])

    def rows(self, chosen: NDArray[np.int64]) -> Past:
        """Return the rows `chosen`."""
        return Past(self.keys[:, chosen], self.values[:, chosen], self.seen[chosen])

    def then(self, later: Past) -> Past:
        """Return the slots of both, as many rows in each."""
        return Past(
            np.concatenate([self.keys, later.keys], axis=3),
            np.concatenate([self.values, later.values], axis=3),
            np.concatenate([self.seen, later.seen], axis=1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Transformer:
    """The weights of a model, and what is computed from them.

    Parameters
    ----------
    embedding : (vocabulary, width) array of float32
        Of the tokens; the logits are made with it too, unless `output` is given.
    layers : tuple of Layer
        From the first to the last.
    final_norm : (width,) array of float32
        Before the logits.
    heads, kv_heads : int
        Of the queries, and of the keys and values.
    rope_base, epsilon : float
        Of the rotation by place, and of the norms.
    output : (vocabulary, width) array of float32, optional
        What the logits are made with.
    scale : float
        Of the embedding of a token that is read.
    gelu : bool
        GELU, by its tanh formula, in place of SiLU.
    """

    embedding: NDArray[np.float32]
    layers: tuple[Layer, ...]
    final_norm: NDArray[np.float32]
    heads: int
    kv_heads: int
    rope_base: float
    epsilon: float
    output: NDArray[np.float32] | None = None
    scale: float = 1.0
    gelu: bool = False

    def forward(
        self,
        tokens: NDArray[np.int64],
        places: NDArray[np.int64],
        pasts: Sequence[Past],
        visible: NDArray[np.bool_],
        real: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.float32], Past]:
        """Run the layers over n new tokens in each of b rows.

        Parameters
        ----------
        tokens, places : (b, n) array of int
            The tokens and how many tokens stand before each in its text.
        pasts : sequence of Past
            What every new token sees.
        visible : (n, n) array of bool
            Which of the new tokens (columns) each of them (rows) sees, itself included.
        real : (b, n) array of bool, optional
            Which new tokens are not padding; all by default.

        Returns
        -------
        hidden : (b, n, width) array of float32
            For `logits`.
        past : Past
            Of the new tokens.
        """
        b, n = tokens.shape
        real = np.ones((b, n), dtype=bool) if real is None else real
        # Padding sees itself, or its softmax would be over nothing.
        own = visible & (real[:, None, :] | np.eye(n, dtype=bool))
        seen = [np.broadcast_to(past.seen[:, None], (b, n, past.seen.shape[1])) for past in pasts]
        bias = np.where(np.concatenate([*seen, own], axis=2), 0, -np.inf).astype(np.float32)
        bases = [layer.rope_base or self.rope_base for layer in self.layers]
        turns = {base: self._rotation(places, base) for base in set(bases)}
        activate = _gelu if self.gelu else _silu
        x = self.embedding[tokens.ravel()] * np.float32(self.scale)
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            turn = turns[bases[i]]
            y = self._norm(x, layer.attention_norm)
            q = _split(_add(y @ layer.query.T, layer.query_bias), b, self.heads)
            key = _split(_add(y @ layer.key.T, layer.key_bias), b, self.kv_heads)
            keys.append(_rotate(self._norm(key, layer.key_norm), turn))
            values.append(_split(_add(y @ layer.value.T, layer.value_bias), b, self.kv_heads))
            k, v = ([*(part[i] for part in parts)] for parts in _both(pasts))
            q = _rotate(self._norm(q, layer.query_norm), turn)
            taken = _attend(q, [*k, keys[-1]], [*v, values[-1]], bias) @ layer.output.T
            x += self._norm(taken, layer.attention_after)
            y = self._norm(x, layer.feed_norm)
            fed = (activate(y @ layer.gate.T) * (y @ layer.up.T)) @ layer.down.T
            x += self._norm(np.asarray(fed, dtype=np.float32), layer.feed_after)
        return x.reshape(b, n, -1), Past(np.stack(keys), np.stack(values), real)

    def logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (m, vocabulary) logits after each of m hidden states."""
        output = self.embedding if self.output is None else self.output
        return np.asarray(self._norm(hidden, self.final_norm) @ output.T)

    def no_past(self) -> Past:
        """Return one row without a slot."""
        width = len(self.layers[0].key) // self.kv_heads
        nothing = np.zeros((len(self.layers), 1, self.kv_heads, 0, width), dtype=np.float32)
        return Past(nothing, nothing, np.zeros((1, 0), dtype=bool))

    def _norm(
        self, x: NDArray[np.float32], weight: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Return `x` itself where the model has no such norm."""
        if weight is None:
            return x
        size = np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return np.asarray(x / size * weight)

    def _rotation(self, places: NDArray[np.int64], base: float) -> NDArray[np.complex64]:
        """Return the (b, 1, n, width / 2) turns of the pairs of a head at each place."""
        width = len(self.layers[0].key) // self.kv_heads
        speeds = base ** (-np.arange(0, width, 2) / width)
        return np.asarray(np.exp(1j * places[:, None, :, None] * speeds), dtype=np.complex64)


def _both(pasts: Sequence[Past]) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    return [past.keys for past in pasts], [past.values for past in pasts]


def _add(x: NDArray[np.float32], bias: NDArray[np.float32] | None) -> NDArray[np.float32]:
    return x if bias is None else x + bias


def _split(flat: NDArray[np.float32], b: int, heads: int) -> NDArray[np.float32]:
    """Turn (b * n, heads * width) into (b, heads, n, width)."""
    return np.ascontiguousarray(flat.reshape(b, len(flat) // b, heads, -1).transpose(0, 2, 1, 3))


def _rotate(x: NDArray[np.float32], turn: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Turn neighbouring pairs, as GGUF orders them."""
    return (x.view(np.complex64) * turn).view(np.float32)


def _attend(
    q: NDArray[np.float32],
    keys: Sequence[NDArray[np.float32]],
    values: Sequence[NDArray[np.float32]],
    bias: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return (b * n, heads * width): what each token takes from the tokens that it sees.

    Each part of the keys has b rows or one row for all, which is then not copied. Several heads
    of the queries share one of the keys.
    """
    b, heads, n, width = q.shape
    kv_heads = keys[0].shape[1]
    q = q.reshape(b, kv_heads, -1, width) * np.float32(width**-0.5)
    scores = np.concatenate([q @ k.swapaxes(2, 3) for k in keys], axis=3)
    scores = scores.reshape(b, kv_heads, heads // kv_heads, n, -1) + bias[:, None, None]
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    shares = scores.reshape(b, kv_heads, -1, scores.shape[-1])
    cuts = np.cumsum([k.shape[2] for k in keys])[:-1]
    parts = zip(np.split(shares, cuts, axis=3), values, strict=True)
    mixed = np.sum([share @ v for share, v in parts], axis=0)
    mixed = mixed.reshape(b, heads, n, width).transpose(0, 2, 1, 3)
    return np.asarray(mixed.reshape(b * n, -1), dtype=np.float32)


def _silu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x / (1 + np.exp(-x)), dtype=np.float32)


def _gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return np.asarray(x * (1 + np.tanh(inner)) / 2, dtype=np.float32)
