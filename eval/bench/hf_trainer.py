"""SimCSE as its authors train it: HuggingFace's trainer, padded rows, both copies of a row in one forward pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments


class SimCse(nn.Module):
    """The mean over tokens and InfoNCE at temperature 0.05 between two dropout masks of the same rows."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Loss of a batch whose second half repeats the first."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask[..., None].to(states.last_hidden_state.dtype)
        vectors = (states.last_hidden_state * mask).sum(1) / mask.sum(1)
        first, second = F.normalize(vectors.float(), dim=-1).chunk(2)
        targets = torch.arange(len(first), device=first.device)
        return {"loss": F.cross_entropy(first @ second.T / 0.05, targets)}


def train_padded(
    model: Path,
    lines: Sequence[str],
    batch: int,
    *,
    length: int,
    steps: int,
    after_update: Callable[[int], object],
) -> None:
    """Run some updates in bf16, tokenising in the collator as the authors' code does ahead of time at most.

    Args:
        model: Folder of the backbone and its tokenizer.
        lines: At least `batch` x `steps` texts.
        batch: Rows of an update, each of them twice.
        length: Most tokens of a row.
        steps: Updates.
        after_update: Called after each.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    backbone = AutoModel.from_pretrained(model, add_pooling_layer=False)

    class Ticks(TrainerCallback):
        def on_step_end(self, *_args: object, **_kwargs: object) -> None:
            after_update(0)

    def collate(texts: Sequence[str]) -> dict[str, Tensor]:
        made = tokenizer(
            [*texts, *texts],
            padding=True,
            truncation=True,
            max_length=length,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        return dict(made)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch, max_steps=steps, bf16=True,
            use_cpu=not torch.cuda.is_available(), report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, dataloader_drop_last=True,
            remove_unused_columns=False,
        )  # fmt: skip
        Trainer(
            model=SimCse(backbone), args=arguments, data_collator=collate,
            train_dataset=list(lines), callbacks=[Ticks()],  # pyright: ignore[reportArgumentType]
        ).train()  # fmt: skip
