"""A folder of documents and vectors: built, killed, resumed, changed, searched, damaged."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from families import WORDS, tiny_encoder

from textcl.data.lock import sole_writer
from textcl.encoder import Encoder
from textcl.errors import RunError, UserError
from textcl.retrieval import build, documents
from textcl.retrieval.index import Index
from textcl.retrieval.models import model_hash
from textcl.retrieval.store import Manifest
from textcl.retrieval.writer import Writer

DRAW = np.random.default_rng(0)
TEXTS = [" ".join(DRAW.choice(WORDS, 5, replace=False)) for _ in range(60)]
CORPUS = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model():
    return tiny_encoder(prompts={"query": "a ", "document": "the "}, hidden=32)


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    """An index of every dtype, and a graph."""
    place = tmp_path_factory.mktemp("indexes")
    for dtype in ("float32", "float16", "int8", "binary"):
        Index.build(model, CORPUS, place / dtype, dtype=dtype)
    pytest.importorskip("usearch")
    Index.build(model, CORPUS, place / "hnsw", kind="hnsw")
    return place


@pytest.fixture
def index(built, model, tmp_path):
    """A copy that a test may change."""

    def copied(name="float32"):
        shutil.copytree(built / name, tmp_path / name)
        return Index.load(tmp_path / name, model)

    return copied


def exact(model, queries, texts=TEXTS):
    rows = torch.nn.functional.normalize(torch.tensor(model.encode(texts, prompt="document")))
    own = torch.nn.functional.normalize(torch.tensor(model.encode(queries, prompt="query")))
    return own @ rows.T


def ids(found):
    return [[hit.id for hit in hits] for hits in found]


@pytest.mark.parametrize("name", ["float32", "float16", "int8", "binary", "hnsw"])
def test_a_search_gives_the_rows_of_an_exact_one_with_prompts_by_role(built, model, name):
    queries = TEXTS[:4]
    scores = exact(model, queries)
    found = Index.load(built / name, model).search(queries, 5)
    best = scores.topk(5)
    wanted = [[f"d{row}" for row in rows] for rows in best.indices.tolist()]
    same = np.mean([len({*a} & {*b}) / 5 for a, b in zip(ids(found), wanted, strict=True)])
    assert same >= (0.7 if name == "binary" else 0.95)
    by_id = {f"d{n}": n for n in range(len(TEXTS))}
    for query, hits in enumerate(found):
        given = [hit.score for hit in hits]
        real = [float(scores[query, by_id[hit.id]]) for hit in hits]
        assert given == sorted(given, reverse=True)
        assert np.allclose(given, real, atol=2e-3 if name == "float16" else 1e-5)
        assert [hit.text for hit in hits] == [TEXTS[by_id[hit.id]] for hit in hits]


def test_a_threshold_leaves_lower_scores_out(built, model):
    index = Index.load(built / "float32", model)
    (all_hits,) = index.search(TEXTS[:1], 60)
    third = all_hits[2].score
    (hits,) = index.search(TEXTS[:1], 60, threshold=third)
    assert hits == all_hits[:3]
    assert index.search(TEXTS[:1], 5, threshold=2.0) == [[]]


def test_neighbours_are_those_of_the_stored_vectors_without_the_document(built):
    index = Index.load(built / "float32")
    rows = index.rows.vectors
    (hits,) = index.neighbours(["d7"], 3)
    order = (rows @ rows[7]).argsort(descending=True).tolist()
    assert ids([hits]) == [[f"d{row}" for row in order if row != 7][:3]]
    assert "model" not in index.__dict__
    with pytest.raises(UserError, match="has no document with the id 'nowhere'"):
        index.neighbours(["nowhere"])


@pytest.mark.parametrize("name", ["float32", "int8", "binary", "hnsw"])
def test_rows_are_removed_and_added(index, model, name):
    opened = index(name)
    assert opened.remove(["d3", "d4"]) == 2
    assert len(opened) == 58
    assert not {"d3", "d4"} & {*ids(opened.search([TEXTS[3]], 58))[0]}
    more = [{"id": "new", "text": "a man plays guitar"}, {"id": "d3", "text": TEXTS[3]}]
    assert opened.add(more) == 2
    for current in (opened, Index.load(opened.folder, model)):
        assert len(current) == 60
        found = ids(current.search(["a man plays guitar", TEXTS[3]], 60))
        assert {"new", "d3"} <= {*found[0]}
        assert current.rows.find(["d3"]) == [61]
    assert opened.remove(["new"]) == 1
    assert len(list(opened.folder.glob("removed-*"))) == 1
    assert len(list(opened.folder.glob("graph-*"))) == (name == "hnsw")


def test_an_index_is_never_left_without_a_document(index):
    opened = index()
    with pytest.raises(UserError, match="would be empty"):
        opened.remove([row["_id"] for row in CORPUS])
    with pytest.raises(UserError, match="has the id 'd5' already"):
        opened.add([{"id": "d5", "text": "x"}])
    assert len(opened) == 60


def test_a_killed_build_goes_on_where_it_was(monkeypatch, model, tmp_path):
    monkeypatch.setattr(build, "_BLOCK", 16)
    said, encoded = [], []
    append = Writer.append

    def killed(writer, block, vectors, codes):
        append(writer, block, vectors, codes)
        if writer.manifest.rows > 32:
            writer.flush()
            raise KeyboardInterrupt  # the third block is written and does not count

    monkeypatch.setattr(Writer, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        Index.build(model, CORPUS, tmp_path / "index", dtype="int8")
    assert not (tmp_path / "index").exists()

    def counted(writer, block, vectors, codes):
        encoded.extend(document.id for document in block)
        append(writer, block, vectors, codes)

    monkeypatch.setattr(Writer, "append", counted)
    tools = build.Tools(log=said.append)
    resumed = Index.build(model, CORPUS, tmp_path / "index", dtype="int8", tools=tools)
    assert encoded == [f"d{n}" for n in range(32, 60)]
    assert said == ["going on after 32 documents of a build that was stopped"]
    whole = Index.build(model, CORPUS, tmp_path / "whole", dtype="int8")
    assert asdict(resumed.manifest) == asdict(whole.manifest)
    for name in whole.manifest.sizes():
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"index", "whole"}


def test_what_a_build_of_another_corpus_left_is_not_used(monkeypatch, model, tmp_path):
    monkeypatch.setattr(build, "_BLOCK", 16)
    finish = build._finish
    monkeypatch.setattr(build, "_finish", lambda *_: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception):
        Index.build(model, CORPUS, tmp_path / "index")
    monkeypatch.setattr(build, "_finish", finish)
    said = []
    other = [{"id": "x", "text": "a dog runs"}, {"id": "y", "text": "a cat eats"}]
    index = Index.build(model, other, tmp_path / "index", tools=build.Tools(log=said.append))
    assert ids(index.search(["dog"], 5)) in ([["x", "y"]], [["y", "x"]])
    assert "beginning anew" in said[0]


def test_another_model_is_refused(built, model, tmp_path):
    with pytest.raises(UserError, match=r"was built with a model of sha256 \w{12}, but this"):
        Index.load(built / "float32", tiny_encoder(seed=1, hidden=32))
    prompted = tiny_encoder(prompts={"query": "find ", "document": "the "}, hidden=32)
    with pytest.raises(
        UserError, match="the prompt 'a ' before a query, but this model has 'find '"
    ):
        Index.load(built / "float32", prompted)
    with pytest.raises(UserError, match="takes an Encoder or an ExportedEncoder"):
        model_hash(torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="does not name its model: name it with -m"):
        Index.load(built / "float32").search(["x"])


def test_a_model_has_one_hash_in_memory_and_from_its_folder(tmp_path):
    encoder = tiny_encoder(pooling="cls_pooler", hidden=32)
    encoder.save_pretrained(tmp_path / "saved")
    saved = Encoder(tmp_path / "saved")
    assert saved.pooling == "cls"
    vectors = [each.encode(TEXTS[:3], precision="float32") for each in (saved, encoder)]
    assert np.allclose(*vectors, atol=1e-6)
    assert model_hash(saved) == model_hash(encoder)
    Index.build(encoder, CORPUS, tmp_path / "index").use(saved)


def test_weights_that_take_no_part_do_not_change_the_hash():
    encoder = tiny_encoder(pooling="cls_pooler", hidden=32)
    pooled = model_hash(encoder)
    encoder.pooling = "mean"
    before = model_hash(encoder)
    with torch.no_grad():
        encoder.backbone.pooler.dense.weight.mul_(2)
    assert model_hash(encoder) == before != pooled
    assert np.array_equal(encoder.encode(TEXTS[:2]), encoder.encode(TEXTS[:2]))
    encoder.pooling = "cls_pooler"
    assert model_hash(encoder) != pooled
    encoder.pooling, encoder.include_prompt = "mean", False
    assert model_hash(encoder) != before


def test_an_index_of_an_earlier_version_names_its_model_still(tmp_path):
    encoder = tiny_encoder(pooling="cls_pooler", hidden=32)
    index = Index.build(encoder, CORPUS, tmp_path / "index")
    vocabulary = sorted(encoder.tokenizer.get_vocab().items())
    facts = [vocabulary, "cls_pooler", encoder.max_length, encoder.normalize, encoder.truncate_dim]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name, weight in sorted(encoder.backbone.named_parameters()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.detach().numpy().tobytes())
    replace(index.manifest, model_sha256=digest.hexdigest()).write(index.folder)
    Index.load(tmp_path / "index", encoder)
    with pytest.raises(UserError, match="was built with a model of sha256"):
        Index.load(tmp_path / "index", tiny_encoder(pooling="cls_pooler", seed=1, hidden=32))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "'a' comes twice, in rows 1 and 2"),
        ([{"id": "a", "text": " "}], "no document with a text"),
        ([{"id": None, "text": "x"}], "an id is a text or a whole number, got None"),
        ([{"id": "a", "body": "x"}], "no column for the role text"),
    ],
)
def test_a_wrong_corpus_is_one_sentence_and_leaves_nothing(model, tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        Index.build(model, rows, tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_documents_without_a_text_are_left_out_and_counted(model, tmp_path):
    said = []
    rows = [*CORPUS[:3], {"_id": "e", "title": "", "text": " "}]
    index = Index.build(model, rows, tmp_path / "index", tools=build.Tools(log=said.append))
    assert len(index) == 3
    assert said == ["1 document without a text left out"]


@pytest.mark.parametrize(
    "texts",
    [["a", " b\n", "", " ", "é", "a"], [], ["a", None], ["a", "b\0"], ["a", "\ud800"], ["a", 1]],
)
def test_a_list_of_texts_is_read_as_any_other_source(texts):
    def read(source):
        try:
            return list(documents.documents_of(source)())
        except UserError as error:
            return str(error)

    assert read(texts) == read(tuple(texts))


def test_a_title_goes_before_its_text_in_the_layout_of_beir(model, tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        json.dumps({"_id": "1", "title": "Slip", "text": "flow"}) + "\n\n"
        + json.dumps({"_id": "2", "title": "", "text": "heat"}) + "\n"
    )  # fmt: skip
    index = Index.build(model, tmp_path / "corpus.jsonl", tmp_path / "index")
    found = {hit.id: hit.text for hit in index.search(["x"], 5)[0]}
    assert found == {"1": "Slip flow", "2": "heat"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes", r"notes holds something else \(thesis.tex\)"),
        ("notes/thesis.tex", "thesis.tex is a file"),
        ("notes/thesis.tex/index", "thesis.tex is a file, so nothing can be written under it"),
    ],
)
def test_a_folder_that_cannot_be_made_is_refused_before_the_corpus_is_read(
    monkeypatch, model, tmp_path, name, message
):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("kept")
    monkeypatch.setattr(
        "textcl.retrieval.index.survey", lambda *_: pytest.fail("the corpus was read")
    )
    with pytest.raises(UserError, match=message):
        Index.build(model, CORPUS, tmp_path / name, overwrite=True)


def test_a_disk_that_is_too_small_is_refused_before_any_work(monkeypatch, model, tmp_path):
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(documents.shutil, "disk_usage", lambda place: free)
    monkeypatch.setattr(type(model), "encode", lambda *_, **__: pytest.fail("went to work"))
    with pytest.raises(UserError, match="needs about 0 MB and its disk has 0 MB free"):
        Index.build(model, CORPUS, tmp_path / "index")


def test_a_disk_that_fills_up_keeps_what_is_complete(monkeypatch, model, tmp_path):
    monkeypatch.setattr(build, "_BLOCK", 16)

    def full(writer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Writer, "flush", full)
    with pytest.raises(RunError, match="disk is full: what is encoded so far is kept; once there"):
        Index.build(model, CORPUS, tmp_path / "index")
    monkeypatch.undo()
    assert len(Index.build(model, CORPUS, tmp_path / "index")) == 60


def test_a_second_writer_is_refused(index, model, tmp_path):
    opened = index()
    with (
        sole_writer(opened.folder / ".lock", "it"),
        pytest.raises(UserError, match="being written"),
    ):
        opened.add([{"id": "new", "text": "x"}])
    place = tmp_path / ".other.building"
    with sole_writer(place / ".lock", "it"), pytest.raises(UserError, match="being written by"):
        Index.build(model, CORPUS, tmp_path / "other")


def test_a_vector_that_is_not_finite_is_refused_by_the_id_of_its_document(
    monkeypatch, model, tmp_path
):
    broken = np.ones((60, 32), np.float32)
    broken[7, 3] = np.nan
    monkeypatch.setattr(type(model), "encode", lambda *_, **__: broken)
    with pytest.raises(RunError, match="not finite for the document 'd7'"):
        Index.build(model, CORPUS, tmp_path / "index")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "manifest.json").unlink(), "is no index: manifest.json is missing"),
        (lambda p: (p / "manifest.json").write_text("{"), "expected JSON"),
        (lambda p: os.truncate(p / "vectors", 100), "vectors is missing or cut off"),
        (lambda p: (p / "rows.jsonl").unlink(), "rows.jsonl is missing or cut off"),
        (lambda p: edit(p, version=2), "made by a later version"),
        (lambda p: edit(p, removed="../x"), "points outside of its folder"),
        (lambda p: edit(p, dtype="pickle"), "dtype: expected one of float32"),
        (lambda p: edit(p, rows=10**9), "is missing or cut off"),
    ],
)
def test_a_damaged_folder_is_one_sentence(index, change, message):
    folder = index().folder
    change(folder)
    with pytest.raises(UserError, match=message):
        Index.load(folder)


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_cut_graph_is_refused(index):
    opened = index("hnsw")
    (graph,) = opened.folder.glob("graph-*")
    os.truncate(graph, graph.stat().st_size // 2)
    with pytest.raises(UserError, match="is missing or cut off"):
        Index.load(opened.folder)
    edit(opened.folder, graph_bytes=0)
    graph.write_bytes(b"no graph")
    with pytest.raises(UserError, match="is no intact graph"):
        Index.load(opened.folder)


def test_what_lies_behind_the_rows_that_count_is_cut_off_by_the_next_writer(index, model):
    opened = index()
    with (opened.folder / "vectors").open("ab") as file:
        file.write(b"half a row")
    opened.add([{"id": "new", "text": "a man plays guitar"}])
    again = Index.load(opened.folder, model)
    same = exact(model, ["dog"], [*TEXTS, "a man plays guitar"])
    assert np.allclose(
        again.nearest(*[torch.tensor(v) for v in [query_vector(model)]], 1).scores, same.max()
    )
    assert Manifest.read(opened.folder).rows == 61


def query_vector(model):
    vector = model.encode(["dog"], prompt="query")
    return vector / np.linalg.norm(vector)


def test_bad_arguments_are_refused(built, model):
    index = Index.load(built / "float32", model)
    with pytest.raises(UserError, match="query 2 is empty"):
        index.search(["x", " "])
    with pytest.raises(UserError, match="at least 1 document"):
        index.search(["x"], 0)
    with pytest.raises(UserError, match="cannot be standard input"):
        Index.build(model, "-", "nowhere")
    with pytest.raises(UserError, match="exists already"):
        Index.build(model, CORPUS, built / "float32")


def test_a_distance_is_refused(tmp_path):
    with pytest.raises(UserError, match="compares by euclidean"):
        Index.build(tiny_encoder(similarity_name="euclidean"), CORPUS, tmp_path / "index")
    index = Index.build(tiny_encoder(similarity_name="dot"), CORPUS, tmp_path / "index")
    assert index.rows.vectors.norm(dim=1).max() > 1.5
