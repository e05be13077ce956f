import pytest
import torch

from textcl.errors import UserError
from textcl.retrieval import search
from textcl.retrieval.quantization import Ranges, from_bits, nearest_bits, search_int8, to_bits


def drawn(seed, n, d=12):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_decoded_rows_lie_less_than_a_step_below():
    rows = drawn(0, 50)
    ranges = Ranges.of(rows)
    error = rows - ranges.decode(ranges.encode(rows))
    assert (error > -1e-5).all()
    assert (error <= ranges.step + 1e-5).all()


def test_a_search_of_decoded_codes_is_that_of_the_decoded_rows():
    rows, queries = drawn(0, 80), drawn(1, 6)
    ranges = Ranges.of(rows)
    codes = ranges.encode(rows)
    wanted = search(queries, ranges.decode(codes), 5)
    assert torch.equal(search(queries, codes, 5, ranges.decode).rows, wanted.rows)
    assert torch.equal(search_int8(queries, codes, ranges, 5, multiplier=16).rows, wanted.rows)


@pytest.mark.parametrize("dimension", [8, 12, 17])
def test_bits_go_there_and_back_and_their_distance_is_counted(dimension):
    rows, queries = drawn(0, 20, dimension), drawn(1, 3, dimension)
    assert torch.equal(from_bits(to_bits(rows), dimension), (rows > 0).float())
    hits = nearest_bits(to_bits(queries), to_bits(rows), 20, dimension)
    differing = ((queries > 0)[:, None] != (rows > 0)[None]).sum(2)
    assert torch.equal(-hits.scores, differing.gather(1, hits.rows).float())
    assert hits.rows.tolist() == differing.argsort(dim=1, stable=True).tolist()


def test_too_few_rows_and_broken_ones_give_no_ranges():
    with pytest.raises(UserError, match="at least two rows, got 1"):
        Ranges.of(drawn(0, 1))
    with pytest.raises(UserError, match="not finite"):
        Ranges.of(drawn(0, 3) / 0)
