import numpy as np

from textcl.evaluation.correlation import pair_scores
from textcl.evaluation.entailment import entailment_auc


def run(case):
    question, sentence = (np.array(case["inputs"][key]) for key in ("question", "sentence"))
    cosines = pair_scores(question, sentence)
    auc = entailment_auc(cosines, np.array(case["inputs"]["entailed"], bool))
    return {"auc": np.nan if auc is None else auc, "policy_auc": auc, "cosine": cosines}
