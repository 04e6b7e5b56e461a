"""Changes of variables: every transform under the one transformed estimator, against laws known in closed form."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import perturbed
from torch.distributions import TransformedDistribution, biject_to, constraints
from torch.distributions import transforms as t

from disco_samplers.draws import Member
from disco_samplers.estimators import (
    AtomTransform,
    GroupTransform,
    JohnsonTransform,
    LinearTransform,
    NetworkEstimator,
    TailTransform,
    TransformedEstimator,
    log_volume,
    pull_back,
    settled,
)
from disco_samplers.reference import Gaussian
from disco_samplers.scores import Score, transform

MATRIX = torch.tensor([[2.0, 0.3], [-0.5, 0.7]], dtype=torch.float64)
CENTER = torch.tensor([1.0, -2.0], dtype=torch.float64)
TAU = 0.4


def normal(z):
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def lognormal(x):
    return normal(x.log()) - x.log().sum(-1)


def logit_normal(x):
    return normal((x / (3 - x)).log()) + (3 / (x * (3 - x))).log().sum(-1)


def correlated(x):
    return normal((x - CENTER) @ MATRIX) + torch.linalg.slogdet(MATRIX).logabsdet


def johnson(x):
    u = (x - CENTER) / torch.tensor([0.5, 3.0], dtype=torch.float64)
    return normal(torch.asinh(u)) - (torch.tensor([0.5, 3.0], dtype=torch.float64) * (1 + u.square()).sqrt()).log().sum(-1)


def by_column(x):
    s = ((x - CENTER) * torch.tensor([2.0, 0.5], dtype=torch.float64)).square()
    log_g = 0.5 * (torch.log1p(TAU * s) / (TAU * s)).log()
    kernel = -torch.log1p(TAU * s) / (2 * TAU) - 0.5 * math.log(2 * math.pi)
    return (kernel - log_g - torch.log1p(TAU * s)).sum(-1)  # the scales 2 and 1/2 have a volume of one


def by_radius(x):
    s = ((x - CENTER) @ MATRIX).square().sum(-1)
    kernel = -torch.log1p(TAU * s) / (2 * TAU) - math.log(2 * math.pi)
    return kernel - torch.log1p(TAU * s) + torch.linalg.slogdet(MATRIX).logabsdet  # in two dimensions g cancels


def atoms(x):
    """The first column has atoms at -1 and 1 with cells a half wide, which become 1.5 and 2.5; the second has none."""
    u = x[..., 0]
    pieces = [u - 1.5, 3 * u + 1, u - 0.5, 5 * u - 3.5, u + 1.5]
    slopes = torch.tensor([1.0, 3.0, 1.0, 5.0, 1.0], dtype=torch.float64)
    piece = torch.bucketize(u.detach().contiguous(), torch.tensor([-1.25, -0.75, 0.75, 1.25], dtype=torch.float64))
    z = torch.stack(pieces, -1).gather(-1, piece[..., None])
    return normal(torch.cat([z, x[..., 1:]], -1)) + slopes[piece].log()


def ordered(x):
    return normal(torch.stack([x[..., 0], x[..., 1] - x[..., 0]], -1))


WIDTH = torch.tensor([0.5, 3.0], dtype=torch.float64)
PLACES = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
WIDER = torch.tensor([[2.5, 0.3], [1.5, 0.3]], dtype=torch.float64)
LAWS = {
    "atoms": (AtomTransform(PLACES, torch.tensor([0.5, 0.3], dtype=torch.float64), WIDER), atoms),
    "ordered": (GroupTransform([Member("ordered", (0, 1))] * 2), ordered),
    "positive": (t.ExpTransform().inv, lognormal),
    "interval": (biject_to(constraints.interval(0.0, 3.0)).inv, logit_normal),
    "linear": (LinearTransform(CENTER, MATRIX), correlated),
    "johnson": (JohnsonTransform(CENTER, WIDTH), johnson),
    "columns": (TailTransform(CENTER, torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)), TAU, False), by_column),
    "radius": (TailTransform(CENTER, MATRIX, TAU, True), by_radius),
}
STANDARD = Gaussian(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


@pytest.fixture(params=LAWS)
def law(request):
    """A standard normal read through a transform, the exact log-density, and points of it."""
    change, exact = LAWS[request.param]
    points = change.inv(torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    return TransformedEstimator(STANDARD, change), exact, points


def test_log_density_and_score_of_a_known_law(law):
    found, exact, x = law
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(exact(y).sum(), y)
    torch.testing.assert_close(found.log_prob(x), exact(x))
    torch.testing.assert_close(found.score(x), gradient)
    for one, both in zip((exact(x), gradient), found.log_prob_and_score(x), strict=True):
        torch.testing.assert_close(both, one)
    carried = transform(STANDARD, found.transform)
    torch.testing.assert_close(carried.log_prob(x), exact(x))
    torch.testing.assert_close(carried(x), gradient)


def test_the_score_needs_no_log_density(law):
    found, _, x = law
    carried = transform(Score(lambda z: -z), found.transform)
    torch.testing.assert_close(carried(x), found.score(x))
    assert not hasattr(carried, "log_prob")


def test_draws_follow_the_density(law):
    """A mean over 4000 draws against the same integral by quadrature on the plane: five standard errors."""
    found, _, _ = law
    draws = found.sample(4000, generator=torch.Generator().manual_seed(0))
    u = torch.linspace(-6, 6, 401, dtype=torch.float64)
    z = torch.cartesian_prod(u, u)
    x = found.transform.inv(z)
    # The grid is even in z, so a cell's size in x is one over the Jacobian.
    cell = (-log_volume(found.transform, x, z)).exp() * (u[1] - u[0]) ** 2
    weight = found.log_prob(x).exp() * cell
    assert float(weight.sum()) == pytest.approx(1, abs=1e-6)
    expected, values = (weight[:, None] * torch.atan(x)).sum(0), torch.atan(draws)
    assert ((values.mean(0) - expected).abs() < 5 * values.std(0) / 4000**0.5).all()


@pytest.mark.parametrize("name", ["columns", "johnson", "interval"])
def test_the_density_integrates_to_one(name):
    """On a grid that is even in x, which knows nothing of the transform."""
    change, _ = LAWS[name]
    found = TransformedEstimator(STANDARD, change)
    if name == "interval":
        a, b = (torch.linspace(0, 3, 2001, dtype=torch.float64)[1:-1] for _ in range(2))
        sizes = (torch.full_like(a, 3 / 2000),) * 2
    else:
        u = torch.linspace(-1, 1, 1201, dtype=torch.float64)
        a, b = (c + 400 * torch.sinh(9 * u) / math.sinh(9) for c in CENTER)
        sizes = tuple(torch.gradient(axis)[0] for axis in (a, b))
    weight = found.log_prob(torch.cartesian_prod(a, b)).exp() * torch.outer(*sizes).reshape(-1)
    assert float(weight.sum()) == pytest.approx(1, abs=2e-3)


def test_the_simplex_has_one_dimension_less(rng):
    change = t.StickBreakingTransform()
    found = TransformedEstimator(STANDARD, change.inv)
    independent = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2).double(), 1.0), 1)
    x = found.sample(20, generator=rng)
    torch.testing.assert_close(found.log_prob(x), TransformedDistribution(independent, [change]).log_prob(x))


@pytest.mark.parametrize(("first", "second"), [("positive", "johnson"), ("linear", "columns"), ("radius", "linear")])
def test_composition(first, second):
    one, two = LAWS[first][0], LAWS[second][0]
    both = t.ComposeTransform([one, two])
    x = both.inv(torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    nested = TransformedEstimator(TransformedEstimator(STANDARD, two), one).log_prob_and_score(x)
    for a, b in zip(nested, TransformedEstimator(STANDARD, both).log_prob_and_score(x), strict=True):
        torch.testing.assert_close(a, b)


def test_jacobians(law):
    found, _, x = law
    change, x = found.transform, x[:6].clone()
    for point in x:
        jacobian = torch.autograd.functional.jacobian(change, point[None])[0, :, 0]
        volume = log_volume(change, point[None], change(point[None]))[0]
        torch.testing.assert_close(volume, torch.linalg.slogdet(jacobian).logabsdet)
    torch.testing.assert_close(change.inv(change(x)), x)
    s = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    y, v = x.requires_grad_(), s.requires_grad_()
    assert torch.autograd.gradcheck(change, y)
    assert torch.autograd.gradcheck(lambda a: log_volume(change, a, change(a)), y)
    assert torch.autograd.gradcheck(lambda a, b: pull_back(change, a, b), (y, v))


@pytest.mark.parametrize("name", ["johnson", "columns", "radius", "positive"])
def test_an_estimate_read_through_a_transform(name, rng):
    change, _ = LAWS[name]
    network = perturbed().double().network
    z = torch.randn(2, 40, 2, dtype=torch.float64, generator=rng)
    x = change.inv(z)
    whole = TransformedEstimator(NetworkEstimator(network, z), change).log_prob_and_score(x[:, :7])
    for i in range(2):
        single = TransformedEstimator(NetworkEstimator(network, z[i]), change)
        for a, b in zip(whole, single.log_prob_and_score(x[i, :7]), strict=True):
            torch.testing.assert_close(a[i], b)
    y = x[1, :5].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(single.log_prob(y).sum(), y)
    step = 1e-6 * torch.tensor([0.6, 0.8], dtype=torch.float64)
    rise = (single.log_prob(x[1, :5] + step) - single.log_prob(x[1, :5] - step)) / 2
    torch.testing.assert_close(rise, gradient @ step, rtol=1e-5, atol=1e-10)


def test_conditioning_on_a_support(disco, rng):
    """Exponential draws read through the logarithm: no draw and no density outside, the normaliser that of the reading."""
    x = -torch.rand(120, 1, generator=rng, dtype=torch.float64).log()
    change = biject_to(constraints.positive).inv
    estimate = disco.condition(x, transform=change)
    y = torch.linspace(0.05, 3, 30, dtype=torch.float64)[:, None]
    assert (estimate.log_prob(y) + y[:, 0]).abs().median() < 0.2
    with pytest.raises(ValueError, match="outside the domain"):
        estimate.log_prob(-y)
    inner = disco.condition(change(x))
    one, two = (e.log_normalizer(num_samples=500, generator=torch.Generator().manual_seed(0)) for e in (estimate, inner))
    assert one == two
    draws = estimate.sample(50, generator=rng, num_steps=5)
    assert (draws > 0).all()
    assert draws.dtype == x.dtype
    adapted = estimate.adapt()
    assert adapted.transform is estimate.transform
    assert (adapted.log_prob(y) + y[:, 0]).abs().median() < 0.25
    double = adapted.to(dtype=torch.float64)
    torch.testing.assert_close(double.log_prob(y), adapted.log_prob(y), rtol=1e-3, atol=1e-3)
    for again in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert torch.equal(again.log_prob(y), estimate.log_prob(y))
    assert isinstance(disco.condition(x.numpy(), transform=change).score(y.numpy()), np.ndarray)


def test_what_is_refused(disco):
    change = biject_to(constraints.positive).inv
    with pytest.raises(TypeError, match="the bijection must be a"):
        TransformedEstimator(STANDARD, torch.exp)
    with pytest.raises(ValueError, match="samples lie outside the domain"):
        disco.condition(-torch.ones(3, 1).cumsum(0), transform=change)
    with pytest.raises(ValueError, match="transform works on one data set"):
        disco.condition(torch.rand(2, 5, 1) + 1, transform=change)


def test_moving_keeps_what_a_transform_does(law):
    found, exact, x = law
    torch.testing.assert_close(TransformedEstimator(STANDARD, settled(found.transform, "cpu")).log_prob(x), exact(x))
    chain = settled(t.ComposeTransform([found.transform, t.AffineTransform(torch.ones(2).double(), 2.0)]), "cpu")
    torch.testing.assert_close(chain(x), 1 + 2 * found.transform(x))


@pytest.mark.parametrize(
    ("column", "step", "places"),
    [
        (np.r_[np.zeros(40), np.linspace(0.5, 3, 60)], 0.04, [0.0]),
        (np.r_[np.full(30, 0.2), np.full(30, 1.0), np.linspace(-3, 3, 60)], 0.01, [0.2, 1.0]),
        (np.r_[np.zeros(9), np.linspace(1, 3, 60)], 0.03, []),  # too few rows
        (np.r_[np.zeros(12), np.linspace(1, 3, 400)], 0.005, []),  # too small a share
        (np.round(2 * np.sin(np.arange(300.0))) / 2, 0.5, []),  # a coarse column
        (np.round(20 * np.random.default_rng(0).normal(size=2000)) / 100, 0.01, []),  # rounded: no value stands out
        (np.random.default_rng(1).poisson(3, 500).astype(float), 1.0, []),
        (np.full(50, 2.0), 0.0, []),
        (np.r_[np.full(40, np.nan), np.zeros(40), np.linspace(0.5, 3, 60)], 0.04, [0.0]),
    ],
)
def test_atoms_are_values_that_stand_out(column, step, places):
    """With the others nowhere changed but moved aside; weights of the rows, in any unit, count as rows do."""
    x = torch.from_numpy(column)[:, None]
    cells = torch.tensor([step], dtype=torch.float64)
    found = AtomTransform.fit(x, cells)
    assert found.places[:, 0].tolist() == places
    again = AtomTransform.fit(x[::2], cells, torch.full((len(x[::2]),), 7.0)).places
    assert len(places) != 2 or again[:, 0].tolist() == places
    there = x[~x.isnan()][:, None]
    torch.testing.assert_close(found.inv(found(there)), there)
    if places:
        assert (found.widths > 0.5).all()
        gaps = found(there).sort(0).values.diff(dim=0)[:, 0] - there.sort(0).values.diff(dim=0)[:, 0]
        assert float(gaps.max()) == pytest.approx(float(found.widths.max() - step) / 2)


def test_transforms_that_follow_one_another():
    """In closed form as by differentiation."""
    parts = [LAWS["atoms"][0], LAWS["johnson"][0]]
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = TransformedEstimator(STANDARD, t.ComposeTransform(parts))
    nested = TransformedEstimator(TransformedEstimator(STANDARD, parts[1]), parts[0])
    for one, other in zip(found.log_prob_and_score(x), nested.log_prob_and_score(x), strict=True):
        torch.testing.assert_close(one, other)
    y = x.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(found.log_prob(y).sum(), y)[0], found.score(x))
