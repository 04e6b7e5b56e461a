"""Long contexts, read in groups."""

import math

import pytest
import torch

from disco_samplers.model.network import _order
from disco_samplers.reference import GaussianMixture


def test_keys_beyond_the_context_change_nothing(small, rng):
    x, y = torch.randn(60, 3, generator=rng), torch.randn(10, 3, generator=rng)
    assert torch.equal(small.condition(x, keys=60).score(y), small.condition(x).score(y))


def test_a_context_in_groups_is_several_contexts_that_queries_see_together(small, rng):
    x = torch.randn(2, 90, 3, generator=rng)
    whole = small.network.encode(x, keys=32)
    dealt = x[:, _order(90, x.device)].view(2, 3, 30, 3)
    groups = [small.network.encode(dealt[:, g]) for g in range(3)]
    for i, block in enumerate(whole.blocks):
        torch.testing.assert_close(block.keys, torch.cat([group.blocks[i].keys for group in groups], 2))
    assert float(whole.sizes[0, 0, 0]) == pytest.approx(math.log(90))


def test_groups_of_unequal_size_count_every_row_once(small, rng):
    x, y = torch.randn(1, 91, 3, generator=rng), torch.randn(1, 5, 3, generator=rng)
    whole, padded = small.network.encode(x, keys=32), torch.cat([x, 1e3 * torch.ones(1, 2, 3)], 1)
    counts = (torch.arange(93) < 91).float()[None]
    assert whole.blocks[0].keys.shape[2] == 93
    assert float(whole.sizes[0, 0, 0]) == pytest.approx(math.log(91))
    # What is left out may stand anywhere: with one group the answers are those without it.
    for got, right in zip(
        small.network.decode(small.network.encode(padded, counts), y),
        small.network.decode(small.network.encode(x), y),
        strict=True,
    ):
        torch.testing.assert_close(got, right)


def test_rows_that_alternate_between_chains_are_dealt_like_any_others(disco):
    """Four clusters in turn, four groups: dealt in step, each group would see one cluster."""
    rng = torch.Generator().manual_seed(3)
    centers = 4 * torch.randn(4, 5, generator=rng)
    x = centers[torch.arange(4096) % 4] + torch.randn(4096, 5, generator=rng)
    y = centers[torch.arange(200) % 4] + torch.randn(200, 5, generator=rng)
    in_turn = disco.condition(x, keys=1024).score(y)
    shuffled = disco.condition(x[torch.randperm(4096, generator=rng)], keys=1024).score(y)
    assert (in_turn - shuffled).square().sum() < 2e-3 * shuffled.square().sum()


@pytest.mark.parametrize("d", [2, 5])
def test_groups_cost_little_accuracy(disco, d):
    g = torch.Generator().manual_seed(d)
    target = GaussianMixture(torch.ones(4), 6 * torch.rand(4, d, generator=g) - 3, 0.2 + 0.8 * torch.rand(4, d, generator=g))
    x, y = target.draw(1000, g), target.draw(500, g)
    true = target.score(y)
    whole, grouped = (
        float((disco.condition(x, keys=k).score(y) - true).square().sum() / true.square().sum()) for k in (None, 500)
    )
    assert grouped < 1.5 * whole
    single = float((disco.condition(x[:500]).score(y) - true).square().sum() / true.square().sum())
    assert grouped < single


def test_a_long_context_is_dealt_into_groups_unless_told_otherwise(small, rng):
    x, y = torch.randn(2100, 1, generator=rng), torch.randn(3, 1, generator=rng)
    assert torch.equal(small.condition(x).score(y), small.condition(x, keys=1050).score(y))
    assert not torch.equal(small.condition(x).score(y), small.condition(x, keys=None).score(y))
    assert torch.equal(small.condition(x[:2048]).score(y), small.condition(x[:2048], keys=None).score(y))


def test_groups_with_masked_rows_answer_for_every_set(small, rng):
    x = torch.randn(2, 100, 2, generator=rng)
    mask = torch.ones(2, 100, dtype=torch.bool)
    mask[1, 3:] = False  # some groups hold no row of this set
    estimate = small.condition(x, mask=mask, keys=20)
    log_prob, score = estimate.log_prob_and_score(x)
    assert log_prob.isfinite().all()
    assert score.isfinite().all()
    changed = x.clone()
    changed[1, 3:] = 100.0
    again = small.condition(changed, mask=mask, keys=20)
    torch.testing.assert_close(again.log_prob(x), log_prob)


@pytest.mark.parametrize(("keys", "error"), [(15, ValueError), (2.5, TypeError), ("many", TypeError)])
def test_bad_keys(small, rng, keys, error):
    with pytest.raises(error, match="keys must be"):
        small.condition(torch.randn(50, 2, generator=rng), keys=keys)
