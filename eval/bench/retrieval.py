"""Search, evaluation and mining beside sentence-transformers: `python eval/bench/retrieval.py PART --pairs 3`.

On random unit vectors, which the model looks up, so that encoding takes no part: `exact` (a million vectors of 384
dimensions against `semantic_search`), `int8` (recall and bytes of codes), `evaluation` (search and measures
against `InformationRetrievalEvaluator`), `mining` (queries in 100,000 passages against `mine_hard_negatives`), `memory`
(peak of mining by the size of the corpus). With a real encoder, texts and all:
`whole --data FOLDER --model MODEL --layers 3` (evaluation of a folder in the layout of BEIR). Both take turns in one
process, in another order each turn; each part prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts
from torch.nn import functional as F

from textcl.arithmetic import unit
from textcl.data.rows import load_rows
from textcl.encoder.encoder import Encoder
from textcl.encoder.peers import EvaluatorScores
from textcl.evaluation import rank_rows
from textcl.retrieval import Ranges, search, triplets
from textcl.retrieval.documents import documents_of
from textcl.retrieval.hard_negatives import MiningOptions
from textcl.retrieval.models import model_hash
from textcl.retrieval.search import rescored
from textcl.retrieval.triplets import mine_pairs
from textcl.suites.ranking import Ranking
from textcl.suites.suite import run_suite

WIDTH = 384
pairs_of_turns = 3
SEED = 0


def vectors(rows, seed=SEED):
    return F.normalize(torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed)))


def timed(function):
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - start, time.process_time() - cpu


def compared(theirs, ours):
    """Seconds of both by turns, and the medians of the ratios of the turns."""
    turns = []
    for turn in range(pairs_of_turns):
        order = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        times = {each: timed(each)[1:] for each in order}
        turns.append((times[theirs], times[ours]))
    result = {}
    for place, name in enumerate(("clock", "processor")):
        their, own = ([turn[side][place] for turn in turns] for side in (0, 1))
        ratios = [a / b for a, b in zip(their, own, strict=True)]
        result[name] = {
            "theirs_s": [round(each, 3) for each in their],
            "ours_s": [round(each, 3) for each in own],
            "ratios": [round(each, 2) for each in ratios],
            "ratio": round(statistics.median(ratios), 2),
        }
    return result


def exact(rows, queries):
    from sentence_transformers.util import dot_score, semantic_search

    corpus, asked = vectors(rows), vectors(queries, 1)
    found = search(asked, corpus, 10)
    same = semantic_search(asked, corpus, top_k=10)
    equal = [[hit["corpus_id"] for hit in hits] for hits in same] == found.rows.tolist()
    return {
        "rows": rows,
        "queries": queries,
        "equal": equal,
        "semantic_search": compared(
            lambda: semantic_search(asked, corpus, top_k=10), lambda: search(asked, corpus, 10)
        ),
        "semantic_search, dot_score": compared(
            lambda: semantic_search(asked, corpus, top_k=10, score_function=dot_score),
            lambda: search(asked, corpus, 10),
        ),
    }


def int8(rows, queries):
    corpus, asked = vectors(rows), vectors(queries, 1)
    ranges = Ranges.of(corpus)
    codes = torch.cat([ranges.encode(block) for block in corpus.split(8192)])
    wanted = search(asked, corpus, 10).rows
    scaled = asked * ranges.step
    result = {"rows": rows, "bytes_float32": 4 * corpus.numel(), "bytes_int8": codes.numel()}
    for name, wide in (("without rescoring", 10), ("rescored 40", 40)):
        coarse = search(scaled, codes, wide, torch.Tensor.float)
        found = rescored(asked, coarse, corpus, 10).rows
        hits = [len({*a} & {*b}) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]
        result[f"recall@10 {name}"] = round(sum(hits) / (10 * queries), 4)
    return result


class Table:
    """A model of both libraries that looks vectors up: a text ends in its row; a run of rows is not copied."""

    dimension, max_length, similarity_fn_name = WIDTH, 8, "cosine"
    device = torch.device("cpu")

    def __init__(self, rows):
        self.table = vectors(rows).numpy()
        self.prompts: dict[str, str] = {}
        self.default_prompt: str | None = None
        self.truncate_dim: int | None = None

    def encode(self, texts, convert_to_tensor=False, **_):
        rows = [int(text[text.rindex(" ") :]) for text in texts]
        start, end = min(rows), max(rows) + 1
        found = self.table[start:end] if rows == [*range(start, end)] else self.table[rows]
        return torch.from_numpy(found) if convert_to_tensor else found

    encode_query = encode_document = encode

    def reader(self, **_):
        return self

    def count_cut(self, texts):
        return 0

    def similarity(self, a, b):
        return F.normalize(torch.as_tensor(a)) @ F.normalize(torch.as_tensor(b)).T

    def similarity_pairwise(self, a, b):
        return (F.normalize(torch.as_tensor(a)) * F.normalize(torch.as_tensor(b))).sum(dim=1)


@model_hash.register
def _(model: Table) -> str:
    return f"table of {len(model.table)}"


def texts(rows):
    """A question and a passage for each row: of their own words, and the row last."""
    draw = np.random.default_rng(0)
    words = [f"word{n}" for n in range(5000)]
    return [" ".join([*draw.choice(words, 20), str(row)]) for row in range(rows)]


def mining(passages, queries):
    import datasets
    from sentence_transformers.util import mine_hard_negatives

    corpus = texts(passages)
    model: Any = Table(passages + queries)
    pairs = [
        {"anchor": f"question {passages + row}", "positive": corpus[row]} for row in range(queries)
    ]
    model.table[passages:] = F.normalize(
        torch.from_numpy(model.table[:queries]) + vectors(queries, 2)
    ).numpy()
    data = datasets.Dataset.from_list(pairs)

    def theirs():
        return mine_hard_negatives(
            data, model, corpus=corpus, num_negatives=4, range_max=40, relative_margin=0.05, verbose=False,
            output_format="n-tuple", output_scores=True,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as place:
        triplets.cache_folder = lambda: Path(place)
        rows = load_rows(pairs, roles=("anchor", "positive"))
        options = MiningOptions(negatives=4, range_max=40)

        def ours():
            target = Path(place) / "out.jsonl"
            return mine_pairs(model, rows, documents_of(corpus), target, options, overwrite=True)

        _, first, first_cpu = timed(ours)
        again = compared(theirs, ours)  # after a run of ours that filled the cache
        negatives = [json.loads(line) for line in (Path(place) / "out.jsonl").open()]
    return {
        "passages": passages,
        "queries": queries,
        "pairs": len(negatives),
        "their_pairs": len(theirs()),
        "first_run_s": round(first, 2),
        "first_run_cpu_s": round(first_cpu, 2),
        "with vectors in the cache": again,
    }


def evaluation(passages, queries):
    """Search and measures of both on the same vectors, without reading files; 20 relevant passages a query."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    model: Any = Table(passages + queries)
    model.model_card_data = EvaluatorScores()
    corpus = {f"d{row}": f"passage {row}" for row in range(passages)}
    asked = {f"q{row}": f"question {passages + row}" for row in range(queries)}
    draw = np.random.default_rng(SEED)
    relevant = {name: {f"d{row}" for row in draw.integers(passages, size=20)} for name in asked}
    qrels = {name: dict.fromkeys(sorted(documents), 1) for name, documents in relevant.items()}
    evaluator = InformationRetrievalEvaluator(
        asked, corpus, relevant, map_at_k=[100], mrr_at_k=[10], ndcg_at_k=[10],
        accuracy_at_k=[1, 3, 5, 10], precision_recall_at_k=[1, 3, 5, 10],
    )  # fmt: skip

    def ours():
        rows = unit(torch.from_numpy(model.encode(list(corpus.values()))))
        hits = search(unit(torch.from_numpy(model.encode(list(asked.values())))), rows, 100)
        return rank_rows(qrels, list(corpus), hits.rows.numpy(), hits.scores.numpy())

    theirs = evaluator(model)
    assert abs(theirs["cosine_ndcg@10"] - ours().mean["ndcg@10"]) < 1e-9
    return {
        "passages": passages,
        "queries": queries,
        "evaluator": compared(lambda: evaluator(model), ours),
    }


def whole(folder, name, layers):
    """Evaluation of a folder as users run it: texts encoded by either library at its defaults, search and measures."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    task = Ranking.of_folder(folder)
    data = task.data
    with tempfile.TemporaryDirectory() as place:
        Encoder.from_pretrained(name, num_layers=layers, device="cpu").save_pretrained(place)
        own = Encoder.from_pretrained(place, device="cpu")
        peer = SentenceTransformer(place, device="cpu")
    relevant = {
        query: {document for document, grade in grades.items() if grade > 0}
        for query, grades in data.qrels.items()
    }
    evaluator = InformationRetrievalEvaluator(dict(data.queries), dict(data.corpus), relevant)
    return {
        "data": Path(folder).name,
        "documents": len(data.corpus),
        "queries": len(data.queries),
        "model": name,
        "layers": layers,
        "evaluator": compared(lambda: evaluator(peer), lambda: run_suite(own, [task])),
    }


def peak(passages, queries):
    """Peak memory of mining in this process, the corpus read from a file."""
    with tempfile.TemporaryDirectory() as place:
        triplets.cache_folder = lambda: Path(place)
        draw = np.random.default_rng(0)
        with (Path(place) / "corpus.txt").open("w") as file:
            for row in range(passages):
                file.write(
                    " ".join(["word", *map(str, draw.integers(9**6, size=20)), str(row)]) + "\n"
                )
        pairs = [
            {"anchor": f"question {row}", "positive": f"answer {row}"} for row in range(queries)
        ]
        rows = load_rows(pairs, roles=("anchor", "positive"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model: Any = Table(4096)
        model.encode = lambda texts, **_: model.table[[hash(t) % 4096 for t in texts]]
        mine_pairs(
            model, rows, documents_of(Path(place) / "corpus.txt"), Path(place) / "out.jsonl",
            MiningOptions(negatives=4, range_max=40, relative_margin=None),
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"passages": passages, "peak_mib": after // 1024, "before_mib": before // 1024}


def memory(_, queries):
    """Each size in a process of its own."""
    command = [sys.executable, __file__, "peak", "--queries", str(queries), "--rows"]
    sizes = (25_000, 100_000, 400_000)
    return [json.loads(subprocess.check_output([*command, str(size)])) for size in sizes]


PARTS = {
    "exact": exact,
    "int8": int8,
    "mining": mining,
    "evaluation": evaluation,
    "memory": memory,
    "peak": peak,
}
SIZES = {
    "exact": (1_000_000, 100),
    "int8": (1_000_000, 100),
    "mining": (100_000, 2000),
    "evaluation": (20_000, 500),
    "memory": (0, 500),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "whole"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--pairs", type=int, default=pairs_of_turns, help="turns of both")
    parser.add_argument("--data", help="folder in the layout of BEIR, for `whole`")
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--layers", type=int, help="keep only the first layers of the model")
    given = parser.parse_args()
    pairs_of_turns = given.pairs
    if given.part == "whole":
        measured: Any = whole(given.data, given.model, given.layers)
    else:
        default = SIZES.get(given.part, (1000, 100))
        measured = PARTS[given.part](given.rows or default[0], given.queries or default[1])
    print(
        json.dumps(
            measured if given.part in ("peak", "memory") else {**measured, "seed": SEED, **facts()}
        )
    )
