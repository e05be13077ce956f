import torch

from textcl.retrieval.quantization import (
    Ranges,
    nearest_bits,
    search_bits,
    search_int8,
    to_bits,
)
from textcl.retrieval.search import Hits, rescored, search


def run(case):
    given, hyper = case["inputs"], case["hyper"]
    precision = hyper["precision"]
    if "queries" in given:
        return searched(given, hyper, precision)
    rows = torch.tensor(given["embeddings"], dtype=torch.float32)
    codes = encoded(rows, precision, given)
    return {"codes": codes.tolist(), "dtype": str(codes.dtype).removeprefix("torch.")}


def encoded(rows, precision, given):
    if precision == "float32":
        return rows
    if precision == "ubinary":
        return to_bits(rows)
    if precision == "binary":
        return (to_bits(rows).to(torch.int16) - 128).to(torch.int8)
    codes = ranges_of(rows, given).encode(rows)
    return codes if precision == "int8" else (codes.to(torch.int16) + 128).to(torch.uint8)


def ranges_of(rows, given):
    if "ranges" in given:
        return Ranges(*torch.tensor(given["ranges"], dtype=torch.float32))
    return Ranges.of(torch.tensor(given["calibration"]) if "calibration" in given else rows)


def plain(queries, corpus, given, precision, k):
    """The first stage alone, with scores as FAISS gives them."""
    codes = encoded(corpus, precision, given)
    if "binary" in precision:
        hits = nearest_bits(to_bits(queries), to_bits(corpus), k, queries.shape[1])
        return Hits(hits.rows, -hits.scores)
    own = given if "ranges" in given or "calibration" in given else {"calibration": given["corpus"]}
    return search(encoded(queries, precision, own).float(), codes, k, torch.Tensor.float)


def searched(given, hyper, precision):
    queries, corpus = (
        torch.tensor(given[name], dtype=torch.float32) for name in ("queries", "corpus")
    )
    k, multiplier = hyper["top_k"], hyper["rescore_multiplier"]
    codes = encoded(corpus, precision, given)
    if not hyper["rescore"]:
        hits = plain(queries, corpus, given, precision, k)
        if hyper["library"] == "usearch" and "binary" not in precision:
            hits = Hits(hits.rows, 1 - hits.scores)
    elif "binary" in precision:
        hits = search_bits(queries, to_bits(corpus), k, multiplier)
    elif precision == "int8":
        hits = search_int8(queries, codes, ranges_of(corpus, given), k, multiplier)
    else:  # the first stage of uint8 ranks by products of codes from 0 to 255
        ranges = ranges_of(corpus, given)
        coarse = search(
            ranges.encode(queries).float() + 128, codes, k * multiplier, torch.Tensor.float
        )
        hits = rescored(queries, coarse, ranges.encode(corpus), k, ranges.decode)
    pairs = zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    return {
        "corpus_codes": codes.tolist(),
        "hits": [[list(h) for h in zip(*p, strict=True)] for p in pairs],
    }
