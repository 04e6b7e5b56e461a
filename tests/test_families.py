"""Every training family: its log-density, score and draws belong together."""

import math

import pytest
import torch

from disco_samplers.training.families import FAMILIES
from disco_samplers.training.maps import Autoregression, Box, Coupling, Edge, Factor, Linear, SineShear, SinhArcsinh, uniform
from disco_samplers.training.stream import Stream, StreamConfig, make_batch


def _target(family, d, seed=0):
    return FAMILIES[family](3, d, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("d", [1, 2, 5, 40])
def test_score_is_the_gradient_of_the_log_density(family, d):
    target = _target(family, d)
    y = target.draw(6, torch.Generator().manual_seed(1))
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(target.evaluate(y).sum(), y)
    torch.testing.assert_close(target.evaluate_score(y), gradient, rtol=2e-3, atol=2e-3 * float(gradient.abs().mean()))


@pytest.mark.parametrize("family", FAMILIES)
def test_density_integrates_to_one(family):
    target = _target(family, 1, seed=3)
    generator = torch.Generator().manual_seed(2)
    x = target.draw(4000, generator)
    low, high = x.amin(1, keepdim=True) - 20, x.amax(1, keepdim=True) + 20
    grid = torch.linspace(0, 1, 200_001)[None, :, None] * (high - low) + low
    mass = torch.trapezoid(target.evaluate(grid).double().exp(), grid[..., 0].double())
    # Student-t tails beyond 20 of the outermost of 4000 draws hold less than 1e-3.
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=2e-3, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_follow_the_density(family):
    # The mean score under the density is zero. Six standard errors over 3 sets x 2 coordinates: false-alarm probability
    # below 2e-8 were the means normal; the sets' heavy tails are why it is not pushed further.
    target = _target(family, 2, seed=5)
    x = target.draw(20_000, torch.Generator().manual_seed(4))
    score = target.evaluate_score(x)
    z = score.mean(1) / (score.std(1) / math.sqrt(x.shape[1]))
    assert z.abs().max() < 6


def test_paper_family_is_as_published():
    target = FAMILIES["paper"](500, 3, torch.Generator().manual_seed(0))
    components = (target.weights > 0).sum(-1)
    assert components.min() == 1
    assert components.max() == 10
    assert target.means.abs().max() <= 3
    assert target.covariances.min() >= 0.2
    assert target.covariances.max() <= 1
    torch.testing.assert_close(target.weights.sum(-1), torch.ones(500))


@pytest.mark.parametrize("kind", [SinhArcsinh, SineShear])
def test_maps_invert_and_their_log_determinants_are_right(kind):
    generator = torch.Generator().manual_seed(0)
    step = kind(1, 3, generator)
    for name, value in vars(step).items():
        setattr(step, name, value.double())
    x = torch.randn(1, 1, 3, dtype=torch.float64, generator=generator)
    y = step.forward(x)
    back, log_det = step.inverse(y)
    torch.testing.assert_close(back, x)
    jacobian = torch.autograd.functional.jacobian(lambda v: step.forward(v[None, None])[0, 0], x[0, 0])
    torch.testing.assert_close(log_det[0, 0], -torch.linalg.slogdet(jacobian)[1])


def _hierarchical(batch, d, generator):
    return Coupling(batch, d, generator, hierarchical=True)


def _autoregression(batch, d, generator):
    return Autoregression(uniform((batch, 1, 1), generator))


def _factor(batch, d, generator):
    root = torch.randn(batch, d, d, generator=generator)
    return Factor(torch.eye(d) + root @ root.mT)


@pytest.mark.parametrize("kind", [Coupling, _hierarchical, Edge, Box, _autoregression, _factor])
@pytest.mark.parametrize("seed", range(5))
def test_maps_of_sets_invert_and_their_log_determinants_are_right(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    step = kind(2, 4, generator)
    x = 2 * torch.randn(2, 30, 4, generator=generator)
    y = step.forward(x).requires_grad_()
    back, log_det = step.inverse(y)
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-4)
    jacobian = torch.autograd.functional.jacobian(lambda v: step.forward(v.expand(2, 1, 4))[1, 0], x[1, 0])
    torch.testing.assert_close(log_det[1, 0], -torch.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-3)
    # The preimage is differentiable: its Jacobian is the inverse of the map's.
    rows = [torch.autograd.grad(back[1, 0, i], y, retain_graph=True)[0][1, 0] for i in range(4)]
    torch.testing.assert_close(torch.stack(rows) @ jacobian, torch.eye(4), rtol=0, atol=2e-3)


def test_weights_of_rows_keep_their_law():
    """Weighted means are those of the unweighted law: six standard errors over four sets and two columns, 2e-8 if normal."""
    batch = make_batch("few", 4, 2, 4000, 1, torch.Generator().manual_seed(0), weighted=True)
    share = batch.counts / batch.counts.sum(1, keepdim=True)
    effective = 1 / share.square().sum(1)
    torch.testing.assert_close(batch.counts.sum(1), effective)
    # In whitened coordinates the weighted law has mean zero and unit variance.
    mean = (share[..., None] * batch.context).sum(1)
    torch.testing.assert_close(mean, torch.zeros(4, 2), rtol=0, atol=1e-4)
    # Its score, weighted, has mean zero too, which no other weights give it.
    score = batch.score[:, :4000]
    total = (share[..., None] * score).sum(1)
    error = (share.square()[..., None] * score.square()).sum(1).sqrt()
    assert (total / error).abs().max() < 6


def test_linear_map_inverts():
    rotation = torch.linalg.qr(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0)))[0]
    step = Linear(rotation, torch.full((2, 1, 4), 2.0))
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    back, log_det = step.inverse(step.forward(x))
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det, torch.full((2, 5), -4 * math.log(2)))


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_are_whitened_and_transform_the_answers(family):
    batch = make_batch(family, 2, 3, 400, 50, torch.Generator().manual_seed(0))
    assert batch.context.shape == (2, 400, 3)
    assert batch.query.shape == (2, 50, 3)
    covariance = batch.context.mT @ batch.context / 400
    torch.testing.assert_close(covariance, torch.eye(3).expand(2, 3, 3), atol=1e-3, rtol=0)
    # In whitened coordinates too, the mean score at draws of the density is near zero: six standard errors.
    score = batch.score[:, :400]
    assert (score.mean(1) / (score.std(1) / 20)).abs().max() < 6


def test_stream_is_reproducible_and_covers_its_range():
    config = StreamConfig(max_dim=8, common_dim=4, min_samples=16, max_samples=64)
    first = Stream(config, torch.Generator().manual_seed(1))
    second = Stream(config, torch.Generator().manual_seed(1))
    dims = set()
    for _ in range(40):
        a, b = next(first), next(second)
        assert torch.equal(a.query, b.query)
        assert 16 <= a.context.shape[1] <= 64
        dims.add(a.context.shape[2])
    assert dims >= {1, 2, 3, 4}
    assert max(dims) <= 8


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"families": {"nosuch": 1.0}}, "nosuch"),
        ({"max_dim": 4, "common_dim": 8}, "common_dim"),
        ({"min_samples": 1}, "min_samples"),
    ],
)
def test_stream_configuration_errors(values, match):
    with pytest.raises(ValueError, match=match):
        StreamConfig(**values)
