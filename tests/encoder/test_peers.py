import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import families
import numpy as np
import pytest
import torch
from huggingface_hub import constants

from textcl.encoder.encoder import Encoder
from textcl.encoder.peers import own_arguments
from textcl.errors import RunError, UserError

TEXTS = ["a cat", "the dog sat on the mat", "a dog", "", "the cat and the dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    encoder = families.tiny_encoder()
    encoder.prompts = {"query": "the cat ", "document": "a dog "}
    place = tmp_path_factory.mktemp("model") / "m"
    encoder.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def encoder(folder):
    return Encoder(folder)


def test_the_name_of_a_folder_is_enough(encoder, folder):
    assert np.array_equal(encoder.encode(TEXTS), Encoder.from_pretrained(folder).encode(TEXTS))
    assert not encoder.training
    with pytest.raises(UserError, match="and its tokenizer, or of the name of a model"):
        Encoder(encoder.backbone)


def test_one_text_gives_one_vector(encoder):
    one = encoder.encode(TEXTS[1])
    assert one.shape == (encoder.dimension,)
    np.testing.assert_allclose(one, encoder.encode(TEXTS)[1], atol=1e-6)
    assert encoder.encode("", convert_to_tensor=True).shape == (encoder.dimension,)


def test_names_of_sentence_transformers_mean_the_same(encoder):
    plain = encoder.encode(TEXTS)
    tensor = encoder.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    assert torch.equal(tensor, torch.from_numpy(plain))
    few = encoder.encode(TEXTS, batch_size=2, convert_to_numpy=True)
    np.testing.assert_allclose(few, plain, atol=1e-6)
    unit = encoder.encode(TEXTS, normalize_embeddings=True)
    assert np.array_equal(unit, encoder.encode(TEXTS, normalize=True))
    assert np.array_equal(encoder.encode(TEXTS, normalize_embeddings=False), plain)
    named = encoder.encode(TEXTS, prompt_name="query")
    assert np.array_equal(named, encoder.encode(TEXTS, prompt="query"))


def test_batch_size_bounds_the_tokens_of_a_batch():
    assert own_arguments({}, {"batch_size": 4}, 1000, 32).batch_tokens == 128
    assert own_arguments({}, {"batch_size": 400}, 1000, 32).batch_tokens == 1000
    assert own_arguments({"batch_tokens": 9}, {"batch_size": 4}, 1000, 32).batch_tokens == 9


def test_arguments_that_do_not_fit_are_refused(encoder):
    with pytest.raises(UserError, match="encode has no argument 'batchsize'; beside its own"):
        encoder.encode(TEXTS, batchsize=3)
    with pytest.raises(UserError, match="prompt and prompt_name are both the name of a prompt"):
        encoder.encode(TEXTS, prompt="query", prompt_name="query")
    with pytest.raises(UserError, match="batch_size is at least 1, got 0"):
        encoder.encode(TEXTS, batch_size=0)


def test_queries_and_documents_have_the_prompt_of_their_role(encoder):
    assert np.array_equal(encoder.encode_query(TEXTS), encoder.encode(TEXTS, prompt="query"))
    assert np.array_equal(encoder.encode_document(TEXTS), encoder.encode(TEXTS, prompt="document"))
    assert np.array_equal(encoder.encode_query(TEXTS, prompt=""), encoder.encode(TEXTS))
    assert torch.is_tensor(encoder.encode_document(TEXTS, convert_to_tensor=True))
    bare = families.tiny_encoder()
    assert np.array_equal(bare.encode_query(TEXTS), bare.encode(TEXTS))


def test_similarity_of_tensors_is_a_tensor(encoder):
    rows = encoder.encode(TEXTS, convert_to_tensor=True)
    for name in ("cosine", "dot", "euclidean", "manhattan"):
        encoder.similarity_name = name
        table = encoder.similarity(rows, rows)
        assert torch.is_tensor(table)
        pairs = encoder.similarity_pairwise(rows, rows.flip(0))
        torch.testing.assert_close(pairs, table.flip(1).diagonal(), atol=2e-3, rtol=1e-4)
    assert isinstance(encoder.similarity_pairwise(TEXTS, TEXTS), np.ndarray)
    encoder.similarity_name = "cosine"
    assert encoder.similarity_fn_name == "cosine"


def test_length_and_dimension_have_the_other_names_too(encoder):
    assert encoder.max_seq_length == encoder.max_length
    assert encoder.get_sentence_embedding_dimension() == encoder.get_embedding_dimension()
    assert encoder.get_embedding_dimension() == encoder.encode(TEXTS).shape[1]
    other = families.tiny_encoder()
    other.max_seq_length = 4
    assert other.tokenize(TEXTS).lengths.max() == 4
    with pytest.raises(UserError, match="does not fit the model"):
        other.max_seq_length = 10**6


def test_evaluators_of_sentence_transformers_run_and_agree(encoder, folder, monkeypatch):
    monkeypatch.setattr("textcl.encoder.precision.fast_bfloat16", lambda device: False)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import evaluation

    theirs = SentenceTransformer(str(folder), device="cpu")
    pairs = evaluation.EmbeddingSimilarityEvaluator(
        TEXTS, TEXTS[::-1], [0.1, 0.7, 1.0, 0.3, 0.2], name="pairs", show_progress_bar=False
    )
    documents = {f"d{n}": text for n, text in enumerate(TEXTS) if text}
    search = evaluation.InformationRetrievalEvaluator(
        {"q1": "a cat", "q2": "the mat"}, documents, {"q1": {"d0"}, "q2": {"d1", "d4"}},
        name="search", precision_recall_at_k=[1, 2], show_progress_bar=False,
    )  # fmt: skip
    for evaluator in (pairs, search):
        ours = evaluator(encoder)
        assert ours == pytest.approx(evaluator(theirs), abs=1e-6)
        assert encoder.model_card_data.scores[evaluator.name] == ours


class Hub(BaseHTTPRequestHandler):
    """A stand-in of the hub's interface for uploads: a repository, what goes how, and one commit."""

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.asked.append(self.path)
        if self.path == "/api/repos/create":
            if "taken" in json.loads(body)["name"]:
                return self.answer({"error": "not a name"}, 400)
            return self.answer({"url": f"{self.server.address}/me/model", "id": "me/model"})
        if "validate-yaml" in self.path:
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self.answer({"files": modes})
        lines = [json.loads(line) for line in body.splitlines()]
        self.server.files |= {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        return self.answer(
            {
                "commitUrl": f"{self.server.address}/me/model/commit/1",
                "commitOid": "1",
                "success": True,
            }
        )

    def do_GET(self):
        self.answer({"id": "me/model", "siblings": []})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files = [], {}
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_goes_to_the_hub_as_it_is_saved(encoder, hub, tmp_path):
    url = encoder.push_to_hub("me/model", token="hf_x", private=True)
    assert url == f"{hub.address}/me/model/commit/1"
    assert {"modules.json", "README.md", "config.json"} <= set(hub.files)
    for name, content in hub.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    again = Encoder.from_pretrained(tmp_path)
    np.testing.assert_allclose(again.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)


def test_what_the_hub_refuses_is_one_sentence(encoder, hub):
    with pytest.raises(RunError, match="the hub did not take me/taken: "):
        encoder.push_to_hub("me/taken", token="hf_x")
    with pytest.raises(UserError, match="cannot be a name on the hub"):
        encoder.push_to_hub("no such//name", token="hf_x")
