from reference_cases.infonce_multi_negatives import directions
from reference_cases.leaves import embeddings, gradients, leaves

NAMES = {"z1": "anchor", "z2": "positive", "z3": "negative"}


def run(case):
    tensors = leaves(case["inputs"], *NAMES)
    objective = directions(case["hyper"], ("negative",) if "z3" in tensors else ())
    loss = objective(embeddings(tensors, NAMES)).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}
