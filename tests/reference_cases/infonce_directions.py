from reference_cases.leaves import embeddings, gradients, leaves

from textcl.contrast.pairings import AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.joint import JointDirections
from textcl.objectives.symmetric import symmetric

NAMES = {"z1": "anchor", "z2": "positive", "z3": "negative"}


def run(case):
    tensors, hyper = leaves(case["inputs"], *NAMES), case["hyper"]
    negatives = ("negative",) if "z3" in tensors else ()
    loss = _objective(hyper, negatives)(embeddings(tensors, NAMES)).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def _objective(hyper, negatives):
    temperature, directions = hyper["temperature"], hyper.get("directions", ["query_to_doc"])
    if hyper.get("partition_mode") == "joint":
        assert len(directions) == 4
        assert not negatives
        return JointDirections(temperature)
    if set(directions) == {"query_to_doc", "doc_to_query"}:
        return symmetric(temperature, negatives=negatives)
    assert directions == ["query_to_doc"]
    return Contrastive(AnchorPositive(negatives=negatives), temperature)
