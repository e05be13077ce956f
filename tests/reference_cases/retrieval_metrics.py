import numpy as np

from textcl.evaluation.ranking import (
    RankedQuery,
    exponential_gain,
    rank_measures,
    trec_order,
)


def run(case):
    cuts = cuts_of(case["expected"])
    qrels, runs = case["inputs"]["qrels"], case["inputs"]["run"]
    level = case["hyper"]["relevance_level"]
    queries = {q: RankedQuery.of(qrels[q], runs[q], level) for q in qrels if q in runs}
    per_query = {name: measures(query, cuts) for name, query in queries.items()}
    names = case["expected"]["mean_over_queries_in_run"]
    totals = {name: sum(values[name] for values in per_query.values()) for name in names}
    whole = {name: total / len(qrels) for name, total in totals.items()}
    result = {
        "per_query": per_query,
        "mean_over_queries_in_run": {name: total / len(queries) for name, total in totals.items()},
        "mean_over_all_judged_queries": whole
        | of_table(rank_measures(qrels, runs, cuts, level), cuts),
        "order": {name: trec_order(run) for name, run in runs.items()},
    }
    if "sentence_transformers_binary" in case["expected"]:
        result["sentence_transformers_binary"] = binary(qrels, runs, cuts)
    return result


def cuts_of(expected):
    """The k of all measures that a case asks for."""
    names = expected["mean_over_queries_in_run"]
    return sorted({int(name.rpartition("_")[2]) for name in names if name[-1].isdigit()})


def measures(query, cuts):
    values = {
        "num_ret": float(len(query.grades)),
        "num_rel": float(query.relevant),
        "num_rel_ret": float(len(query.hits)),
        "map": query.average_precision(),
        "Rprec": query.r_precision(),
        "bpref": query.bpref(),
        "recip_rank": query.reciprocal_rank(),
        "ndcg": query.ndcg(),
        "exp_ndcg": query.ndcg(gain=exponential_gain),
    }
    for k in cuts:
        values |= {
            f"P_{k}": query.precision(k),
            f"recall_{k}": query.recall(k),
            f"ndcg_cut_{k}": query.ndcg(k),
            f"exp_ndcg_cut_{k}": query.ndcg(k, exponential_gain),
            f"map_cut_{k}": query.average_precision(k),
            f"success_{k}": query.success(k),
            f"mrr_cut_{k}": query.reciprocal_rank(k),
        }
    return values


def of_table(result, cuts):
    """The means that users see, under trec_eval's names."""
    official = {"precision": "P", "recall": "recall", "success": "success"}
    official |= {"ndcg": "ndcg_cut", "map": "map_cut", "mrr": "mrr_cut"}
    values = {"map": result.mean["map"], "recip_rank": result.mean["mrr"]}
    for ours, theirs in official.items():
        values |= {f"{theirs}_{k}": result.mean[f"{ours}@{k}"] for k in cuts}
    return values


def binary(qrels, runs, cuts):
    """The other library's protocol, out of the same measures: ascending ids, gain 1, MAP@k over min(k, R)."""
    queries = []
    for name in qrels:
        judged = {document: int(grade > 0) for document, grade in qrels[name].items()}
        run = runs.get(name, {})
        order = sorted(run, key=lambda document: (-run[document], document))
        ranked = RankedQuery(tuple(judged.get(d) for d in order), tuple(judged.values()))
        queries += [ranked] if ranked.relevant else []

    def over_queries(measure):
        return {str(k): float(np.mean([measure(query, k) for query in queries])) for k in cuts}

    return {
        "accuracy@k": over_queries(RankedQuery.success),
        "precision@k": over_queries(RankedQuery.precision),
        "recall@k": over_queries(RankedQuery.recall),
        "ndcg@k": over_queries(RankedQuery.ndcg),
        "mrr@k": over_queries(RankedQuery.reciprocal_rank),
        "map@k": over_queries(
            lambda q, k: q.average_precision(k) * q.relevant / min(k, q.relevant)
        ),
    }
