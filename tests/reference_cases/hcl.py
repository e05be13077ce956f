from reference_cases import debiased


def run(case):
    hyper = case["hyper"]
    hard = hyper["estimator"] == "hard"
    prior, beta = (hyper["tau_plus"], hyper["beta"]) if hard else (0.0, 0.0)
    return debiased.result(case, prior, beta)
