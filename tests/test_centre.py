"""On a line the estimate has no step at the mean of its samples, where a query's vectors have no direction."""

from __future__ import annotations

import pytest
import torch

from disco_samplers import DiScoFormer


@pytest.mark.parametrize("name", ["axes", "rotations"])
def test_no_step_at_the_mean(name):
    """Of a skewed column the log-density steps by .04 and more there without what is taken off."""
    x = torch.randn(2, 300, 1, generator=torch.Generator().manual_seed(0)).exp()
    estimate = DiScoFormer.from_pretrained(name).condition(x)
    z = torch.linspace(-0.25, 0.25, 2001, dtype=torch.float64)
    points = x.double().mean(1, keepdim=True) + x.double().std(1, keepdim=True) * z[:, None]
    log_prob, score = estimate.log_prob(points), estimate.score(points)[..., 0]
    slope = log_prob.diff(dim=1) / points[..., 0].diff(dim=1)
    assert slope.abs().max() < 1.5 * score.abs().max()
    assert (slope - score[:, 1:]).square().mean() < 0.05 * score.square().mean()
    assert score.diff(dim=1).abs().max() < 0.02 * score.abs().max()
