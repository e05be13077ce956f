from itertools import pairwise

import torch

from textcl.encoder.packing.padded import padded_batches


def test_runs_cover_every_row_once_and_waste_little():
    lengths = sorted(
        torch.randint(1, 200, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    )
    runs = list(padded_batches(lengths, smallest=16))
    assert runs[0][0] == 0
    assert runs[-1][1] == len(lengths)
    assert all(a[1] == b[0] for a, b in pairwise(runs))
    cost = sum((stop - start) * lengths[stop - 1] for start, stop in runs)
    assert cost < 1.25 * sum(lengths)


def test_runs_hold_their_budget():
    lengths = sorted([3] * 40 + [4, 5, 9, 30, 31, 32] * 7 + [500])
    runs = list(padded_batches(lengths, smallest=8, budget=128))
    assert [i for a, b in runs for i in range(a, b)] == list(range(len(lengths)))
    for start, stop in runs:
        assert stop - start == 1 or (stop - start) * lengths[stop - 1] <= 128
        assert stop - start <= 9 or lengths[stop - 1] <= 1.25 * lengths[start]
