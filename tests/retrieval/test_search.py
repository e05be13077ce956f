import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textcl.errors import UserError
from textcl.retrieval import candidates, limits, products, screen, search
from textcl.retrieval.rounded import Block
from textcl.retrieval.search import Hits, rescored


def slow(queries, corpus, k):
    """All products in float64, sorted by score and then by row."""
    scores = (queries.double() @ corpus.double().T).tolist()
    return [sorted(range(len(row)), key=lambda n: (-row[n], n))[:k] for row in scores]


def drawn(seed, n, values=5):
    """Small whole numbers: exact in every precision, and full of ties."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-values, values + 1, (n, 4), generator=generator).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("query_block", "corpus_block"), [(1024, 16_384), (3, 7), (1, 1)])
def test_is_the_sorted_table_of_products_ties_by_row(dtype, query_block, corpus_block):
    queries, corpus = drawn(0, 8, 1).to(dtype), drawn(1, 50, 1).to(dtype)
    hits = search(queries, corpus, 6, query_block=query_block, corpus_block=corpus_block)
    assert hits.rows.tolist() == slow(queries, corpus, 6)
    wanted = (queries.double() @ corpus.double().T).gather(1, hits.rows)
    assert torch.equal(hits.scores.double(), wanted)


def test_a_small_corpus_gives_what_it_has_and_an_empty_one_nothing():
    assert search(drawn(0, 2), drawn(1, 3), 10).rows.shape == (2, 3)
    assert search(drawn(0, 2), drawn(1, 0), 10).rows.shape == (2, 0)
    assert search(drawn(0, 0), drawn(1, 3), 10).rows.shape[0] == 0


def test_codes_are_decoded_block_by_block():
    queries, corpus = drawn(0, 4), drawn(1, 20)
    stored = corpus.to(torch.int8)
    assert torch.equal(
        search(queries, stored, 5, decode=as_float).rows, search(queries, corpus, 5).rows
    )


def as_float(rows):
    return rows.float()


def test_vectors_with_a_gradient_are_searched_as_others():
    queries, corpus = drawn(0, 20), drawn(1, 30)
    found = search(queries.clone().requires_grad_(), corpus.clone().requires_grad_(), 3)
    assert torch.equal(found.rows, search(queries, corpus, 3).rows)
    assert not found.scores.requires_grad


def test_products_are_in_the_precision_of_the_queries():
    queries, corpus = drawn(0, 4), drawn(1, 20)
    assert search(queries, corpus.double(), 5).scores.dtype == torch.float32
    assert search(queries.double(), corpus, 5).scores.dtype == torch.float64


def test_rescoring_orders_what_was_found_by_the_finer_vectors():
    queries, corpus = drawn(0, 5), drawn(1, 30)
    everything = Hits(torch.arange(30).flip(0).repeat(5, 1), torch.zeros(5, 30))
    assert torch.equal(
        rescored(queries, everything, corpus, 7).rows, search(queries, corpus, 7).rows
    )


def test_bad_input_is_one_sentence():
    broken = drawn(1, 20)
    broken[17, 2] = torch.nan
    with pytest.raises(UserError, match="row 17 of the corpus vectors is not finite"):
        search(drawn(0, 2), broken, 3, corpus_block=8)
    with pytest.raises(UserError, match="row 17 of the query vectors"):
        search(broken, drawn(0, 2), 3)
    with pytest.raises(UserError, match="queries have 4 dimensions and the corpus 3"):
        search(drawn(0, 2), drawn(1, 5)[:, :3], 3)
    with pytest.raises(UserError, match="got k = 0"):
        search(drawn(0, 2), drawn(1, 5), 0)


@pytest.mark.parametrize("levels", [2, 50])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_long_blocks_give_the_same_rows_whatever_ties(levels, k):
    draw = torch.Generator().manual_seed(levels)
    corpus = torch.randint(levels, (3000, 3), generator=draw).float()
    queries = torch.randint(-2, 3, (20, 3), generator=draw).float()
    removed = torch.rand(3000, generator=draw) < 0.3
    scores = (queries @ corpus.T).masked_fill(removed, float("-inf"))
    wanted = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    found = search(queries, corpus, k, corpus_block=1000, removed=removed)
    assert torch.equal(found.rows, wanted)
    assert torch.equal(found.scores, scores.gather(1, wanted))


def dense(scale, seed=0):
    """Vectors as of a model, all near one direction; every tenth row comes four times, some differ by 1e-6 only."""
    draw = torch.Generator().manual_seed(seed)
    corpus = 0.3 * torch.randn(2400, 96, generator=draw) + torch.randn(96, generator=draw)
    for place in range(0, 500, 10):
        corpus[[place + 700, place + 1300, place + 1900]] = corpus[place].clone()
        corpus[place + 1901] = corpus[place] * (1 + 1e-6)
    queries = corpus[::100] + 0.1 * torch.randn(24, 96, generator=draw)
    return queries * scale, corpus * scale


def use_arithmetic(patch, name):
    """Coarse products in one arithmetic, whatever the machine and however few the queries."""
    patch.setattr(screen, "_FEW", 0)
    patch.setattr(screen, "_MANY", 0)
    patch.setattr(screen, "fast_bfloat16", lambda device: name == "half")
    patch.setattr(screen, "fast_int8", lambda device: name == "whole")


FORMS = ("given", "half", "whole")


@pytest.mark.parametrize("arithmetic", FORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e-25, 1e15, 1e19])
def test_coarse_products_rule_out_nothing_that_belongs_to_the_best(monkeypatch, arithmetic, scale):
    use_arithmetic(monkeypatch, arithmetic)
    queries, corpus = dense(scale)
    removed = torch.arange(len(corpus)) % 7 == 3
    scores = (queries.double() @ corpus.double().T).float().masked_fill(removed, float("-inf"))
    wanted = scores.argsort(dim=1, descending=True, stable=True)[:, :9]
    for corpus_block in (64, 500):
        hits = search(queries, corpus, 9, corpus_block=corpus_block, removed=removed)
        assert torch.equal(hits.rows, wanted)
        assert torch.equal(hits.scores, scores.gather(1, wanted))


@pytest.mark.parametrize("arithmetic", FORMS)
def test_most_rows_are_never_scored_exactly(monkeypatch, arithmetic):
    use_arithmetic(monkeypatch, arithmetic)
    draw = torch.Generator().manual_seed(0)
    corpus = torch.nn.functional.normalize(torch.randn(20_000, 96, generator=draw))
    scored = []

    def counted(queries, rows, pairs):
        scored.append(len(pairs.row))
        return products.exact_some(queries, rows, pairs)

    monkeypatch.setattr(candidates, "exact_some", counted)
    hits = search(corpus[:32], corpus, 10, corpus_block=1000)
    assert 32 * 10 <= sum(scored) < 32 * 120  # 40 of 1,000 rows, then 10 times 1/2 + 1/3 + … + 1/20
    assert hits.rows[:, 0].tolist() == [*range(32)]


def test_rows_with_few_large_numbers_are_not_multiplied_in_whole_numbers(monkeypatch):
    use_arithmetic(monkeypatch, "whole")
    draw = torch.Generator().manual_seed(0)
    corpus = torch.randn(2000, 96, generator=draw)
    assert screen.Screen(corpus[:9]).products(block(corpus)).numbers.dtype == torch.int32
    corpus[:, 5] *= 50
    assert screen.Screen(corpus[:9]).products(block(corpus)).numbers.dtype == torch.float32


def block(rows):
    return Block(rows, 0, float(rows.norm(dim=1).max()), None)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.5])
def test_products_of_some_pairs_are_those_of_the_whole_table(share):
    """Few pairs, and so many that the rows are taken part by part."""
    draw = torch.Generator().manual_seed(0)
    queries = torch.randn(30, 8, generator=draw).double()
    corpus = torch.randn(2500, 8, generator=draw)
    pairs = products.Pairs.of(torch.rand(30, 2500, generator=draw) < share)
    wanted = (queries @ corpus.double().T)[pairs.query, pairs.row]
    assert torch.allclose(products.exact_some(queries, corpus, pairs), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("arithmetic", FORMS)
def test_a_product_is_off_by_no_more_than_the_bound(monkeypatch, arithmetic):
    use_arithmetic(monkeypatch, arithmetic)
    queries, corpus = dense(3.0)
    coarse = screen.Screen(queries).products(block(corpus))
    off = coarse.numbers.double() * coarse.unit[:, None] - queries.double() @ corpus.double().T
    own = 2.0**-8 * coarse.numbers.double().abs() * (arithmetic == "half")
    assert (off.abs() <= coarse.error[:, None] + own).all()
    assert off.abs().max() > 1e-7


@pytest.mark.parametrize("arithmetic", FORMS)
@pytest.mark.parametrize("corpus_block", [300, 5000])
@pytest.mark.parametrize("least", [1, 40])
def test_crowded_lists_are_scored_block_by_block(monkeypatch, corpus_block, least, arithmetic):
    """A model whose vectors are all alike, rows that come many times, and a query without a direction."""
    use_arithmetic(monkeypatch, arithmetic)
    monkeypatch.setattr(candidates, "_KEPT_LEAST", least)
    queries, corpus = dense(1e-3)
    corpus[100:1500:3] = corpus[1].clone()
    queries[3] = 0
    removed = torch.arange(len(corpus)) % 5 == 1
    scores = (queries.double() @ corpus.double().T).float().masked_fill(removed, float("-inf"))
    wanted = scores.argsort(dim=1, descending=True, stable=True)[:, :9]
    hits = search(queries, corpus, 9, corpus_block=corpus_block, removed=removed)
    assert torch.equal(hits.rows, wanted)
    assert torch.equal(hits.scores, scores.gather(1, wanted))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 400),
    queries=st.integers(1, 40),
    k=st.integers(1, 60),
    corpus_block=st.sampled_from([16, 50, 400]),
    apart=st.sampled_from([0.0, 1e-7, 1e-4, 1e-2]),
    least=st.sampled_from([1, 512]),
    arithmetic=st.sampled_from(FORMS),
)
def test_the_best_are_those_of_a_sorted_table_however_near_they_lie(
    seed, rows, queries, k, corpus_block, apart, least, arithmetic
):
    """Scores closer than bfloat16 tells apart, equal ones among them, in blocks of any length."""
    draw = torch.Generator().manual_seed(seed)
    few = torch.randn(1 + rows // 20, 24, generator=draw)
    corpus = few[torch.randint(len(few), (rows,), generator=draw)]
    corpus = corpus + apart * torch.randn(rows, 24, generator=draw)
    asked = torch.randn(queries, 24, generator=draw)
    with pytest.MonkeyPatch.context() as patch:
        use_arithmetic(patch, arithmetic)
        patch.setattr(candidates, "_KEPT_LEAST", least)
        hits = search(asked, corpus, k, query_block=17, corpus_block=corpus_block)
    scores = (asked.double() @ corpus.double().T).float()
    wanted = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    assert torch.equal(hits.rows, wanted)
    assert torch.equal(hits.scores, scores.gather(1, wanted))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.int32])
def test_what_may_have_reached_its_limit_before_rounding(dtype):
    values = torch.tensor([-3.0, -1.5, -0.0, 0.0, 1e-3, 1.0, 2.0]).to(dtype)
    lowest = -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min
    values = torch.cat([values, torch.tensor([lowest], dtype=dtype)])
    for limit in (-2.0, -1.5, 0.0, 1e-3, 1.5, float("-inf")):
        least = limits.as_numbers(torch.full((1,), limit), dtype)
        found = limits.at_least(values.repeat(1, 1), least)[0]
        assert found.tolist() == ((values >= least) & (values > lowest)).tolist()
        assert found[: values.argmin()].logical_or(values[: values.argmin()] < limit).all()
