"""The parts of a method that a run moves: modules on their device, the optimizer, and what is done with both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from textcl.data.rows import Rows
from textcl.encoder.packing.lookup import clear_gradients
from textcl.method.method import Method, online_of
from textcl.training.settings import TrainSettings
from textcl.transfer import in_one_buffer
from textcl.types import Batch, Embeddings, LossOutput, Tokens


class Parts:
    """Modules and optimizer of a run, prepared by Accelerate.

    Args:
        method: What is trained.
        settings: Of the run.
        accelerator: Devices, precision and processes.

    Attributes:
        modules: Everything with weights or buffers, by name: what a checkpoint holds.
        optimizer: AdamW; its state goes into checkpoints too.
    """

    def __init__(self, method: Method, settings: TrainSettings, accelerator: Accelerator) -> None:
        self.method, self.settings, self.accelerator = method, settings, accelerator
        self.online = online_of(method)
        self.modules: dict[str, nn.Module] = {
            "embedder": method.embedder(),
            "objective": method.objective,
            **{f"state-{name}": module for name, module in method.state.items()},
        }
        for module in self.modules.values():
            module.to(accelerator.device)
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=0.0, fused=True)
        learns = any(p.requires_grad for p in method.objective.parameters())
        with warnings.catch_warnings():  # Accelerate knows no other name for it
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.embedder = accelerator.prepare(self.modules["embedder"])
            self.objective = accelerator.prepare(method.objective) if learns else method.objective
        self._stepper = accelerator.prepare(self.optimizer)

    def train(self) -> None:
        """Dropout and batch statistics act from here on."""
        self.embedder.train()
        self.objective.train()

    def ready(self, batch: Batch) -> Batch:
        """A batch with all index work of its step done, in one buffer where it goes to another device.

        Args:
            batch: On the CPU; any thread may make it ready.
        """
        planned, device = self.method.plan(batch), self.accelerator.device
        if device.type == "cpu":
            return planned
        return in_one_buffer(planned, pin=device.type == "cuda")

    def backprop(self, batch: Batch) -> tuple[LossOutput, Embeddings]:
        """Loss and embeddings of a batch, whose gradient is added to that of the parameters."""
        return self.method.backprop(self.embedder, self.objective, batch, self.accelerator.backward)

    def update(self, rate: float) -> Tensor:
        """Clip the gradient, move the weights and clear the gradient.

        Args:
            rate: Learning rate; parts with a rate of their own are moved in proportion.

        Returns:
            Norm of the gradient before clipping, on its device.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        bound = self.settings.max_grad_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(parameters, bound)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self._stepper.step()
        self.clear_gradients()
        return torch.as_tensor(norm).detach()

    def clear_gradients(self) -> None:
        """Set all gradients to zero."""
        clear: Callable[[], None] = self._stepper.zero_grad
        if self.accelerator.num_processes > 1:  # what averages over processes owns the buffers
            clear()
        else:
            clear_gradients(self.modules["embedder"], clear)

    def embed_all(
        self, rows: Rows, read: Callable[[Sequence[str]], Tokens]
    ) -> Float[Tensor, "N D"]:
        """Embeddings of all rows in row order, by the momentum encoder where there is one.

        These are the vectors that the loss compares, behind a projector too, but without dropout.

        Args:
            rows: The data set.
            read: Texts to tokens, as in the batches of the first view.
        """
        encoder = self.method.encoders.get("momentum", self.online)
        first = next(iter(self.method.views.values()))
        training = encoder.training
        encoder.eval()
        parts: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(rows), 256):
                block = rows[range(start, min(start + 256, len(rows)))]
                tokens = read([str(row[first.column]) for row in block])
                parts.append(encoder(tokens))
        encoder.train(training)
        return torch.cat(parts)

    def _parameter_groups(self) -> list[dict[str, object]]:
        """Weights with decay, and biases, norms and scalars without; for each learning rate."""
        factors: dict[nn.Parameter, float] = {}
        for module, rate in self.method.rates:
            factor = rate / self.settings.learning_rate if self.settings.learning_rate else 0.0
            factors |= dict.fromkeys(module.parameters(), factor)
        trained = [
            p
            for module in (self.modules["embedder"], self.method.objective)
            for p in module.parameters()
            if p.requires_grad
        ]
        groups: list[dict[str, object]] = []
        for factor in dict.fromkeys([1.0, *factors.values()]):
            here = [p for p in trained if factors.get(p, 1.0) == factor]
            for decay, chosen in (
                (self.settings.weight_decay, [p for p in here if p.ndim >= 2]),
                (0.0, [p for p in here if p.ndim < 2]),
            ):
                groups.append({"params": chosen, "weight_decay": decay, "factor": factor})
        return groups
