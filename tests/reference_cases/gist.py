"""GIST: candidates that a guide ranks above the positive are no negatives."""

from unittest.mock import patch

from reference_cases.leaves import gradients, leaves, numbered

from textcl.contrast import pair_table
from textcl.contrast.masks import MaskAbove
from textcl.contrast.pair_table import PairTable
from textcl.objectives.joint import JointDirections
from textcl.types import Embeddings

COLUMNS = {"a": "anchor", "p": "positive"}


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    negatives = numbered(inputs)
    names = COLUMNS | {name: name for name in negatives}
    tensors = leaves(inputs, *names)
    guides = leaves(inputs, *[f"guide_{name}" for name in names])
    z = Embeddings.of(
        **{names[name]: x for name, x in tensors.items()},
        **{f"guide_{names[n.removeprefix('guide_')]}": x.detach() for n, x in guides.items()},
    )
    terms = ["anchor_anchor"] if hyper["contrast_anchors"] else []
    terms += ["positive_positive"] if hyper["contrast_positives"] else []
    guide = PairTable("guide_anchor", "guide_positive", [f"guide_{n}" for n in negatives], terms)
    mask = MaskAbove(hyper["margin"], hyper["margin_strategy"] == "relative", guide)
    objective = JointDirections(
        hyper["temperature"], PairTable(negatives=negatives, terms=terms), [mask]
    )
    loss = objective(z).loss
    ours = {"loss": loss.item(), "grad": gradients(loss, tensors)}
    hidden = above(mask, guide, z)
    ours["masked_pairs"] = {
        key: [list(pair) for pair in hidden[key]] for key in case["expected"]["masked_pairs"]
    }
    if "policy_loss" in case["expected"]:
        ours["policy_loss"] = {"value": ours["loss"]}
        with patch.object(pair_table, "_asked", with_self_pairs(pair_table._asked)):
            loss = objective(z).loss
        ours |= {"loss": loss.item(), "grad": gradients(loss, tensors)}
    return ours


def with_self_pairs(asked):
    """The official code leaves a text's similarity to itself to the guide; ours never takes it for a negative."""

    def official(terms, device):
        cells = asked(terms, device).clone()
        cells[0, 2, 1] = cells[1, 0, 1] = True
        return cells

    return official


def above(mask, guide, z):
    """Index pairs of each block whose guide similarity exceeds the limit of their row, the own positive excepted."""
    rows = {name: x / x.norm(dim=1, keepdim=True) for name, x in z.by_name.items()}
    a, p = rows["guide_anchor"], rows["guide_positive"]
    blocks = {"ap": (a, p), "aa": (a, a), "pp": (p, p)}
    blocks |= {f"a{n.removeprefix('guide_')}": (a, rows[n]) for n in guide.negatives}
    own = (a @ p.T).diagonal()
    limit = own - (own.abs() if mask.relative else 1.0) * mask.margin
    found = {}
    for key, (left, right) in blocks.items():
        hidden = left @ right.T > limit[:, None]
        if key == "ap":
            hidden.fill_diagonal_(False)
        found[key] = [tuple(pair) for pair in hidden.nonzero().tolist()]
    return found
