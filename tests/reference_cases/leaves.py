"""What most cases need: inputs as float64 leaves, and the gradients of a loss at them."""

import torch

from textcl.types import Embeddings


def leaves(inputs, *names):
    """The named inputs as tensors that collect gradients; those that the case lacks are left out."""
    return {
        name: torch.tensor(inputs[name], dtype=torch.float64, requires_grad=True)
        for name in names
        if inputs.get(name) is not None
    }


def numbered(inputs, letter="n"):
    """Those of the names n1, n2, … that a case has, in this order."""
    names = [name for name in inputs if name.startswith(letter) and name[len(letter) :].isdigit()]
    return sorted(names, key=lambda name: int(name[len(letter) :]))


def gradients(loss, tensors):
    """Gradient of the loss at each tensor, zeros where it has none."""
    if not loss.requires_grad:
        return {name: torch.zeros_like(x).numpy() for name, x in tensors.items()}
    grads = torch.autograd.grad(
        loss, list(tensors.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return {name: g.numpy() for name, g in zip(tensors, grads, strict=True)}


def embeddings(tensors, names, labels=None):
    """The tensors under the names that an objective reads."""
    renamed = {names[name]: x for name, x in tensors.items()}
    return Embeddings.of(labels=None if labels is None else torch.tensor(labels), **renamed)


class UnitRows:
    """A transform that changes nothing and keeps the table: official functions take unit rows as their input."""

    def __init__(self):
        self.contrast = None

    def __call__(self, contrast, z):
        self.contrast = contrast
        return contrast

    def gradient(self, loss):
        """Gradient at the unit rows, which are anchors and candidates at once, in the order of the views."""
        tensors = {"anchors": self.contrast.anchors, "candidates": self.contrast.candidates}
        at = gradients(loss, tensors)
        return at["anchors"] + at["candidates"]
