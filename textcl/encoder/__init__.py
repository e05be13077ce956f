"""Texts to vectors: the encoder around a HuggingFace model, its folders and its inference."""
