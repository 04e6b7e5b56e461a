"""Directions of skewness and densities along them, against independent columns that are known."""

from __future__ import annotations

import pytest
import torch

from disco_samplers.posteriors import Edgeworth
from disco_samplers.posteriors.directions import Exponents, directions
from disco_samplers.reference import Gaussian


def log_gamma(n, d, seed, shape=6.0):
    """Independent columns of log f = a y - e^y."""
    shapes = torch.as_tensor(shape, dtype=torch.float64).expand(d)
    law = torch.distributions.Gamma(shapes, torch.ones_like(shapes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return law.sample((n,)).log()


def rotation(d):
    return torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))[0]


def test_directions_of_a_known_tensor():
    """Of sum_a k_a w_a w_a w_a with orthonormal w, also where two k are the same."""
    turn, k = rotation(5), torch.tensor([1.0, 0.5, 0.5, -0.3, 0.1], dtype=torch.float64)
    found = directions(torch.einsum("a,ai,aj,ak->ijk", k, turn, turn, turn))
    torch.testing.assert_close(found @ found.T, torch.eye(5, dtype=torch.float64))
    match = (found @ turn.T).abs()
    assert float(match.amax(1).min()) > 1 - 1e-6
    assert sorted(match.argmax(1).tolist()) == list(range(5))


def test_no_skewness_gives_some_frame():
    found = directions(torch.zeros(3, 3, 3, dtype=torch.float64))
    torch.testing.assert_close(found @ found.T, torch.eye(3, dtype=torch.float64))


def test_exponents_of_a_skewed_law():
    """Within .05 of log f = a y - e^y wherever a hundredth of the draws lies beyond: there its error is some .02."""
    y = log_gamma(20_000, 1, 0)
    mean, sd = y.mean(0), y.std(0)
    f = Exponents((y - mean) / sd, torch.ones(len(y), dtype=torch.float64))
    u = torch.linspace(-2.6, 2.0, 50, dtype=torch.float64)[:, None]
    exact = (6 * (u * sd + mean) - (u * sd + mean).exp())[:, 0]
    difference = f.value_and_slope(u)[0] - 0.5 * u[:, 0] ** 2 - exact
    assert float((difference - difference.mean()).abs().max()) < 0.05


def test_exponents_go_on_as_lines_and_count_what_rows_are_worth():
    """A far row that is worth nothing stretches no range; beyond it h has a constant slope, and is its own integral."""
    y = log_gamma(2000, 2, 1)
    u = (y - y.mean(0)) / y.std(0)
    worth = torch.ones(2000, dtype=torch.float64)
    f = Exponents(torch.cat([u, u[:1] + 50]), torch.cat([worth, worth[:1] * 1e-6]))
    assert float(f.high.max()) < 10
    points = torch.tensor([[-9.0, 9.0], [-10.0, 10.0], [0.3, -0.2]], dtype=torch.float64).requires_grad_()
    value, slope = f.value_and_slope(points)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), points)[0], slope)
    torch.testing.assert_close(slope[0], slope[1])


@pytest.mark.parametrize("turned", [False, True])
def test_independent_columns_in_any_frame_keep_no_cumulants_between_them(turned):
    x = log_gamma(8000, 6, 2)
    f = Edgeworth(x @ rotation(6).T if turned else x)
    assert float(f.cumulants.abs().max()) == 0.0


def test_dependent_skewness_is_kept():
    """Of y = z_1 z_2 + noise no frame is independent: E[u_1 u_2 u_3] stays."""
    z = torch.randn(8000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f = Edgeworth(torch.stack([z[:, 0], z[:, 1], z[:, 2] + 0.3 * z[:, 0] * z[:, 1]], 1))
    kept = f.cumulants.square().sum() + f.along.coefficients.abs().sum()
    assert float(kept) > 0.1


def test_product_of_many_skewed_densities():
    """Eight shards of counts around six in eight turned columns, fixed by seeds: the product's mean within .065 standard
    deviations a column. The draws alone leave .01; third cumulants alone give .08.
    """
    shapes = torch.poisson(torch.full((8, 8), 6.0, dtype=torch.float64), generator=torch.Generator().manual_seed(0)).clamp_min(
        1
    )
    turn = rotation(8)
    shards = [log_gamma(10_000, 8, k, shape=own) @ turn.T for k, own in enumerate(shapes)]
    exact = log_gamma(20_000, 8, 99, shape=shapes.sum(0)) - torch.tensor(8.0).double().log()
    proposal = Gaussian(exact.mean(0), 1.3 * exact.T.cov())
    y = proposal.sample(8000, generator=torch.Generator().manual_seed(0))
    logs = torch.stack([Edgeworth(x).log_prob(y @ turn.T) for x in shards]).sum(0)
    weight = (logs - proposal.evaluate(y)).softmax(0)
    assert float(((weight @ y - exact.mean(0)) / exact.std(0)).square().mean().sqrt()) < 0.065
