import numpy as np

from textcl.evaluation.whitening import Whitening


def run(case):
    fit, apply = (np.array(case["inputs"][name], dtype=np.float64) for name in ("fit", "apply"))
    whitening = Whitening.fit(fit, case["hyper"]["n_components"])
    rows = whitening.apply(apply)
    return {
        "cosine_matrix": rows @ rows.T,
        "bias": -whitening.mean,
        "kernel_gram": whitening.kernel @ whitening.kernel.T,
    }
