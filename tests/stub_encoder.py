"""An encoder whose vectors are known without a model."""

import numpy as np


class StubEncoder:
    """A vector that tells its text: length, words, 1, …; a token per word, and two special ones."""

    dimension, max_length, truncate_dim = 6, 8, None
    prompts, default_prompt = {"query": "find the following: "}, None

    def __init__(self):
        self.calls = []

    def encode(self, texts, *, truncate_dim=None, normalize=False, prompt=None, **options):
        self.calls.append({"rows": len(texts), "prompt": prompt, **options})
        vectors = np.ones((len(texts), self.dimension), np.float32)
        vectors[:, 0] = [len(text) for text in texts]
        vectors[:, 1] = [len(text.split()) for text in texts]
        vectors = vectors[:, :truncate_dim]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors

    def tokenize(self, texts, max_length=None):
        lengths = [min(len(text.split()) + 2, max_length or self.max_length) for text in texts]
        import torch  # not before it is needed: some tests start a process with this module

        from textcl.types import Tokens

        return Tokens(torch.zeros(sum(lengths), dtype=torch.long), torch.tensor(lengths))
