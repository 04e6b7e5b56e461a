"""Columns on a simplex and in a rising order: exact laws, rows on edges, and what is refused."""

import copy
import math
import pickle

import pytest
import torch
from conftest import perturbed
from torch.distributions import Beta, Dirichlet, Exponential

from disco_samplers import Draws, LangevinSampler
from disco_samplers.draws import EdgeRowsWarning, Member, Support, supports_of
from disco_samplers.estimators import GroupTransform
from disco_samplers.estimators.supported import GroupedEstimator
from disco_samplers.posteriors import log_evidence

NAMES = ["a", "b", "c", "x"]
SIMPLEX = {("a", "b", "c"): "simplex"}
ALPHA = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64)


def shares(rng, n, alpha=None):
    """Rows of a Dirichlet law by gamma variates of whole or half-whole shapes."""
    alpha = torch.ones(3, dtype=torch.float64) if alpha is None else alpha
    normal = torch.randn(n, 3, 8, dtype=torch.float64, generator=rng)
    gamma = torch.stack([normal[:, i, : int(2 * a)].square().sum(1) for i, a in enumerate(alpha)], 1)
    return gamma / gamma.sum(1, keepdim=True)


class Sticks:
    """Independent columns: what the sticks of a Dirichlet law are."""

    def __init__(self, laws):
        self.laws = laws

    def log_prob(self, y):
        return sum(law.log_prob(column) for law, column in zip(self.laws, y.unbind(-1), strict=True))

    def log_prob_and_score(self, y):
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            log_prob = self.log_prob(y)
            (score,) = torch.autograd.grad(log_prob.sum(), y)
        return log_prob.detach(), score


def test_a_dirichlet_law_by_its_sticks(rng):
    r"""The shares of what is left are independent, :math:`Beta(\alpha_i, \sum_{j > i} \alpha_j)`; the score is along it."""
    law = GroupedEstimator(
        Sticks([Beta(ALPHA[0], ALPHA[1:].sum()), Beta(ALPHA[1], ALPHA[2])]), GroupTransform([Member("simplex", (0, 1, 2))] * 3)
    )
    x = shares(rng, 20)
    log_prob, score = law.log_prob_and_score(x)
    torch.testing.assert_close(log_prob, Dirichlet(ALPHA).log_prob(x))
    along = (ALPHA - 1) / x
    torch.testing.assert_close(score, along - along.mean(1, keepdim=True))


def test_some_columns_of_a_dirichlet_law(rng):
    """Of a law of three columns the first two have the same density, and a score of their own."""
    law = GroupedEstimator(
        Sticks([Beta(ALPHA[0], ALPHA[1:].sum()), Beta(ALPHA[1], ALPHA[2])]), GroupTransform([Member("subsimplex", (0, 1))] * 2)
    )
    x = shares(rng, 20)
    log_prob, score = law.log_prob_and_score(x[:, :2])
    torch.testing.assert_close(log_prob, Dirichlet(ALPHA).log_prob(x))
    torch.testing.assert_close(score, (ALPHA[:2] - 1) / x[:, :2] - (ALPHA[2] - 1) / x[:, 2:])
    change = law.transform
    torch.testing.assert_close(change.inv(change(x[:, :2])), x[:, :2])
    assert change.powers == [1.0, 0.0]


def test_the_marginal_of_a_simplex_knows_its_edge(disco, rng):
    """Two of four uniform shares have the density 6 (1 - a - b): within 25 %, up to a hundredth from where it ends.

    Of 20 other sets none was off by more than 20 %.
    """
    share = -torch.rand(2000, 4, dtype=torch.float64, generator=rng).log()
    estimate = disco.condition(share / share.sum(1, keepdim=True), support={(0, 1, 2, 3): "simplex"}).marginal([2, 0])
    assert estimate.support == [Member("subsimplex", (1, 0))] * 2
    y = torch.tensor([[0.1, 0.1], [0.3, 0.3], [0.1, 0.6], [0.49, 0.5]], dtype=torch.float64)
    assert (estimate.log_prob(y) - (6 * (1 - y.sum(1))).log()).abs().max() < 0.25
    assert (estimate.log_prob(torch.tensor([[0.6, 0.5], [0.5, -0.1]]).double()) == -math.inf).all()
    draws = estimate.sample(200, generator=rng, num_steps=3)
    assert (draws.sum(1) < 1).all()
    assert (draws > 0).all()


def test_ordered_exponentials(rng):
    """Of the order of two exponential columns the first and the distance are independent, of rates 2 and 1."""
    law = GroupedEstimator(Sticks([Exponential(1.0), Exponential(2.0)]), GroupTransform([Member("ordered", (1, 0))] * 2))
    x = torch.tensor([[1.0, 0.5], [2.0, 0.1]], dtype=torch.float64)
    log_prob, score = law.log_prob_and_score(x)
    torch.testing.assert_close(log_prob, math.log(2) - x.sum(1))
    torch.testing.assert_close(score, -torch.ones_like(x))


def test_there_and_back(rng):
    supports = supports_of({("c", "a"): "ordered", ("b", "x", "y"): "simplex"}, [*NAMES, "y"])
    change = GroupTransform(supports)
    assert change.supports == [Support(0.0, None), Support(0.0, 1.0), Support(), Support(0.0, 1.0)]
    assert change.powers == [0.0, 1.0, 0.0, 0.0]
    p, o = shares(rng, 9), torch.randn(9, 2, dtype=torch.float64, generator=rng).sort(1).values
    x = torch.stack([o[:, 1], p[:, 0], o[:, 0], p[:, 1], p[:, 2]], 1)
    torch.testing.assert_close(change.inv(change(x)), x)
    y = change(x[0])
    # The last column of the simplex follows from the others.
    whole = torch.autograd.functional.jacobian(lambda z: change(torch.cat([z, 1 - z[1:2] - z[3:4]])), x[0, :4])
    torch.testing.assert_close(change.log_abs_det_jacobian(x[0], y), torch.linalg.slogdet(whole).logabsdet)


def test_the_density_of_a_simplex(disco, rng):
    """A uniform one, within 25 % at its middle and the middles of its sides. Of 30 other sets none was off by more."""
    x = shares(rng, 1500)
    estimate = disco.condition(x, support={(0, 1, 2): "simplex"})
    y = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    y = y / y.sum(1, keepdim=True)
    assert (estimate.log_prob(y) - math.log(2)).abs().max() < 0.25
    off = torch.tensor([[0.5, 0.5, 0.1], [1.2, -0.1, -0.1]], dtype=torch.float64)
    log_prob, score = estimate.log_prob_and_score(off)
    assert (log_prob == -math.inf).all()
    assert (score == 0).all()
    assert estimate.log_normalizer(seed=0).value == pytest.approx(0, abs=0.06)
    draws = estimate.sample(200, generator=rng, num_steps=3)
    torch.testing.assert_close(draws.sum(1), torch.ones(200, dtype=torch.float64))
    assert (draws > 0).all()


def test_the_density_of_ordered_columns(disco, rng):
    """Two uniform columns in order have a density of 2, up to where they meet; within 35 %. Of 30 other sets none was worse."""
    x = torch.rand(1500, 2, dtype=torch.float64, generator=rng).sort(1).values
    estimate = disco.condition(x, support={(0, 1): "ordered"})
    y = torch.tensor([[0.3, 0.7], [0.5, 0.5], [0.7, 0.3]], dtype=torch.float64)
    found = estimate.log_prob(y)
    assert (found[:2] - math.log(2)).abs().max() < 0.35
    assert found[2] == -math.inf
    assert (estimate.sample(300, generator=rng, num_steps=3).diff(dim=1) >= 0).all()


@pytest.mark.filterwarnings("ignore::disco_samplers.samplers.NotMixedWarning")  # chains too short to mix
def test_what_an_estimate_does_is_done_with_groups(rng):
    network = perturbed().double()
    x = torch.cat([shares(rng, 45), torch.randn(45, 1, dtype=torch.float64, generator=rng)], 1)
    draws = Draws(x, names=NAMES, support=SIMPLEX)
    estimate = network.condition(draws)
    for other in (estimate.normalized(num_samples=300, generator=rng), estimate.adapt(), estimate.calibrated(num_samples=200)):
        assert torch.isfinite(other.log_prob(x)).all()
        assert other.log_prob(x + 0.1)[0] == -math.inf
    for again in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert torch.equal(again.log_prob(x), estimate.log_prob(x))
    new = estimate.proposal().sample(30, generator=rng)
    assert torch.isfinite(estimate.proposal().log_prob(new)).all()
    assert torch.isfinite(estimate.log_prob(new)).all()
    assert draws.columns(["c", "a", "b"]).support == [Member("simplex", (1, 2, 0))] * 3
    assert estimate.marginal(["a", "x"]).support == [Support(0.0, 1.0), Support()]
    assert estimate.marginal(["c", "x", "a"]).marginal(["a", "c"]).support == [Member("subsimplex", (0, 1))] * 2
    ordered = network.condition(
        torch.randn(60, 3, dtype=torch.float64, generator=rng).sort(1).values, support={(0, 1, 2): "ordered"}
    )
    assert ordered.marginal([0, 2]).support == [Member("ordered", (0, 1))] * 2
    with pytest.raises(ValueError, match="would leave the simplex"):
        LangevinSampler(score=estimate).run(2, initial=x[:2], progress=False)
    with pytest.raises(ValueError, match="columns a, b, c are a simplex"):
        log_evidence(draws, lambda t: t[:, 0])


def test_rows_on_the_edge_are_read_a_little_inside(small, rng):
    x = shares(rng, 40)
    x[0], x[1] = torch.tensor([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]]).double()
    with pytest.warns(EdgeRowsWarning, match=r"2 of column x1|1 of column x0 on 0"):
        estimate = small.condition(x, support={(0, 1, 2): "simplex"})
    assert (estimate.samples > 0).all()
    torch.testing.assert_close(estimate.samples.sum(1), torch.ones(40, dtype=torch.float64))
    part = shares(rng, 40)[:, :2].float()
    part[0] = torch.tensor([0.25, 0.75])
    with pytest.warns(EdgeRowsWarning, match="1 of what x0, x1 leave of one on 0"):
        assert (small.condition(part, support={(0, 1): "subsimplex"}).samples.sum(1) < 1).all()
    o = torch.rand(40, 2, generator=rng).sort(1).values
    o[3, 1] = o[3, 0]
    with pytest.warns(EdgeRowsWarning, match="1 of the distances of x0 and x1 on 0"):
        assert (small.condition(o, support={(0, 1): "ordered"}).samples.diff(dim=1) > 0).all()


REFUSED = [
    ({("a", "b"): "simplex"}, ValueError, "rows are outside the support of columns a, b, simplex: rows 0, 1.*first sums to"),
    ({("c", "b"): "ordered"}, ValueError, "of columns c, b, ordered: rows .*the first falls by"),
    ({("a", "b", "c"): "simplex", "a": "unit"}, ValueError, "column a twice"),
    ({("a", "b"): "ordered", ("b", "c"): "ordered"}, ValueError, "column b twice"),
    ({("a",): "simplex"}, ValueError, "simplex is of two columns or more"),
    ({("a", "b"): "unit"}, ValueError, 'columns a, b must be "simplex", "subsimplex" or "ordered"'),
    ({("a", "b", "x"): "subsimplex"}, ValueError, "of columns a, b, x, subsimplex: rows .*the first sums to"),
    ({"a": "simplex"}, ValueError, "that of several columns: write"),
]


@pytest.mark.parametrize(("given", "error", "told"), REFUSED, ids=[told for *_, told in REFUSED])
def test_what_is_refused(rng, given, error, told):
    x = torch.cat([shares(rng, 30), torch.rand(30, 1, generator=rng).double()], 1)
    with pytest.raises(error, match=told):
        Draws(x, names=NAMES, support=given)
