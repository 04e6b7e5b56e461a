"""Columns with a support: exact laws at and next to their edges, and what is refused."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import perturbed
from scipy import stats
from torch.distributions import constraints

from disco_samplers import Draws, LangevinSampler
from disco_samplers.arrays import like
from disco_samplers.draws import (
    EdgeRowsWarning,
    Member,
    SuggestedSupportWarning,
    Support,
    rounded_inside,
    suggest_supports,
    supports_of,
)
from disco_samplers.estimators import (
    Edges,
    JohnsonTransform,
    SupportedEstimator,
    SupportTransform,
    TransformedEstimator,
    unnormalized,
)
from disco_samplers.estimators.edge_shapes import slopes
from disco_samplers.estimators.transforms.supports import HalfLine, Interval
from disco_samplers.reference import Gaussian

FORMS = {
    "half-line": HalfLine(2.0, 1.0, 0.7, False),
    "half-line by logs": HalfLine(2.0, 1.0, 0.7, True),
    "below": HalfLine(-1.0, -1.0, 3.0, False),
    "interval": Interval(-1.0, 3.0, 0.4, False),
    "interval by logs": Interval(-1.0, 3.0, 0.4, True),
}
NAMES = ["tau", "p", "x"]


@pytest.fixture
def square(rng):
    """Rows of a uniform law on a square."""
    return torch.rand(2000, 2, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("name", FORMS)
def test_forms_know_their_derivatives(name):
    change = SupportTransform([FORMS[name], None])
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)
    x = change.inv(torch.stack([z, z], 1)).requires_grad_()
    torch.testing.assert_close(change(x), torch.stack([z, z], 1))
    assert torch.autograd.gradcheck(change, x)
    (slope,) = torch.autograd.grad(change(x)[:, 0].sum(), x)
    torch.testing.assert_close(change.log_abs_det_jacobian(x, x), slope[:, 0].abs().log())
    law = TransformedEstimator(Gaussian(torch.zeros(2).double(), torch.eye(2).double()), change)
    log_prob, score = law.log_prob_and_score(x)
    (gradient,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    torch.testing.assert_close(score, gradient)
    torch.testing.assert_close(log_prob, -0.5 * z.square() * 2 - math.log(2 * math.pi) + slope[:, 0].abs().log())


@pytest.mark.parametrize("name", FORMS)
def test_forms_far_out_and_at_the_edges(name):
    """Finite on the whole line, never outside, and the way there and back the same, where a float64 tells the points apart."""
    form = FORMS[name]
    z = torch.tensor([-1e3, -36.0, -6.0, 6.0, 36.0, 1e3], dtype=torch.float64)
    x = form.inverse(z)
    ends = {"half-line": (2, math.inf), "below": (-math.inf, -1)}.get(name.removesuffix(" by logs"), (-1, 3))
    assert ((x >= ends[0]) & (x <= ends[1])).all()
    assert all(torch.isfinite(part).all() for part in form.slopes(x))
    torch.testing.assert_close(form(x[3:4]), z[3:4])
    if name == "half-line":
        far = torch.tensor([100.0, 1e3, 1e6], dtype=torch.float64)
        torch.testing.assert_close(form.inverse(form(far)), far)


def test_an_exponential_and_a_uniform_column_become_normal(rng):
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    x = torch.stack([-torch.log1p(-u), u, (math.sqrt(2) * torch.erfinv(2 * u - 1)).exp()], 1)
    change = SupportTransform.fit(x, supports_of(["positive", "unit", "positive"], NAMES))
    assert [form.log for form in change.forms] == [False, False, True]
    z = change(x)
    z = (z - z.mean(0)) / z.std(0)
    torch.testing.assert_close(z, math.sqrt(2) * torch.erfinv(2 * u[:, None] - 1).expand(-1, 3), rtol=0, atol=0.02)
    weighted = SupportTransform.fit(x, supports_of(["positive"] * 3, NAMES), 1 / (1 + x[:, 0]))
    assert weighted.forms[0].scale < change.forms[0].scale


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (stats.uniform(), [0, 0, 0, 0, 0]),
        (stats.beta(0.5, 1), [-0.5, 0, 0, 0, 0]),
        (stats.beta(2, 1), [1, 0, 0, 0, 0]),
        (stats.truncexpon(3), [0, -1, 0, 0, 0]),
        (stats.truncnorm(-0.5, 3, loc=0.5), [0, 0.5, 0, -0.5, 0]),
        (stats.gamma(3), [2, -1, 0, 0, 0]),
    ],
    ids=["level", "diverging", "vanishing", "falling", "bent", "vanishing and falling"],
)
def test_the_shape_of_a_density_at_its_edge(law, expected):
    """Of quantiles of a law, so that there is no noise: terms in its own units; no power at all where the edge is finite."""
    x = torch.from_numpy(law.ppf((np.arange(4000) + 0.5) / 4000))
    edges = Edges.of(5 - x[:, None], [Support(None, 5.0)], SupportTransform([HalfLine(5.0, -1.0, 1.0, False)]))
    unit = float(edges.units[1, 0])
    shape = (edges.shapes[1, 0] / torch.tensor([1.0, unit, 1.0, unit**2, 1.0])).tolist()
    assert shape == pytest.approx(expected, rel=0.1, abs=0.1)
    assert (shape[0] == 0) == (expected[0] == 0)
    assert abs(shape[2]) < 1e-3
    before = float((x < 5 - float(edges.last)).double().mean())
    assert before == pytest.approx(0.08 if shape[0] else 0.4, rel=0.02)


@pytest.mark.parametrize(
    ("law", "support", "power"),
    [
        (stats.beta(2, 0.7), Support(0.0, 1.0), 1),  # where the other end diverges
        (stats.beta(0.7, 2), Support(0.0, 1.0), -0.3),
        (stats.t(3), Support(0.0), 0),  # level, with a tail that no exponential or normal law has
    ],
    ids=["vanishing", "diverging", "heavy"],
)
def test_a_shape_knows_what_is_at_the_other_end(law, support, power):
    """Of quantiles of a law, so that there is no noise, in an interval and on a half-line."""
    u = (np.arange(1000) + 0.5) / 1000
    x = torch.from_numpy(law.ppf(u if support.high else 0.5 + u / 2))[:, None]
    edges = Edges.of(x, [support], SupportTransform([HalfLine(0.0, 1.0, 1.0, False)]))
    assert float(edges.shapes[0, 0, 0]) == pytest.approx(power, abs=0.06)


def test_a_shape_that_falls_faster_than_any_power():
    """Of quantiles of a wide lognormal law, so that there is no noise: at a ten thousandth of the mass."""
    law = stats.lognorm(1.5)
    x = torch.from_numpy(law.ppf((np.arange(1000) + 0.5) / 1000))[:, None]
    edges = Edges.of(x, [Support(0.0)], SupportTransform([HalfLine(0.0, 1.0, 1.0, True)]))
    start = torch.stack([edges.first, torch.from_numpy(law.ppf([0.0001]))])
    _, rise, _ = edges.inner(start[1:])
    assert float(rise) == pytest.approx(float(np.diff(law.logpdf(start[:, 0]))[0]), abs=0.1)


def test_a_shape_that_other_columns_change_is_told_by_fewer_rows(rng):
    """A scale of two groups, one at zero and one off it: over all rows the density falls as in neither."""
    n, power = 4000, SupportTransform([HalfLine(0.0, 1.0, 1.0, False), None])
    x = torch.rand(n, 2, dtype=torch.float64, generator=rng)
    alone = Edges.of(x, [Support(0.0, 1.0), Support()], power)
    x[:, 0] = x[:, 0] ** (1 + x[:, 1])
    bent = Edges.of(x, [Support(0.0, 1.0), Support()], power)
    assert (x[:, 0] < bent.first[0]).double().mean() < 0.5 * (x[:, 0] < alone.first[0]).double().mean()


def test_a_level_edge_is_hardly_ever_taken_for_another():
    """Of 400 other sets of 1000 rows none was; if one in 100 were, more than six of 200 would be once in 200 times."""
    transform = SupportTransform([HalfLine(0.0, 1.0, 1.0, False)])
    sets = torch.rand(200, 1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    powers = [float(Edges.of(x, [Support(0.0)], transform).shapes[0, 0, 0]) for x in sets]
    assert sum(power != 0 for power in powers) <= 6


@pytest.mark.parametrize("n", [5, 12, 20])
def test_few_rows_tell_no_steep_shape(n):
    """A hundredth of the way before the zone of the edge the density is not e^4 of that at its beginning, in any of 60 sets."""
    transform = SupportTransform([HalfLine(0.0, 1.0, 1.0, False)])
    sets = -torch.rand(60, n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).log()
    edges = [Edges.of(x, [Support(0.0)], transform) for x in sets]
    assert max(float(one.inner(0.01 * one.first[None])[1]) for one in edges) < 4
    assert n > 8 or all(not one.shapes.any() for one in edges)


def test_the_density_of_a_square_at_its_corners(disco, square):
    """Within 35 % of the truth at edges and corners and next to them; without the support it is off by 60 to 90 %.

    Of 20 other sets of 2000 rows one was off by more.
    """
    estimate = disco.condition(square, support=["unit", (0, 1)])
    u = torch.tensor([0.0, 1e-4, 0.003, 0.5, 0.998, 1.0], dtype=torch.float64)
    found = estimate.log_prob(torch.cartesian_prod(u, u)).exp()
    assert (found - 1).abs().max() < 0.35
    assert disco.condition(square).log_prob(torch.zeros(1, 2).double()).exp() < 0.4
    grid = (torch.arange(60, dtype=torch.float64) + 0.5) / 60
    assert float(estimate.log_prob(torch.cartesian_prod(grid, grid)).exp().mean()) == pytest.approx(1, abs=0.02)


def test_an_exponential_column(disco, rng):
    """Level at its edge, and not yet the cliff that it has without the support."""
    x = -torch.rand(2000, 1, dtype=torch.float64, generator=rng).log()
    estimate = disco.condition(x, support={0: "positive"})
    y = torch.tensor([[0.0], [0.001], [0.1], [1.0], [3.0]], dtype=torch.float64)
    assert (estimate.log_prob(y) + y[:, 0]).abs().max() < 0.15
    assert disco.condition(x).log_prob(y[:1]) < -0.3
    edge = torch.linspace(0, 12, 6001, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(estimate.log_prob(edge).exp(), dx=0.002)) == pytest.approx(1, abs=0.03)


def test_outside_there_is_nothing(small, square):
    estimate = small.double().condition(square[:80] * 3 - 1, support={0: (-1, 2), 1: (None, 2)})
    outside = torch.tensor([[-1.1, 0.0], [2.01, 1.0], [0.0, 2.5], [-5.0, 9.0]], dtype=torch.float64)
    log_prob, score = estimate.log_prob_and_score(outside)
    assert (log_prob == -math.inf).all()
    assert (score == 0).all()
    assert torch.isfinite(estimate.log_prob(torch.tensor([[0.0, -1e6]], dtype=torch.float64))).all()
    y = outside.requires_grad_()
    (gradient,) = torch.autograd.grad(estimate.log_prob(y).exp().sum(), y)
    assert (gradient == 0).all()


def test_the_gradient_of_the_log_density(square):
    """By differences of a small network in float64: inside, and where the density goes on as a power."""
    network = perturbed().double()
    x = torch.stack([square[:400, 0] ** 2, square[:400, 1]], 1)
    estimate = network.condition(x, support=["unit", "unit"])
    edges = estimate.estimator.edges
    y = torch.tensor([[0.3, 0.4], [float(edges.first[0]) / 3, 0.5], [0.7, float(edges.first[1]) / 2]], dtype=torch.float64)
    step = torch.tensor([1e-7, 1e-7], dtype=torch.float64)
    given = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(estimate.log_prob(given).sum(), given)
    rise = (estimate.log_prob(y + step) - estimate.log_prob(y - step)) / 2
    torch.testing.assert_close(rise, gradient @ step, rtol=1e-4, atol=1e-12)
    shape = edges.shapes[0, 0]
    assert float(shape[0]) == pytest.approx(-0.5, abs=0.15)
    score = estimate.score(y)
    for row, i in ((1, 0), (2, 1)):
        unit = edges.units[0, i]
        width = (edges.high - edges.low)[i] / unit
        own = slopes(y[row, i] / unit, width) @ edges.shapes[0, i] / unit
        torch.testing.assert_close(score[row, i], own)


@pytest.mark.filterwarnings("ignore::disco_samplers.samplers.NotMixedWarning")  # two steps of a network that knows nothing
def test_draws_stay_inside(small, rng):
    """Also where rounding to the precision of the rows would lead out."""
    x = 0.1 * torch.rand(200, 2, generator=rng).clamp(1e-3, 0.999)
    estimate = small.condition(x, support=[(0, 0.1), "positive"])
    draws = estimate.sample(300, generator=rng, num_steps=2)
    assert draws.dtype == x.dtype
    assert (draws.double() >= 0).all()
    assert (draws[:, 0].double() <= 0.1).all()
    assert torch.isfinite(estimate.log_prob(draws)).all()
    found = rounded_inside(torch.tensor([[0.1], [0.0]]).double(), torch.float32, [Support(0.0, 0.1)])
    assert float(found[0]) <= 0.1
    assert np.asarray(small.condition(x.numpy(), support=["positive"] * 2).sample(3, num_steps=1)).dtype == np.float32


def test_draws_with_bounds_are_read_by_them(small, rng):
    x = torch.rand(100, 3, generator=rng)
    given = {"tau": "positive", "p": constraints.unit_interval}
    draws = Draws(x, names=NAMES, support=given, weights=torch.rand(100, generator=rng))
    assert draws.support == [Support(0.0, None), Support(0.0, 1.0), Support()]
    one, two = small.condition(draws), small.condition(Draws(x, names=NAMES, weights=draws.weights), support=given)
    assert torch.equal(one.log_prob(x), two.log_prob(x))
    assert one.support == two.support == draws.support
    assert small.condition(draws, support={}).support == draws.support
    assert small.condition(draws, support=["real"] * 3).support is None
    assert small.condition(draws.columns(["x"])).support is None


def test_what_an_estimate_does_is_done_with_a_support(disco, rng):
    x = torch.rand(150, 1, generator=rng, dtype=torch.float64)
    y = torch.tensor([[0.2], [0.999], [1.5]], dtype=torch.float64)
    estimate = disco.condition(x, support=["unit"])
    adapted = estimate.adapt()
    whole = estimate.normalized(num_samples=500, generator=rng)
    for other in (adapted, whole, whole.adapt(), estimate.to(dtype=torch.float64), estimate.with_model(disco)):
        assert isinstance(unnormalized(other.estimator), SupportedEstimator)
        log_prob = other.log_prob(y)
        assert log_prob[2] == -math.inf
        assert (log_prob[:2].abs() < 0.4).all()
        assert other.support == [Support(0.0, 1.0)]
    for again in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert torch.equal(again.log_prob(y), estimate.log_prob(y))
    q = estimate.proposal()
    assert ((points := q.sample(50, generator=rng)) > 0).all()
    assert (points < 1).all()
    assert torch.isfinite(q.log_prob(points)).all()


def test_rows_on_the_edge_are_read_a_little_inside(small, rng):
    x = (torch.rand(300, 2, generator=rng) * 100).round() / 100
    x[0, 0], x[1, 0], x[2, 1] = 0.0, 1.0, 1e-9 - 1e-8
    with pytest.warns(EdgeRowsWarning, match=r"of column x0 on 0, read as 0.005; .*x1 on 0"):
        estimate = small.condition(x, support=["unit", "positive"])
    assert float(estimate.samples[0, 0]) == pytest.approx(0.005)
    assert float(estimate.samples[1, 0]) == pytest.approx(0.995)
    assert float(estimate.samples[2, 1]) == pytest.approx(0.005)
    huge = 1e6 + torch.rand(50, 1, generator=rng)
    huge[0] = 1e6
    with pytest.warns(EdgeRowsWarning):
        assert float(small.condition(huge, support=[(1e6, None)]).samples[0]) > 1e6


REFUSED = [
    ({"support": {"y": "positive"}}, ValueError, "column 'y', and there are tau, p, x"),
    ({"support": {3: "unit"}}, ValueError, "column 3, and they are numbered from 0 to 2"),
    ({"support": {0: "unit", "tau": "unit"}}, ValueError, "column tau twice"),
    ({"support": "positive"}, TypeError, r"which column it is of"),
    ({"support": ["positive"]}, ValueError, "each of the 3 columns, got 1"),
    ({"support": {"p": "percent"}}, ValueError, 'column p must be "real", "positive"'),
    ({"support": {"p": (1, 0)}}, ValueError, "lower bound first"),
    ({"support": {"p": (0, math.nan)}}, ValueError, "bounds that are finite"),
    ({"support": {"p": (0,)}}, TypeError, 'column p must be "real"'),
    ({"support": {"p": constraints.simplex}}, ValueError, "got Simplex"),
    ({"support": {"p": constraints.integer_interval(0, 3)}}, ValueError, "got IntegerInterval"),
    ({"support": {"p": (0.5, 1)}}, ValueError, r"rows lie outside the support \(0.5, 1.0\) of column p: rows "),
    ({"support": {"p": "unit"}, "transform": SupportTransform([None] * 3)}, ValueError, "transform or support, not both"),
]


@pytest.mark.parametrize(("given", "error", "told"), REFUSED, ids=[told for *_, told in REFUSED])
def test_what_is_refused(small, rng, given, error, told):
    import pandas as pd

    frame = pd.DataFrame(torch.rand(20, 3, generator=rng).numpy(), columns=NAMES)
    with pytest.raises(error, match=told):
        small.condition(frame, **given)


def test_a_mapping_says_no_more_than_it_names(small, rng):
    """The draws' own supports of other columns stay, of a group what is left of it; a sequence says all."""
    x = torch.rand(60, 4, dtype=torch.float64, generator=rng)
    x[:, :3] /= x[:, :3].sum(1, keepdim=True)
    draws = Draws(x, names=["a", "b", "c", "d"], support={("a", "b", "c"): "simplex", "d": "unit"})
    told = small.condition(draws, support={"d": (None, 1)}).support
    assert told == [*[Member("simplex", (0, 1, 2))] * 3, Support(None, 1.0)]
    told = small.condition(draws, support={"b": "positive"}).support
    assert told == [Member("subsimplex", (0, 2)), Support(0.0), Member("subsimplex", (0, 2)), Support(0.0, 1.0)]
    assert small.condition(draws, support=[None, "unit", None, None]).support == [
        Support(),
        Support(0.0, 1.0),
        Support(),
        Support(),
    ]
    assert small.condition(draws, transform=JohnsonTransform.fit(x)).support == draws.support


def test_points_that_are_rounded_are_not_outside(small, rng):
    """By as much as rows may be."""
    x = torch.rand(60, 2, dtype=torch.float64, generator=rng)
    estimate = small.condition(x, support=["unit", "positive"])
    y = torch.tensor([[1 + 1e-7, 0.5], [0.5, -1e-8], [1 + 1e-5, 0.5], [0.5, -1e-4]], dtype=torch.float64)
    assert torch.isfinite(estimate.log_prob(y)).tolist() == [True, True, False, False]
    torch.testing.assert_close(estimate.log_prob(y[:1]), estimate.log_prob(torch.tensor([[1.0, 0.5]]).double()))


def test_answers_of_single_precision_at_points_of_double():
    answer = like(torch.tensor([1.0, -math.inf]), torch.zeros(2, 1).double())
    assert answer.tolist() == [1.0, -torch.finfo(torch.float64).max]


def test_a_batch_and_rows_all_on_the_edge_are_refused(small, rng):
    with pytest.raises(ValueError, match="support works on one data set"):
        small.condition(torch.rand(2, 5, 1, generator=rng), support=["unit"])
    x = torch.stack([torch.zeros(9), torch.rand(9, generator=rng)], 1)
    with pytest.raises(ValueError, match="all rows of column x0 lie on the edge 0"):
        small.condition(x, support=["positive", "real"])


def test_constraints_of_torch():
    found = {
        constraints.real: (None, None),
        constraints.positive: (0, None),
        constraints.nonnegative: (0, None),
        constraints.greater_than(2.0): (2, None),
        constraints.less_than(torch.tensor(1.0)): (None, 1),
        constraints.interval(1.0, 2.0): (1, 2),
        constraints.half_open_interval(0.0, 3.0): (0, 3),
        constraints.independent(constraints.unit_interval, 1): (0, 1),
    }
    assert all(tuple(Support.of(given)) == expected for given, expected in found.items())
    with pytest.raises(ValueError, match="one lower bound"):
        Support.of(constraints.greater_than(torch.zeros(2)), "tau")


@pytest.mark.filterwarnings("ignore::disco_samplers.samplers.NotMixedWarning")  # chains too short to mix
@pytest.mark.parametrize("method", ["mala", pytest.param("malt", marks=pytest.mark.slow), "jumps"])
def test_chains_stay_inside_and_do_not_diverge(small, square, method):
    """Steps out of the support are rejected, and are no divergences."""
    estimate = small.condition(square[:100], support=["unit", "unit"])
    sampler = LangevinSampler(score=estimate, method=method)
    result = sampler.run(40, num_chains=4, num_warmup=20, context=square[:100], seed=0, progress=False)
    assert ((result.draws > 0) & (result.draws < 1)).all()
    assert not result.divergences.any()


def test_methods_that_reject_nothing_are_refused(small, square):
    sampler = LangevinSampler(score=small.condition(square[:50], support=["unit", "unit"]), method="ula")
    with pytest.raises(ValueError, match='method "ula" rejects no step, and would leave the support: use mala'):
        sampler.run(5, initial=square[:2], progress=False)


def test_the_integral_and_the_draws_know_the_edges(disco, rng):
    """Over a grid in the columns themselves the density integrates to what the normaliser says, where it is level, too.

    Of 2000 draws as many are next to an edge as the density says, within 4 standard errors.
    """
    x = torch.rand(600, 1, dtype=torch.float64, generator=rng).square()
    estimate = disco.condition(x, support=["unit"])
    grid = (torch.arange(4000, dtype=torch.float64)[:, None] + 0.5) / 4000
    density = estimate.log_prob(grid.square()).exp() * 2 * grid[:, 0]
    found = estimate.log_normalizer(num_samples=20_000, seed=0)
    assert found.value == pytest.approx(math.log(float(density.mean())), abs=4 * found.standard_error)
    near = float(density[grid[:, 0] > 0.95].sum() / density.sum())
    share = float((estimate.sample(2000, generator=rng) > 0.95**2).double().mean())
    assert share == pytest.approx(near, abs=4 * math.sqrt(near / 2000))


def test_skewed_columns_without_a_bound(disco, rng):
    """A support and Johnson's map of the others: that of the one column alone."""
    x = torch.randn(300, 2, dtype=torch.float64, generator=rng).exp()
    both = disco.condition(x, support=["positive", "real"], transform=JohnsonTransform.fit(x))
    alone = disco.condition(x[:, 1:], transform=JohnsonTransform.fit(x[:, 1:]))
    torch.testing.assert_close(both.marginal([1]).estimator.core.samples, x[:, 1:])
    torch.testing.assert_close(both.estimator.core.samples[:, 1:], alone.estimator.core.samples)
    score = both.score(x[:3])
    given = x[:3].clone().requires_grad_()
    assert torch.autograd.grad(both.log_prob(given).sum(), given)[0].shape == score.shape


def test_auto_says_and_does_nothing(small, rng):
    x = torch.stack([torch.rand(200, generator=rng), 360 * torch.rand(200, generator=rng), torch.randn(200, generator=rng)], 1)
    draws = Draws(x, names=["p", "angle", "x"])
    with pytest.warns(SuggestedSupportWarning, match=r"write support=\{'p': 'unit', 'angle': 'circular:360'\}"):
        estimate = small.condition(draws, support="auto")
    assert estimate.support is None
    bounded = Draws(x, names=["p", "angle", "x"], support={"p": "unit"})
    with pytest.warns(SuggestedSupportWarning, match=r"write support=\{'angle': 'circular:360'\}"):
        assert small.condition(bounded, support="auto").support == bounded.support


def test_what_families_of_columns_look_like(rng):
    p = torch.distributions.Dirichlet(torch.ones(3)).sample((100,))
    t = torch.rand(100, 2, generator=rng).sort(1).values
    far = torch.rand(100, 2, generator=rng) + torch.tensor([0.0, 100.0])
    names = ["p[0]", "p[1]", "p[2]", "t[0]", "t[1]", "far[0]", "far[1]"]
    found = suggest_supports(Draws(torch.cat([p, t, far], 1), names=names))
    assert found == {("p[0]", "p[1]", "p[2]"): "simplex", ("t[0]", "t[1]"): "ordered", "far[0]": "unit"}
