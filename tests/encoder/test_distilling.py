"""Distilling an encoder into a table, against a slow reference in float64 that encodes one token after the other."""

import families
import numpy as np
import pytest
import torch

from textcl import Encoder, distil
from textcl.encoder.distilling import principal_components, sif_weights
from textcl.errors import UserError

TEXTS = ["the dog and the cat", "a small red ball", "Guitar music!"]


@pytest.fixture(scope="module")
def teacher():
    return families.tiny_encoder(layers=1, normalize=True)


def reference(teacher, dimension, sif):
    """The table by loops: [CLS] token [SEP] through the teacher, centred, by singular vectors, weighed by rank."""
    tokenizer = teacher.tokenizer
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    rows = []
    for number in ids:
        whole = torch.tensor([[tokenizer.cls_token_id, number, tokenizer.sep_token_id]])
        with torch.no_grad():
            states = teacher.backbone(input_ids=whole, attention_mask=torch.ones_like(whole))
        rows.append(states.last_hidden_state[0].double().mean(0).numpy())
    rows = np.array(rows) - np.mean(rows, axis=0)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    kept = rows @ directions[:dimension].T
    probability = np.array([1 / (rank + 2) for rank in range(len(ids))])
    probability /= probability.sum()
    table = np.zeros((len(tokenizer), dimension))
    table[ids] = kept * (sif / (sif + probability))[:, None] if sif else kept
    return table


@pytest.mark.parametrize("sif", [1e-3, 0.0])
def test_the_table_is_that_of_the_reference_up_to_signs(teacher, sif):
    found = distil(teacher, dimension=8, sif=sif).backbone.embeddings.weight.detach().numpy()
    expected = reference(teacher, 8, sif)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-5)
    assert (found[found.any(1)].max(0) > 0).all()


def test_a_text_is_the_mean_of_its_tokens_scaled_to_length_1(teacher):
    student = distil(teacher, dimension=8)
    table = student.backbone.embeddings.weight.detach().double().numpy()
    backend = families.tiny_tokenizer().backend_tokenizer
    for text, vector in zip(TEXTS, student.encode(TEXTS), strict=True):
        mean = table[backend.encode(text, add_special_tokens=False).ids].mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert student.dimension == 8
    assert distil(teacher, dimension=999).dimension == teacher.dimension


def test_words_get_rows_of_their_own(teacher, tmp_path):
    student = distil(teacher, dimension=8, words=["wombat", "dog", "wombat"])
    backend = student.tokenizer.backend_tokenizer
    ids = backend.encode("the Wombat , a wombats dog").ids
    fresh = backend.token_to_id("wombat")
    assert ids.count(fresh) == 1  # only the whole word
    assert len(student.tokenizer) == len(teacher.tokenizer) + 1  # "dog" has a token already
    assert student.backbone.embeddings.weight[fresh].abs().sum() > 0
    student.save_pretrained(tmp_path / "x")
    again = Encoder.from_pretrained(tmp_path / "x")
    np.testing.assert_allclose(again.encode(["a wombat"]), student.encode(["a wombat"]), atol=1e-6)


def test_special_tokens_say_nothing(teacher):
    student = distil(teacher, dimension=8)
    special = teacher.tokenizer.all_special_ids
    assert not student.backbone.embeddings.weight[special].any()
    np.testing.assert_allclose(student.encode(["dog €"]), student.encode(["dog"]), atol=1e-6)


def test_components_fall_in_variance():
    rows = torch.randn(50, 6, dtype=torch.float64) * torch.tensor([1.0, 5, 2, 9, 3, 4])
    found = principal_components(rows, 4)
    assert found.shape == (50, 4)
    variance = found.var(0)
    assert (variance[:-1] >= variance[1:]).all()
    np.testing.assert_allclose(found.T @ found, torch.diag((found**2).sum(0)), atol=1e-9)


def test_rare_tokens_weigh_most():
    weights = sif_weights(100, 1e-3)
    assert (weights[1:] > weights[:-1]).all()
    assert weights[-1] <= 1
    assert sif_weights(3, 0).tolist() == [1, 1, 1]


def test_a_static_teacher_is_refused(teacher):
    with pytest.raises(UserError, match="static already"):
        distil(distil(teacher))
