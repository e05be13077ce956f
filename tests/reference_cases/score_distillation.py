"""Margin MSE, KL over lists and stored vectors, as sentence-transformers computes them."""

import torch
from reference_cases.leaves import gradients, leaves, numbered

from textcl.objectives.combine import WeightedSum
from textcl.objectives.distillation import DistillEmbeddings
from textcl.objectives.score_distillation import DistillScores
from textcl.types import Embeddings


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    names = [name for name in ("q", "p", *numbered(inputs)) if name in inputs]
    tensors = leaves(inputs, *names, "weight", "bias")
    columns = {name: tensors[name] for name in names}
    teacher = torch.tensor(inputs["teacher"], dtype=torch.float64)
    made = _vectors if hyper["loss"] == "embedding" else _scores
    loss = made(columns, teacher, hyper, tensors)
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def _scores(columns, teacher, hyper, tensors):
    if hyper["loss"] == "margin_mse":
        margins = teacher[:, None] if teacher.ndim == 1 else teacher
        if margins.shape[1] == len(columns) - 2:  # margins, and not the scores that make them
            teacher = torch.cat([torch.zeros_like(margins[:, :1]), -margins], 1)
    objective = DistillScores(
        "margin-mse" if hyper["loss"] == "margin_mse" else "kl",
        names=tuple(columns),
        cosine=hyper["similarity"] == "cosine",
        temperature=hyper.get("student_temperature", 1.0),
        teacher_temperature=hyper.get("teacher_temperature", 1.0),
    )
    return objective(Embeddings.of(given={"scores": teacher}, **columns)).loss


def _vectors(columns, teacher, hyper, tensors):
    def project(x):
        return x @ tensors["weight"].T + tensors["bias"]

    parts = []
    vectors = dict(columns)
    for place, name in enumerate(columns):
        vectors[f"teacher_{name}"] = teacher if teacher.ndim == 2 else teacher[:, place]
        objective = DistillEmbeddings(name, f"teacher_{name}", metric=hyper["metric"])
        objective.project = project if "weight" in tensors else None
        parts.append((1 / len(columns), objective))
    return WeightedSum(parts)(Embeddings.of(**vectors)).loss
