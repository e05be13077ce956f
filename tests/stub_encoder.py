"""An encoder whose vectors are known without a model."""

import os
import signal

import numpy as np


class StubEncoder:
    """A vector that tells its text: length, words, 1, …; a token per word, and two special ones."""

    dimension, max_length, truncate_dim = 6, 8, None
    prompts, default_prompt = {"query": "find the following: "}, None

    def __init__(self):
        self.calls = []

    def encode(
        self,
        texts,
        *,
        truncate_dim=None,
        normalize=False,
        prompt=None,
        prompt_text=None,
        dtype="float32",
        **options,
    ):
        self.calls.append({"rows": len(texts), "prompt": prompt, **options})
        vectors = np.ones((len(texts), self.dimension), np.float32)
        vectors[:, 0] = [len(text) for text in texts]
        vectors[:, 1] = [len(text.split()) for text in texts]
        vectors = vectors[:, :truncate_dim]
        if normalize:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(dtype)

    def reader(self, *, prompt=None, prompt_text=None):
        return StubReader(self.prompts[prompt] if prompt else prompt_text or "", self.max_length)


class StubReader:
    """Counts the words, and two special tokens."""

    def __init__(self, prompt, max_length):
        self.prompt, self.max_length = prompt, max_length

    def count_cut(self, texts):
        return sum(len((self.prompt + text).split()) + 2 > self.max_length for text in texts)


class DiesOnce(StubEncoder):
    """Kills its process at the row that has 30 letters, unless the file is there."""

    def __init__(self, flag):
        super().__init__()
        self.flag = flag

    def encode(self, texts, **options):
        if any("x" * 30 in text for text in texts) and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, **options)
