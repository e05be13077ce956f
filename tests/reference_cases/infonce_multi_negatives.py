"""InfoNCE with several hard negatives: sentence-transformers' directions, swift's ragged lists, NeMo's document ids."""

import itertools
from dataclasses import replace

import torch
from reference_cases.leaves import gradients, leaves, numbered

from textcl.contrast.masks import MaskAbove, MaskDuplicates
from textcl.contrast.pair_table import PairTable, only_own_row
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.joint import JointDirections
from textcl.objectives.symmetric import symmetric
from textcl.types import ABSENT, Embeddings

TERMS = {
    "query_to_query": ("anchor_anchor",),
    "doc_to_query": ("positive_anchor",),
    "doc_to_doc": ("positive_positive", "positive_negative"),
}
HARDENED = {
    "hard_negatives": "own",
    "in_batch_negatives": "others",
    "all_negatives": "all",
    None: "own",
}


def run(case):
    source = {"sentence-transformers": _given_columns, "swift": _lists, "nemo": _passages}
    return source[case["hyper"]["source"]](case["inputs"], case["hyper"])


def _given_columns(inputs, hyper):
    negatives = numbered(inputs)
    tensors = leaves(inputs, "q", "d", *negatives)
    z = Embeddings.of(
        anchor=tensors["q"], positive=tensors["d"], **{name: tensors[name] for name in negatives}
    )
    loss = directions(hyper, negatives)(z).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def directions(hyper, negatives):
    """The objective over the directions that a case asks for."""
    temperature, asked = hyper["temperature"], hyper.get("directions", ["query_to_doc"])
    cosine = hyper.get("similarity", "cosine") == "cosine"
    mode = hyper.get("hardness_mode")
    pairing = PairTable(
        negatives=negatives,
        terms=[term for direction in asked for term in TERMS.get(direction, ())],
        cosine=cosine,
        hardness=hyper.get("hardness_strength", 0.0) if mode else 0.0,
        hardened=HARDENED[mode],
    )
    if hyper.get("partition_mode", "joint") == "joint":
        return JointDirections(temperature, pairing)
    if cosine and not mode and len(asked) == 2:
        return symmetric(temperature, negatives=negatives)
    tables = {
        "query_to_doc": replace(pairing, terms=()),
        "doc_to_query": PairTable("positive", "anchor", cosine=cosine),
    }
    parts = [Contrastive(tables[direction], temperature) for direction in asked]
    return WeightedSum([(1 / len(parts), part) for part in parts])


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
