"""The encoder: what its vectors depend on and what they do not."""

from __future__ import annotations

import copy

import families
import numpy as np
import pandas
import pytest
import torch

from textcl.encoder import blocks
from textcl.encoder.encoder import Encoder
from textcl.encoder.pooling import POOLINGS
from textcl.encoder.similarity import compare
from textcl.errors import UserError
from textcl.types import Tokens

TEXTS = [
    "a dog runs in the street",
    "",
    "two men play the guitar , and a child eats food by the water .",
    "cat",
    "a dog runs in the street",
    "word " * 100,
]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_encode_gives_unit_float32_rows_in_order(family):
    encoder = families.tiny_encoder(family, normalize=True)
    vectors = encoder.encode(TEXTS, precision="float32")
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode([text], precision="float32") for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


@pytest.mark.parametrize("pooling", [p for p in POOLINGS if p != "cls_pooler"])
def test_vectors_do_not_depend_on_neighbours_or_budget(pooling):
    encoder = families.tiny_encoder(pooling=pooling, max_length=20)
    together = encoder.encode(TEXTS, precision="float32")
    tight = encoder.encode(TEXTS[::-1], batch_tokens=1, precision="float32")[::-1]
    np.testing.assert_allclose(together, tight, atol=1e-5)
    with torch.no_grad():
        forward = encoder(encoder.tokenize(TEXTS))
    np.testing.assert_allclose(together, forward, atol=1e-5)


def test_encode_reads_an_iterator_block_by_block(monkeypatch):
    monkeypatch.setattr("textcl.encoder.blocks.BLOCK", 2)
    encoder = families.tiny_encoder()
    vectors = encoder.encode((text for text in TEXTS), precision="float32")
    monkeypatch.undo()
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS, precision="float32"), atol=1e-5)


def test_float16_vectors_are_float32_ones_rounded_once():
    encoder = families.tiny_encoder(normalize=True)
    exact = encoder.encode(TEXTS, precision="float32")
    half = encoder.encode(TEXTS, precision="float32", dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, exact.astype(np.float16))
    tensor = encoder.encode(TEXTS[0], dtype="float16", convert_to_tensor=True)
    assert tensor.dtype == torch.float16
    assert encoder.encode([], dtype="float16").dtype == np.float16
    with pytest.raises(UserError, match="dtype must be 'float32' or 'float16', not 'int8'"):
        encoder.encode(TEXTS, dtype="int8")


def test_encode_of_nothing_is_an_empty_table():
    assert families.tiny_encoder(pooling="mean+max").encode([]).shape == (0, 64)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_bfloat16_stays_close_to_float32_and_leaves_the_weights_alone(family):
    encoder = families.tiny_encoder(family, normalize=True)
    before = copy.deepcopy(encoder.state_dict())
    low = encoder.encode(TEXTS, precision="bfloat16")
    high = encoder.encode(TEXTS, precision="float32")
    assert (low * high).sum(1).min() > 0.99
    assert not np.array_equal(low, high)
    with pytest.raises(UserError, match="number 1"):
        encoder.encode(iter(["fine", 3]), precision="bfloat16")  # pyright: ignore[reportArgumentType]
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_bfloat16_reaches_the_pretrained_pooler():
    encoder = families.tiny_encoder(pooling="cls_pooler", normalize=True)
    low = encoder.encode(TEXTS, precision="bfloat16")
    assert (low * encoder.encode(TEXTS, precision="float32")).sum(1).min() > 0.99


def test_truncated_vectors_are_normalised_again():
    encoder = families.tiny_encoder()
    whole = encoder.encode(TEXTS)
    cut = encoder.encode(TEXTS, truncate_dim=8)
    np.testing.assert_array_equal(cut, whole[:, :8])
    unit = encoder.encode(TEXTS, truncate_dim=8, normalize=True)
    np.testing.assert_allclose(unit, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(UserError, match="truncate_dim=33 must be between 1 and 32"):
        encoder.encode(TEXTS, truncate_dim=33)


def test_prompts_are_put_in_front():
    encoder = families.tiny_encoder(prompts={"query": "two men "}, default_prompt="query")
    expected = encoder.encode(["two men eat"], prompt="")
    for prompt in (None, "query"):
        np.testing.assert_array_equal(encoder.encode(["eat"], prompt=prompt), expected)
    own = encoder.encode(["eat"], prompt_text="two men ")
    np.testing.assert_array_equal(own, expected)


def test_unknown_prompt_names_the_known_ones():
    encoder = families.tiny_encoder(prompts={"query": "two men ", "document": ""})
    with pytest.raises(
        UserError, match=r"no prompt 'quary'; it knows 'query', 'document'.*--prompt-text"
    ):
        encoder.encode(["eat"], prompt="quary")
    with pytest.raises(UserError, match="by name or by its text, got both"):
        encoder.encode(["eat"], prompt="query", prompt_text="a ")
    with pytest.raises(UserError, match="it knows none"):
        families.tiny_encoder().reader(prompt="query")


def test_reader_counts_the_prompt():
    encoder = families.tiny_encoder(
        prompts={"query": "two new "}, default_prompt="query", max_length=6
    )
    assert encoder.reader().count_cut(["eat food", "eat food food"]) == 1
    assert encoder.reader(prompt="").count_cut(["eat food", "eat food food"]) == 0
    assert encoder.reader().lengths(["eat food food"]) == [7]
    with pytest.raises(UserError, match="max_length=99 does not fit the model: choose 1 to 64"):
        encoder.reader(max_length=99)


def test_encode_leaves_the_mode_and_the_generator_alone():
    encoder = families.tiny_encoder().train()
    state = torch.get_rng_state()
    first = encoder.encode(TEXTS)
    np.testing.assert_array_equal(first, encoder.encode(TEXTS))
    assert encoder.training
    assert encoder.backbone.training
    assert torch.equal(state, torch.get_rng_state())


def test_texts_are_cut_to_the_maximum_length():
    encoder = families.tiny_encoder(max_length=5)
    tokens = encoder.tokenize(TEXTS)
    assert tokens.lengths.tolist() == [5, 2, 5, 3, 5, 5]
    last = encoder.tokenizer.sep_token_id
    assert [int(tokens.rows(i, i + 1).ids[-1]) for i in range(6)] == [last] * 6
    assert encoder.tokenize(TEXTS, max_length=3).lengths.max() == 3


def test_roberta_takes_no_more_tokens_than_it_has_positions():
    encoder = families.tiny_encoder("roberta")
    assert encoder.max_length == families.LENGTH
    assert encoder.tokenize(["word " * 100]).lengths.item() == families.LENGTH
    assert np.isfinite(encoder.encode(["word " * 100])).all()
    with pytest.raises(UserError, match="max_length=65 does not fit the model: choose 1 to 64"):
        families.tiny_encoder("roberta", max_length=65)


def test_similarity_is_the_cosine_of_texts_or_vectors():
    encoder = families.tiny_encoder()
    a, b = encoder.encode(TEXTS[:2]), encoder.encode(TEXTS[2:])
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    np.testing.assert_allclose(encoder.similarity(a, b), unit[0] @ unit[1].T, atol=1e-6)
    np.testing.assert_array_equal(encoder.similarity(TEXTS[:2], b), encoder.similarity(a, b))


def test_forward_goes_through_a_projector_that_encode_leaves_out_unless_it_is_kept():
    plain = families.tiny_encoder(dropout=0.0)
    tokens, vectors = plain.tokenize(TEXTS), plain.encode(TEXTS, precision="float32")
    for keep in (False, True):
        encoder = copy.deepcopy(plain)
        encoder.add_projector(keep=keep)
        layer = encoder.dense[-1] if keep else encoder.projector
        assert layer is not None
        expected = layer(plain(tokens))
        for mode in (encoder.train(), encoder.eval()):
            torch.testing.assert_close(mode(tokens), expected)
        outside = expected.detach().numpy() if keep else vectors
        got = encoder.encode(TEXTS, precision="float32")
        np.testing.assert_allclose(got, outside, atol=1e-5)
        assert encoder.dimension == vectors.shape[1]
    plain.add_projector(keep=False)
    with pytest.raises(UserError, match="has a projector already"):
        plain.add_projector(keep=True)


def test_projector_starts_as_the_backbone_does():
    encoder = families.tiny_encoder(hidden=256)
    encoder.add_projector(keep=False)
    assert encoder.projector is not None
    weight, bias = (p.detach() for p in encoder.projector.parameters())
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not bias.any()


@pytest.mark.parametrize("keep", [True, False])
def test_checkpoints_from_when_the_projector_was_called_head_are_taken(keep):
    old, new = families.tiny_encoder(seed=1), families.tiny_encoder()
    for encoder in (old, new):
        encoder.add_projector(keep=keep)
    name = "dense.0" if keep else "projector"
    state = {k.replace(f"{name}.", "head."): v for k, v in old.state_dict().items()}
    assert "head.0.weight" in state
    torch.nn.ModuleDict({"online": new}).load_state_dict(
        {f"online.{k}": v for k, v in state.items()}, strict=True
    )
    tokens = new.tokenize(TEXTS)
    torch.testing.assert_close(new(tokens), old(tokens))


def test_forward_does_not_normalise():
    encoder = families.tiny_encoder(normalize=True)
    vectors = encoder(encoder.tokenize(TEXTS))
    assert (vectors.norm(dim=1) > 1.5).all()


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean_all", "first_last"])
def test_forward_of_chunks_equals_the_whole(pooling):
    encoder = families.tiny_encoder(pooling=pooling, max_length=20)
    tokens = encoder.tokenize(TEXTS)
    whole = encoder(tokens)
    chunks = torch.cat([encoder(tokens.rows(i, i + 2)) for i in (0, 2, 4)])
    torch.testing.assert_close(whole, chunks, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "mean_all", "cls"])
def test_row_without_tokens_is_zero(pooling):
    encoder = families.tiny_encoder(pooling=pooling, max_length=20)
    tokens = encoder.tokenize(["a dog", "cat"])
    holed = Tokens(tokens.ids, torch.tensor([0, *tokens.lengths.tolist()]))
    vectors = encoder(holed)
    assert torch.equal(vectors[0], torch.zeros(32))
    torch.testing.assert_close(vectors[1:], encoder(tokens), atol=1e-5, rtol=0)


def test_mean_all_is_what_a_padded_model_averages():
    encoder = families.tiny_encoder(pooling="mean_all", max_length=20)
    ids, mask = encoder.tokenize(TEXTS).padded(0, 20)
    hidden = encoder.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(encoder(encoder.tokenize(TEXTS)), hidden.mean(1), atol=1e-5, rtol=0)


def test_forward_is_float32_under_autocast_and_float64_when_asked():
    encoder = families.tiny_encoder()
    encoder.add_projector(keep=True)
    tokens = encoder.tokenize(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(tokens).dtype == torch.float32
    assert encoder.double()(tokens).dtype == torch.float64
    assert encoder.encode(TEXTS).dtype == np.float32


def test_state_dict_round_trips_strictly():
    encoder, other = families.tiny_encoder(), families.tiny_encoder(seed=1)
    for one in (encoder, other):
        one.add_projector(keep=False)
    assert not np.allclose(encoder.encode(TEXTS), other.encode(TEXTS))
    other.load_state_dict(encoder.state_dict(), strict=True)
    assert np.array_equal(encoder.encode(TEXTS), other.encode(TEXTS))


def test_gradient_checkpointing_changes_no_gradient():
    def gradients(encoder: Encoder) -> list[torch.Tensor]:
        torch.manual_seed(0)
        encoder(encoder.tokenize(TEXTS)).square().sum().backward()
        return [p.grad for p in encoder.parameters() if p.grad is not None]

    plain, saving = (families.tiny_encoder().train() for _ in range(2))
    saving.gradient_checkpointing_enable()
    expected = gradients(plain)
    assert len(expected) > 20
    torch.testing.assert_close(gradients(saving), expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["fine", 3], "texts must be strings, but number 1 is 3"),
        (["fine", "\ud800"], "text number 1 is not valid Unicode"),
    ],
)
def test_texts_of_the_wrong_kind_are_told(texts, message):
    with pytest.raises(UserError, match=message):
        # An iterator, because the type checker of the tests would find the number in a list first.
        families.tiny_encoder().encode(iter(texts))


def test_unknown_precision_and_pooling_are_told():
    with pytest.raises(UserError, match="precision must be 'float32' or 'bfloat16', not 'int8'"):
        families.tiny_encoder().encode(TEXTS, precision="int8")
    with pytest.raises(UserError, match="unknown pooling 'average'"):
        families.tiny_encoder(pooling="average")


def test_progress_ends_at_the_number_of_texts(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes standard error for a terminal
    families.tiny_encoder().encode(TEXTS, show_progress=True)
    assert "6/6" in capsys.readouterr().err


def test_encode_tokenises_ahead_and_keeps_the_order(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2)
    encoder, texts = families.tiny_encoder(), ["a man", "dog", "the cat eats", "ball", "red"]
    expected = encoder.encode(texts, precision="float32", batch_tokens=10**6)
    seen: list[str] = []

    def read():
        for text in texts:
            seen.append(text)
            yield text

    first = next(blocks._ahead(map(encoder.tokenize, blocks.blocks(read()))))
    assert len(first) == 2
    assert len(seen) <= 4  # no more than one block ahead
    np.testing.assert_allclose(encoder.encode(read(), precision="float32"), expected, atol=1e-6)

    def broken():
        yield from texts[:3]
        raise UserError("line 4 is torn")

    with pytest.raises(UserError, match="line 4 is torn"):
        encoder.encode(broken())


def test_similarity_takes_columns_of_texts_and_vectors_of_either_library():
    encoder, texts = families.tiny_encoder(), ["fine", "not so fine", "other"]
    vectors = encoder.encode(texts)
    expected = encoder.similarity(texts, texts)
    for a in (
        np.array(texts),
        pandas.Series(texts),
        iter(texts),
        vectors,
        torch.from_numpy(vectors),
    ):
        np.testing.assert_allclose(encoder.similarity(a, texts), expected, atol=1e-6)
    with pytest.raises(UserError, match="DataFrame with the columns 'text'"):
        encoder.similarity(pandas.DataFrame({"text": texts}), texts)


def test_the_names_of_columns_are_never_encoded():
    with pytest.raises(UserError, match="a DataFrame with the columns 'text'"):
        families.tiny_encoder().encode(pandas.DataFrame({"text": ["a", "b"]}))


def test_vectors_of_different_lengths_are_not_compared():
    with pytest.raises(UserError, match="vectors of 32 and of 16 dimensions cannot be compared"):
        compare(torch.ones(1, 32), torch.ones(2, 16), "cosine")


def test_a_recipe_file_may_call_the_projector_a_head():
    encoder = families.tiny_encoder()
    encoder.add_head(keep=False)
    assert encoder.projector is not None
