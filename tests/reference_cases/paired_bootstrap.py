import numpy as np

from textcl.evaluation.bootstrap import paired_bootstrap, resampled_means


def run(case):
    a, b = case["inputs"]["a"], case["inputs"]["b"]
    indices = np.array(case["inputs"]["resamples"])
    result = paired_bootstrap(a, b, indices, case["hyper"]["level"])
    values = {
        "difference": result.difference,
        "resampled_differences": resampled_means(np.subtract(a, b), indices),
        "interval": list(result.interval),
        "p_one_sided_a_not_better": result.p_one_sided,
        "p_two_sided": result.p_two_sided,
        "p_two_sided_centred": result.p_two_sided_centred,
        "wins": result.wins,
        "losses": result.losses,
        "ties": result.ties,
    }
    if (
        "policy_p_two_sided" in case["expected"]
    ):  # one query: the official numbers say nothing, ours are None
        assert result.p_one_sided is result.p_two_sided is result.p_two_sided_centred is None
        official = {name: case["expected"][name] for name in values if name.startswith("p_")}
        values |= official | {"policy_p_two_sided": result.p_two_sided}
    return values
