"""One update of the recipe `lcl` beside the authors' training step, written out: the weights of both networks."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from families import tiny_model_dir

from textcl.distributed import ALONE
from textcl.training import recipes
from textcl.training.accelerator import accelerator_of
from textcl.training.parts import Parts
from textcl.types import Batch

TEXTS = ["a man runs", "a sad dog", "the old city", "good food", "a happy child", "bad music"]
SECOND = ["a woman runs", "a bad dog", "the big city", "old food", "a good child", "sad music"]
LABELS = [0, 1, 2, 0, 1, 2]
RATE, DECAY, TEMPERATURE, SHARE = 1e-2, 0.01, 0.3, 0.4


def pieces(encoder, head):
    """A network as the authors have it: the model of transformers and the two layers behind it."""
    return torch.nn.ModuleDict(
        {
            "backbone": copy.deepcopy(encoder.backbone),
            "dense": copy.deepcopy(head.dense),
            "output": copy.deepcopy(head.output),
        }
    )


def vectors(network, ids, mask):
    return network["backbone"](input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]


def logits(network, vector, activation):
    return network["output"](activation(network["dense"](vector)))


def contrast(features, labels, confidences):
    """The label-aware loss over pairs, weights outside the logarithm."""
    unit = [x / x.norm() for x in features]
    total = 0.0
    for i, own in enumerate(labels):
        others = [k for k in range(len(labels)) if k != i]
        positives = [k for k in others if labels[k] == own]
        below = sum(
            confidences[i, labels[k]] * torch.exp(unit[i] @ unit[k] / TEMPERATURE) for k in others
        )
        for k in positives:
            share = torch.exp(unit[i] @ unit[k] / TEMPERATURE) / below
            total = total - confidences[i, own] * torch.log(share) / len(positives)
    return total / len(labels)


def their_update(main, helper, helper_activation, ids, mask, labels):
    """One step of both networks, each by an AdamW of its own without decay for biases and LayerNorm weights."""
    optimizers = []
    for network in (main, helper):
        named = list(network.named_parameters())
        plain = [p for name, p in named if name.endswith("bias") or "LayerNorm.weight" in name]
        kept = {id(p) for p in plain}
        rest = [p for _, p in named if id(p) not in kept]
        groups = [
            {"params": rest, "weight_decay": DECAY},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizers.append(torch.optim.AdamW(groups, lr=RATE))
    features = vectors(main, ids, mask)
    guesses = logits(main, features, torch.relu)
    weighing = logits(helper, vectors(helper, ids, mask), helper_activation)
    y = torch.tensor(labels)
    entropy = torch.nn.functional.cross_entropy
    loss = (
        SHARE * entropy(guesses, y)
        + (1 - SHARE) * contrast(features, labels, torch.softmax(weighing, 1))
        + SHARE * entropy(weighing, y)
    )
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


def test_one_update_gives_the_weights_of_the_authors_step_in_both_networks(tmp_path):
    torch.manual_seed(0)
    recipe = recipes.find("lcl")
    chosen = {
        "head": "lcl", "dropout": 0.0, "head_dropout": 0.0, "pooling": "cls", "precision": "fp32", "batch_size": 6,
        "temperature": TEMPERATURE, "loss_weight": SHARE, "max_grad_norm": 0.0, "weight_decay": DECAY,
        "learning_rate": RATE, "head_learning_rate": RATE,
    }  # fmt: skip
    settings = recipe.settings(str(tiny_model_dir(tmp_path / "model", layers=1)), chosen)
    settings = replace(settings, classes=("anger", "fear", "joy"))
    method = recipe.build(settings, ALONE)
    for module in (*method.encoders.values(), method.objective):
        module.double()
    online, weigher = method.encoders["online"], method.encoders["weigher"]
    main = pieces(online, method.model.head)
    helper = pieces(weigher.encoder, weigher.head)
    parts = Parts(method, settings, accelerator_of(settings))
    parts.train()
    tokens = {"anchor": online.tokenize(TEXTS), "positive": online.tokenize(SECOND)}
    groups = {name: torch.arange(6) + 6 * at for at, name in enumerate(tokens)}
    loss, _ = parts.backprop(Batch(tokens, torch.arange(6), groups, torch.tensor(LABELS)))
    parts.update(RATE)

    padded = online.tokenizer(TEXTS + SECOND, padding=True, return_tensors="pt")
    ids, mask = padded["input_ids"], padded["attention_mask"]
    start = copy.deepcopy((main, helper))
    value = their_update(main, helper, torch.tanh, ids, mask, LABELS * 2)
    assert math.isclose(loss.loss.item(), value, abs_tol=1e-12)
    ours = (pieces(online, method.model.head), pieces(weigher.encoder, weigher.head))
    for before, theirs, mine in zip(start, (main, helper), ours, strict=True):
        moved = 0.0
        for (name, old), want, got in zip(
            before.named_parameters(), theirs.parameters(), mine.parameters(), strict=True
        ):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-9, msg=name)
            moved += (got - old).abs().sum().item()
        assert moved > 1
