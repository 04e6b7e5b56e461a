"""Exact solutions, derived anew: by quadrature over particles that are nodes, and by integration."""

import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma.collisions.moments import moment_rate
from disco_samplers.integrations.plasma.exact import BKW, coulomb_2v_rate, maxwell_pressure, ornstein_uhlenbeck, trubnikov_rate

from disco_samplers.reference import GaussianMixture


def nodes(d, scale=1.0, order=8):
    """Gauss-Hermite nodes (n, d) and weights of N(0, scale): exact for polynomials."""
    x, w = np.polynomial.hermite_e.hermegauss(order)
    x, w = torch.from_numpy(x) * math.sqrt(scale), torch.from_numpy(w / w.sum())
    grid = torch.cartesian_prod(*[x] * d)
    return grid, torch.cartesian_prod(*[w] * d).prod(1)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("time", [0.5, 3.0])
def test_bkw_solves_the_landau_equation(d, time):
    problem = BKW(d, start=d / (d + 2) + 0.02)
    k = problem.width(time)
    x, weight = nodes(d, k)
    ratio = (problem.log_prob(x, time) + 0.5 * (x.square().sum(1) / k + d * math.log(2 * math.pi * k))).exp()
    where = torch.randn(20, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # The points are particles of no weight among nodes that carry the distribution.
    v = torch.cat([x, where])
    w = torch.cat([weight * ratio, torch.zeros(20, dtype=v.dtype)])
    s = problem.score(v, time)
    rate = -problem.strength * moment_rate(v, s, w, torch.zeros(len(v), dtype=torch.int64), 1)[len(x) :]
    rows = [torch.autograd.grad(rate[:, i].sum(), where, retain_graph=True)[0][:, i] for i in range(d)]
    transported = -(sum(rows) + (rate * s[len(x) :]).sum(1))
    h = 1e-4
    change = (problem.log_prob(where, time + h) - problem.log_prob(where, time - h)) / (2 * h)
    torch.testing.assert_close(change, transported, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("d", [2, 3, 4])
def test_bkw_density_score_and_moments_agree(d):
    problem = BKW(d)
    time = 2.0
    k = problem.width(time)
    x, weight = nodes(d, k)
    f = weight * (problem.log_prob(x, time) + 0.5 * (x.square().sum(1) / k + d * math.log(2 * math.pi * k))).exp()
    assert float(f.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close((f[:, None] * x).T @ x, torch.eye(d, dtype=x.dtype))
    assert float((f * x.square().sum(1).square()).sum()) == pytest.approx(problem.fourth_moment(time), rel=1e-12)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(problem.score(x, time), torch.autograd.grad(problem.log_prob(leaf, time).sum(), leaf)[0])
    assert problem.entropy(0.0) < problem.entropy(time) < problem.entropy(20.0) < 0.5 * d * math.log(2 * math.pi * math.e)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("time", [0.0, 3.0])
def test_bkw_samples_follow_the_density(d, time):
    problem = BKW(d)
    v = problem.sample(20_000, time, generator=torch.Generator().manual_seed(0))
    k = problem.width(time)
    p = max(((d + 2) * k - d) / (2 * k), 0.0)
    half = torch.tensor(0.5 * d, dtype=v.dtype)

    def uniform(x):
        r = x.square().sum(1) / (2 * k)
        return (p * torch.special.gammainc(half, r) + (1 - p) * torch.special.gammainc(half + 1, r)).sort().values

    places = (torch.arange(20_000) + 0.5) / 20_000
    # Kolmogorov-Smirnov: beyond 2.7/sqrt(n) with probability 2 exp(-2 * 2.7^2) = 1e-6.
    assert (uniform(v) - places).abs().max() < 2.7 / math.sqrt(20_000)
    quiet = problem.quiet(4096, time)
    assert (uniform(quiet) - (torch.arange(4096) + 0.5) / 4096).abs().max() < 0.002
    assert abs(float(quiet.square().sum(1).square().mean()) / problem.fourth_moment(time) - 1) < 0.01
    torch.testing.assert_close(quiet.T.cov(), torch.eye(d, dtype=v.dtype), rtol=0, atol=0.01)


@pytest.mark.parametrize("d", [2, 3])
def test_maxwell_pressure_relaxes_at_its_rate_from_any_distribution(d):
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(2, d, dtype=torch.float64, generator=rng)
    share = torch.tensor([0.3, 0.7], dtype=torch.float64)
    mixture = GaussianMixture(share, means, torch.stack([torch.eye(d, dtype=torch.float64)] * 2))
    # With its true score f s integrates by parts, so nodes of each component are enough where they resolve log f.
    x, weight = nodes(d, order={2: 60, 3: 30}[d])
    v = torch.cat([x + m for m in means])
    w = torch.cat([weight * p for p in share])
    rate = -moment_rate(v, mixture.score(v), w, torch.zeros(len(v), dtype=torch.int64), 1)
    mean = (w[:, None] * v).sum(0)
    pressure = (w[:, None] * (v - mean)).T @ (v - mean)
    change = (w[:, None] * rate).T @ (v - mean)
    h = 1e-6
    expected = (maxwell_pressure(pressure, h, strength=1.0) - maxwell_pressure(pressure, -h, strength=1.0)) / (2 * h)
    torch.testing.assert_close(change + change.T, expected, rtol=1e-6, atol=1e-6)


def gaussian_rate(t1, others, exponent):
    """dT_1/dt of a Gaussian, by integration over the relative velocity z ~ N(0, 2T): E|z|^g z_1 (|z|^2 z_1/T_1 - z_1 z'z/T)."""
    t = torch.tensor([t1, *others], dtype=torch.float64)
    if len(t) == 2:
        angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
        u, weight = torch.stack([angle.cos(), angle.sin()], 1), torch.full_like(angle, 2 * math.pi / 4000)
    else:
        c, gauss = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(200))
        u = torch.stack([c, (1 - c**2).sqrt(), torch.zeros_like(c)], 1)  # both others are equal
        weight = 2 * math.pi * gauss
    d = len(t)
    q = (u.square() / t).sum(1)
    # The radial integral of r^(d - 1) r^(g + 4) exp(-r^2 q/4) and the norm of N(0, 2T).
    power = d + 3 + exponent
    radial = 0.5 * math.gamma((power + 1) / 2) * (q / 4) ** (-(power + 1) / 2)
    norm = (4 * math.pi) ** (d / 2) * t.prod().sqrt()
    angular = u[:, 0] ** 2 * (1 / t[0] - q)
    return float((weight * radial * angular).sum() / norm)


@pytest.mark.parametrize(("parallel", "across"), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0005), (0.7, 5.0)])
def test_trubnikov_rate_is_that_of_the_pair_force(parallel, across):
    assert trubnikov_rate(parallel, across) == pytest.approx(gaussian_rate(parallel, (across, across), -3), rel=1e-6)


@pytest.mark.parametrize(("first", "second"), [(1.0, 2.0), (3.0, 0.5)])
def test_coulomb_2v_rate_is_that_of_the_pair_force(first, second):
    assert coulomb_2v_rate(first, second) == pytest.approx(gaussian_rate(first, (second,), -2), rel=1e-9)


def test_published_value():
    assert trubnikov_rate(1.0, 2.0) == pytest.approx(0.159770, abs=1e-6)


def test_ornstein_uhlenbeck_solves_its_moment_equations():
    mean, covariance = torch.tensor([1.0, -2.0]).double(), torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
    options = {"frequency": 0.7, "target": torch.tensor([0.5, 0.0]).double(), "temperature": 1.5}
    h = 1e-5
    (m, c), (m0, c0), (m1, c1) = (ornstein_uhlenbeck(mean, covariance, t, **options) for t in (1.0, 1.0 - h, 1.0 + h))
    torch.testing.assert_close((m1 - m0) / (2 * h), -0.7 * (m - options["target"]), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close((c1 - c0) / (2 * h), -1.4 * c + 2.1 * torch.eye(2).double(), rtol=1e-6, atol=1e-8)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="dim must be at least 2"):
        BKW(1)
    with pytest.raises(ValueError, match="start must lie in"):
        BKW(2, start=0.4)
    with pytest.raises(ValueError, match="strength must be positive"):
        BKW(2, strength=0.0)
    with pytest.raises(ValueError, match="temperatures must be positive"):
        trubnikov_rate(0.0, 1.0)
    with pytest.raises(ValueError, match="temperatures must be positive"):
        coulomb_2v_rate(1.0, -1.0)
