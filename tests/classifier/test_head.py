"""Fresh classification heads."""

from __future__ import annotations

import pytest
import torch

from textcl.classifier.head import make_head


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
