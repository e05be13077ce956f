"""Fresh classification heads."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from textcl.classifier.head import ClassificationHead, make_head
from textcl.classifier.linear_probe import fit_linear_probe


@pytest.mark.parametrize("kind", ["own", "lcl"])
def test_heads_of_several_labels_start_from_one_label_a_row(kind):
    head = make_head(kind, "bert", 8, 28, multi_label=True).eval()
    found = head(torch.zeros(1, 8)).sigmoid()
    torch.testing.assert_close(found.mean(), torch.tensor(1 / 28), rtol=0.3, atol=0.0)
    torch.testing.assert_close(head.output.bias.sigmoid(), torch.full((28,), 1 / 28))


def test_other_heads_start_as_torch_draws_them():
    torch.manual_seed(0)
    head = make_head("own", "bert", 8, 28)
    assert head.output.bias.std() > 0
    assert make_head("own", "bert", 8, 1, multi_label=True).output.bias.isfinite().all()


def test_a_head_that_normalizes_gives_the_logits_of_its_regression_and_comes_back():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(30, 6)).astype(np.float32) * draw.uniform(0.1, 9, size=(30, 1))
    x = x.astype(np.float32)
    probe = fit_linear_probe(x, np.arange(30) % 3, 3, strength=3.0, normalize=True)
    head = make_head("linear", "bert", 6, 3, dropout=0.0, normalize=True)
    head.start_from(probe.weight, probe.bias)
    again = ClassificationHead(**asdict(head.shape))
    again.load_state_dict(head.state_dict())
    for each in (head, again):
        logits = each(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(logits, probe.logits(x), atol=1e-4)
        np.testing.assert_allclose(
            each(torch.from_numpy(7 * x)).detach().numpy(), logits, atol=1e-4
        )
