import numpy as np

from textcl.evaluation.linking import (
    Query,
    concept_ids,
    linking_accuracy,
    mention_parts,
    nearest_names,
)


def run(case):
    given, k = case["inputs"], case["hyper"]["top_k"]
    vectors = {text: np.array(row) for text, row in given["vectors"].items()}
    names = [name for name, _ in given["dictionary"]]
    table = np.stack([vectors[name] for name in names])
    queries = []
    for mention, gold in given["queries"]:
        parts = mention_parts(mention) if case["hyper"]["split_mentions"] else [mention]
        found = nearest_names(np.stack([vectors[part] for part in parts]), table, k)
        queries.append(Query(found.tolist(), concept_ids(gold)))
    concepts = [concept_ids(ids) for _, ids in given["dictionary"]]
    return {
        **{f"acc{i}": linking_accuracy(queries, concepts, i) for i in range(1, k + 1)},
        "candidates": [[[names[n] for n in part] for part in query.parts] for query in queries],
    }
