import copy
import itertools
from collections import Counter

import pytest
import torch
from families import FAMILIES, tiny_model
from transformers import AlbertConfig, AutoModel, CLIPTextConfig, LlamaConfig

from textcl.encoder.packing.drophead import draw_head_mask, drop_heads, install_drophead
from textcl.encoder.packing.hidden_states import hidden_states
from textcl.encoder.packing.padded import padded_hidden_states
from textcl.errors import UserError
from textcl.types import Tokens

HIDDEN, HEADS, LAYERS = 48, 3, 2


def naive_drop_heads(context, keep):
    result = torch.zeros_like(context)
    heads = len(keep[0])
    width = context.shape[2] // heads
    for b in range(context.shape[0]):
        for t in range(context.shape[1]):
            for h in range(heads):
                columns = slice(h * width, (h + 1) * width)
                scale = heads / int(sum(keep[b])) if keep[b][h] else 0.0
                result[b, t, columns] = context[b, t, columns] * scale
    return result


def without_dropout(family):
    model = tiny_model(family, LAYERS, HIDDEN, dropout=0.0)
    for module in model.modules():  # what the configurations of some families leave on
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


def rows(*lengths):
    ids = torch.randint(10, 60, (sum(lengths),), generator=torch.Generator().manual_seed(0))
    return Tokens(ids, torch.tensor(lengths))


def projections(model):
    """Output projections of the attention blocks, found through what they were called with."""
    return [m for m in model.modules() if m._forward_pre_hooks and isinstance(m, torch.nn.Linear)]


# The arithmetic


def test_drop_heads_equals_the_naive_loop():
    torch.manual_seed(0)
    context = torch.randn(5, 3, 8, dtype=torch.float64)
    keep = draw_head_mask(5, 4, 0.5)
    torch.testing.assert_close(drop_heads(context, keep), naive_drop_heads(context, keep))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_drop_heads_keeps_the_dtype_and_the_sum_of_scales(dtype):
    keep = torch.tensor([[True, False, True, True], [False, False, True, False]])
    result = drop_heads(torch.ones(2, 3, 8, dtype=dtype), keep)
    assert result.dtype == dtype
    torch.testing.assert_close(result.float().mean(2), torch.ones(2, 3), rtol=0.01, atol=0)


def test_drop_heads_of_a_row_without_heads_is_nan_as_in_the_official_code():
    result = drop_heads(torch.ones(2, 1, 4), torch.tensor([[True, True], [False, False]]))
    assert torch.equal(result[0], torch.ones(1, 4))
    assert result[1].isnan().all()


def test_draw_head_mask_has_the_distribution_of_redrawing_until_a_head_is_kept():
    p, heads, rows = 0.6, 3, 20_000
    mask = draw_head_mask(rows, heads, p, torch.Generator().manual_seed(0))
    counts = Counter(map(tuple, mask.tolist()))
    patterns = [k for k in itertools.product([False, True], repeat=heads) if any(k)]
    assert set(counts) == set(patterns)
    for pattern in patterns:
        kept = sum(pattern)
        chance = (1 - p) ** kept * p ** (heads - kept) / (1 - p**heads)
        deviation = (rows * chance * (1 - chance)) ** 0.5
        assert abs(counts[pattern] - rows * chance) < 5 * deviation


@pytest.mark.parametrize("p", [1e-6, 0.2, 0.999, 0.999999])
@pytest.mark.parametrize("heads", [1, 12])
def test_draw_head_mask_always_keeps_a_head(p, heads):
    mask = draw_head_mask(50_000, heads, p, torch.Generator().manual_seed(1))
    assert mask.any(1).all()


def test_draw_head_mask_without_dropping_keeps_all_and_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert draw_head_mask(3, 4, 0.0, generator).all()
    assert torch.equal(generator.get_state(), state)


# In a backbone


@pytest.mark.parametrize("family", FAMILIES)
def test_drophead_reaches_every_layer_and_drops_whole_heads_of_a_row(family):
    model = without_dropout(family)
    before, after = [], []
    handles = install_drophead(model, 0.5)
    assert len(handles) == 2 * LAYERS
    for projection in projections(model):
        projection.register_forward_pre_hook(lambda _, args: before.append(args[0]), prepend=True)
        projection.register_forward_pre_hook(lambda _, args: after.append(args[0]))
    padded_hidden_states(model, rows(5, 5, 3, 4), (-1,))
    assert len(before) == len(after) == LAYERS
    for context, dropped in zip(before, after, strict=True):
        heads = (4, context.shape[1], HEADS, -1)
        keep = (dropped.view(heads) != 0).any(-1).any(1)
        assert keep.any(1).all()
        torch.testing.assert_close(dropped, naive_drop_heads(context, keep.tolist()))
    assert not torch.equal(before[0] != 0, after[0] != 0)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert", "mpnet"])
def test_drophead_draws_for_packed_rows_what_it_draws_for_padded_ones(family):
    model = without_dropout(family)
    install_drophead(model, 0.5)
    tokens = rows(2, 3, 3, 8, 16)  # sorted, as they travel packed, and of a round number
    torch.manual_seed(3)
    packed = hidden_states(model, tokens)[-1]
    torch.manual_seed(3)
    padded, mask = padded_hidden_states(model, tokens, (-1,))
    torch.testing.assert_close(packed, padded[-1][mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_drophead_changes_rows_one_by_one(family):
    model = without_dropout(family)
    tokens = rows(4, 4, 4, 4, 4, 4)
    plain = hidden_states(model, tokens)[-1].view(6, 4, -1)
    install_drophead(model, 0.3)
    torch.manual_seed(0)
    dropped = hidden_states(model, tokens)[-1].view(6, 4, -1)
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, dropped, strict=True)]
    assert 0 < sum(same) < 6  # a row that keeps all heads in both layers is untouched


def test_drophead_acts_in_training_mode_only_and_can_be_removed():
    model, tokens = without_dropout("bert"), rows(4, 7)
    handles = install_drophead(model, 0.5)
    training = hidden_states(model, tokens)[-1]
    state = torch.get_rng_state()
    evaluated = hidden_states(model.eval(), tokens)[-1]
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(training, evaluated)
    for handle in handles:
        handle.remove()
    assert torch.equal(hidden_states(model.train(), tokens)[-1], evaluated)


def test_drophead_repeats_with_the_generator_state():
    model, tokens = without_dropout("bert"), rows(4, 7, 2)
    install_drophead(model, 0.5)
    state = torch.get_rng_state()
    first, second = hidden_states(model, tokens)[-1], hidden_states(model, tokens)[-1]
    torch.set_rng_state(state)
    assert torch.equal(hidden_states(model, tokens)[-1], first)
    assert not torch.equal(first, second)


def test_drophead_gradient_survives_recomputation():
    tokens, others = rows(2, 3, 6), rows(5)

    def gradients(model):
        torch.manual_seed(5)
        states = hidden_states(model, tokens)[-1]
        hidden_states(model, others)  # other rows pass before the backward pass
        states.square().sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    model = without_dropout("bert")
    install_drophead(model, 0.5)
    recomputing = copy.deepcopy(model)
    # Newer versions of transformers warn at the older name.
    older = recomputing.gradient_checkpointing_enable
    getattr(recomputing, "activation_checkpointing_enable", older)()
    expected, got = gradients(model), gradients(recomputing)
    assert len(expected) == len(got) > 20
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b)


def test_drophead_goes_with_a_copy_of_the_backbone():
    model, tokens = without_dropout("bert"), rows(4, 4)
    handles = install_drophead(model, 0.5)
    copied = copy.deepcopy(model)
    torch.manual_seed(0)
    expected = hidden_states(model, tokens)[-1]
    for handle in handles:
        handle.remove()
    torch.manual_seed(0)
    assert torch.equal(hidden_states(copied, tokens)[-1], expected)
    assert not torch.equal(hidden_states(model, tokens)[-1], expected)


@pytest.mark.parametrize(
    "config",
    [
        AlbertConfig(vocab_size=70, embedding_size=8, hidden_size=48, num_hidden_layers=3,
                     num_attention_heads=3, intermediate_size=32, hidden_dropout_prob=0,
                     attention_probs_dropout_prob=0),
        LlamaConfig(vocab_size=70, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                    intermediate_size=32, pad_token_id=0),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_drophead_knows_other_families(config):
    model = AutoModel.from_config(config).train()
    ids = torch.randint(1, 70, (4, 5))
    plain = model(input_ids=ids).last_hidden_state
    assert install_drophead(model, 0.5)
    assert not torch.allclose(model(input_ids=ids).last_hidden_state, plain, atol=1e-3)


def test_drophead_of_an_unknown_backbone_says_which_it_knows():
    config = CLIPTextConfig(
        vocab_size=50,
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        intermediate_size=16,
    )
    with pytest.raises(
        UserError, match=r"heads of CLIPTextModel end; it knows BERT, .*PROJECTIONS"
    ):
        install_drophead(AutoModel.from_config(config), 0.1)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_drophead_rejects_what_is_no_probability(p):
    with pytest.raises(UserError, match=f"at least 0 and below 1, not {p}"):
        install_drophead(tiny_model("bert"), p)
