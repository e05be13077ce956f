"""InfoNCE with several hard negatives: sentence-transformers' directions, swift's ragged lists, NeMo's document ids."""

import itertools

import torch
from reference_cases.leaves import gradients, leaves

from textcl.contrast.masks import MaskAbove, MaskDuplicates
from textcl.contrast.pair_table import PairTable, only_own_row
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.joint import JointDirections
from textcl.objectives.symmetric import symmetric
from textcl.types import ABSENT, Embeddings

TERMS = {
    "query_to_query": ("anchor_anchor",),
    "doc_to_query": ("positive_anchor",),
    "doc_to_doc": ("positive_positive", "positive_negative"),
}
HARDENED = {"hard_negatives": "own", "in_batch_negatives": "others"}


def run(case):
    source = {"sentence-transformers": _given_columns, "swift": _lists, "nemo": _passages}
    return source[case["hyper"]["source"]](case["inputs"], case["hyper"])


def _given_columns(inputs, hyper):
    tensors = leaves(inputs, "q", "d", "n1", "n2", "n3")
    names = {"q": "anchor", "d": "positive"} | {n: n for n in ("n1", "n2", "n3")}
    z = Embeddings.of(**{names[name]: x for name, x in tensors.items()})
    negatives = tuple(name for name in ("n1", "n2", "n3") if name in tensors)
    loss = _directions(hyper, negatives)(z).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def _directions(hyper, negatives):
    temperature, directions = hyper["temperature"], hyper["directions"]
    if hyper["partition_mode"] == "per_direction":
        return symmetric(temperature, negatives=negatives)
    terms = [term for direction in directions for term in TERMS.get(direction, ())]
    pairing = PairTable(
        negatives=negatives,
        terms=terms,
        cosine=hyper["similarity"] == "cosine",
        hardness=hyper.get("hardness_strength", 0.0),
        hardened=HARDENED.get(hyper.get("hardness_mode"), "own"),
    )
    return JointDirections(temperature, pairing)


def _lists(inputs, hyper):
    tensors, lengths = leaves(inputs, "rows"), inputs["negatives_per_row"]
    rows, starts = tensors["rows"], [0, *itertools.accumulate(2 + n for n in lengths)][:-1]
    none, names = torch.zeros_like(rows[0]), [f"n{k}" for k in range(max(lengths))]
    columns = {"anchor": [rows[s] for s in starts], "positive": [rows[s + 1] for s in starts]}
    groups = {}
    for k, name in enumerate(names):
        there = [k < n for n in lengths]
        columns[name] = [
            rows[s + 2 + k] if has else none for s, has in zip(starts, there, strict=True)
        ]
        groups[name] = torch.tensor([1000 + k if has else ABSENT for has in there])
    z = Embeddings.of(groups=groups, **{name: torch.stack(x) for name, x in columns.items()})
    terms = ["anchor_anchor"] if hyper["include_qq"] else []
    if hyper["include_dd"]:
        terms += ["positive_positive", "positive_negative", "positive_own_negative"]
    transforms = [] if hyper["use_batch"] else [only_own_row]
    if hyper["mask_false_negatives"]:
        transforms.append(MaskAbove(-hyper["false_negative_margin"], rows="first"))
    pairing = PairTable(negatives=names, terms=terms, cosine=False)
    loss = JointDirections(hyper["temperature"], pairing, transforms)(z).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def _passages(inputs, hyper):
    tensors, each = leaves(inputs, "q", "passages"), hyper["passages_per_query"]
    passages = tensors["passages"].unflatten(0, (-1, each)).unbind(1)
    ids = torch.tensor(inputs["passage_doc_ids"]).unflatten(0, (-1, each)).unbind(1)
    names = ["positive", *[f"n{k}" for k in range(1, each)]]
    groups = dict(zip(names, ids, strict=True))
    groups["anchor"] = -1 - torch.arange(len(tensors["q"]))
    vectors = dict(zip(names, passages, strict=True))
    z = Embeddings.of(groups=groups, anchor=tensors["q"], **vectors)
    pairing = PairTable(negatives=names[1:], cosine=False)
    objective = Contrastive(pairing, hyper["temperature"], [MaskDuplicates()])
    loss = objective(z).loss
    values, _ = objective.table(z).reduce(objective.row_loss, hyper["temperature"])
    ranks = values.unflatten(0, (hyper["world_size"], -1)).mean(1)
    return {
        "loss": loss.item(),
        "grad": gradients(loss, tensors),
        "loss_per_rank": ranks.tolist(),
    }
