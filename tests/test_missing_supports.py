"""Rows that lack cells of columns with supports: marginals of bounded laws, what is filled in, and the estimators."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Beta, Dirichlet, Exponential, VonMises

pytest.importorskip("sklearn")

from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector
from disco_samplers.integrations.sklearn.missing import MissingCells

from disco_samplers.draws import SuggestedSupportWarning, inside, outside, supports_of
from disco_samplers.estimators import FreeCoordinates
from disco_samplers.reference import Gaussian

NAN = float("nan")
NORMAL = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 1.0]]).double()
ALPHA = torch.tensor([0.5, 1.5, 3.0, 2.0]).double()


class Copula:
    """A normal copula of columns with known laws."""

    def __init__(self, *laws):
        self.laws, self.joint = laws, Gaussian(torch.zeros(2).double(), COVARIANCE)

    def log_prob(self, x):
        inside = torch.stack([law.support.check(c) for law, c in zip(self.laws, x.unbind(-1), strict=True)]).all(0)
        kept = torch.where(inside[:, None], x, 0.5)
        columns = list(zip(self.laws, kept.unbind(-1), strict=True))
        z = torch.stack([NORMAL.icdf(self.below(law, c).clamp(1e-15, 1 - 1e-15)) for law, c in columns], -1)
        slopes = sum(law.log_prob(c) - NORMAL.log_prob(k) for (law, c), k in zip(columns, z.unbind(-1), strict=True))
        return torch.where(inside, self.joint.log_prob(z) + slopes, -math.inf)

    def sample(self, n, seed):
        u = NORMAL.cdf(self.joint.sample(n, seed=seed))
        columns = zip(self.laws, u.unbind(-1), strict=True)
        # Of Beta(1/2, 1) the distribution function is a root.
        return torch.stack([law.icdf(c) if isinstance(law, Exponential) else c.square() for law, c in columns], -1)

    @staticmethod
    def below(law, x):
        return law.cdf(x) if isinstance(law, Exponential) else x.sqrt()


ONE = torch.tensor(1.0).double()
COPULA = Copula(Exponential(ONE), Beta(ONE / 2, ONE))
SUPPORTS = supports_of({0: "positive", 1: "unit"}, ["t", "p"])


class Shares:
    """A Dirichlet law, with the score along the simplex."""

    def log_prob(self, x):
        return Dirichlet(ALPHA, validate_args=False).log_prob(x)

    def log_prob_and_score(self, x):
        slope = (ALPHA - 1) / x
        return self.log_prob(x), slope - slope.mean(1, keepdim=True)


class Rising:
    """Three exponential numbers in order: their distances are independent, of rates 3, 2 and 1."""

    def log_prob(self, x):
        return torch.where((x[:, 0] > 0) & (x.diff(dim=1) >= 0).all(1), math.log(6) - x.sum(1), -math.inf)


class Follows:
    """An exponential number, and an angle in degrees that follows it."""

    def log_prob(self, x):
        off = torch.remainder(x[:, 1] - 60 * x[:, 0] + 180, 360) - 180
        return torch.where(x[:, 0] >= 0, -x[:, 0], -math.inf) + NORMAL.log_prob(off / 25) - math.log(25)


def holed(rows, share):
    lost = torch.from_numpy(np.random.default_rng(0).uniform(size=rows.shape) < share)
    return torch.where(lost & ~lost.all(1, keepdim=True), NAN, rows)


def cells_of(rows, supports, share):
    return MissingCells(holed(rows, share), None, torch.Generator().manual_seed(0), supports=supports)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_marginals_of_bounded_columns(share):
    """An exponential law and one that diverges at its edge: the mean of 32 draws is off by a tenth of a nat."""
    cells = cells_of(COPULA.sample(1000, seed=0), SUPPORTS, share)
    rows = COPULA.sample(200, seed=1)
    for kept, law in enumerate(COPULA.laws):
        asked = rows.clone()
        asked[:, 1 - kept] = NAN
        error = cells.log_prob(COPULA, asked) - law.log_prob(rows[:, kept])
        assert error.square().mean().sqrt() < 0.1
    off = torch.tensor([[-0.5, NAN], [NAN, 1.5]]).double()
    assert cells.log_prob(COPULA, off).isneginf().all()
    assert cells.log_prob(COPULA, off, whole=True).isneginf().all()


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("lost", [[0], [3], [0, 1], [2, 3], [0, 1, 2], [1, 2, 3]])
def test_what_is_left_of_a_simplex(share, lost):
    """The missing columns of a Dirichlet law count as one, of their sum; the score is that of the columns that are there."""
    rng = np.random.default_rng(0)
    rows, asked = (torch.from_numpy(rng.dirichlet(ALPHA, n)) for n in (600, 100))
    supports = supports_of({(0, 1, 2, 3): "simplex"}, list("abcd"))
    cells = cells_of(rows, supports, share)
    kept = [i for i in range(4) if i not in lost]
    rest = asked[:, lost].sum(1, keepdim=True)
    exact = Dirichlet(torch.cat([ALPHA[kept], ALPHA[lost].sum()[None]])).log_prob(torch.cat([asked[:, kept], rest], 1))
    slope = (ALPHA[kept] - 1) / asked[:, kept] - (ALPHA[lost].sum() - 1) / rest
    asked[:, lost] = NAN
    log_prob, score = cells.log_prob_and_score(Shares(), asked)
    torch.testing.assert_close(log_prob, exact, atol=0.05, rtol=0)
    torch.testing.assert_close(score[:, kept], slope, atol=1e-6, rtol=1e-6)
    assert score[:, lost].isnan().all()
    filled = cells.filled(lambda _: Shares(), torch.Generator().manual_seed(0))
    assert not outside(filled, supports).any()


@pytest.mark.parametrize(("lost", "exact"), [
    ([0], lambda x: math.log(6) - x[:, 1] - x[:, 2] + (-torch.expm1(-x[:, 1])).log()),
    ([1], lambda x: math.log(6) - x[:, 0] - x[:, 2] + ((-x[:, 0]).exp() - (-x[:, 2]).exp()).log()),
    ([2], lambda x: math.log(6) - x[:, 0] - 2 * x[:, 1]),
    ([1, 2], lambda x: math.log(3) - 3 * x[:, 0]),
])  # fmt: skip
def test_order_statistics(lost, exact):
    """Of exponential numbers in order, by integrals in closed form."""
    rows = torch.from_numpy(np.random.default_rng(0).exponential(size=(1200, 3))).sort(1).values
    supports = supports_of(
        {
            (0, 1, 2): "ordered",
        },
        list("abc"),
    )
    cells = cells_of(rows[:1000], supports, 0.2)
    asked = rows[1000:].clone()
    known = exact(asked)
    asked[:, lost] = NAN
    assert (cells.log_prob(Rising(), asked) - known).square().mean().sqrt() < 0.15
    assert not outside(cells.filled(lambda _: Rising(), torch.Generator().manual_seed(0)), supports).any()


def test_angles_around_their_seam():
    """An angle that lies about the end of its turn, and another that follows it."""

    def log_prob(x):
        return VonMises(ONE * 0, ONE * 2).log_prob(x[:, 0]) + VonMises(ONE * 0, ONE * 4).log_prob(x[:, 1] - x[:, 0])

    law = type("Law", (), {"log_prob": staticmethod(log_prob)})
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(np.cumsum(np.column_stack([rng.vonmises(0, 2, 1200), rng.vonmises(0, 4, 1200)]), 1) % (2 * np.pi))
    cells = cells_of(rows[:1000], supports_of({0: "circular", 1: "circular"}, ["a", "b"], rows), 0.2)
    asked = rows[1000:].clone()
    asked[:, 1] = NAN
    error = cells.log_prob(law, asked) - VonMises(ONE * 0, ONE * 2).log_prob(rows[1000:, 0])
    assert error.square().mean().sqrt() < 0.2


def test_angles_are_filled_in_on_the_turn_of_the_table():
    """From 0 to 360 degrees, with the sparsest place elsewhere, so that all angles fit into the table's turn."""
    rng = np.random.default_rng(3)
    rows = np.column_stack([np.degrees(rng.vonmises(1.0, 1, 120)) % 360, rng.normal(size=120)])
    density = DiscoDensity(normalize=False, support={0: "circular:360"}).fit(holed(torch.from_numpy(rows), 0.3).numpy())
    asked = np.array([[NAN, 0.0], [0.0, NAN], [360.0, NAN]])
    found = density.score_samples(asked)
    assert np.isfinite(found).all()
    assert found[1] == pytest.approx(found[2], abs=1e-6)


def test_a_detector_knows_the_names_of_columns_with_supports():
    """As numbers do, with and without missing cells; "auto" tells them."""
    pandas = pytest.importorskip("pandas")
    rows = COPULA.sample(100, seed=5).numpy()
    frame = pandas.DataFrame(holed(torch.from_numpy(rows), 0.2).numpy(), columns=["tau", "p"][: rows.shape[1]])
    options = {"folds": 2, "robust": False}
    named = DiscoOutlierDetector(support={"tau": "positive", "p": "unit"}, **options).fit(frame)
    numbered = DiscoOutlierDetector(support={0: "positive", 1: "unit"}, **options).fit(frame.to_numpy())
    np.testing.assert_array_equal(named.training_scores_, numbered.training_scores_)
    with pytest.raises(ValueError, match=r"outside the support .* of column tau"):
        DiscoOutlierDetector(support={"tau": (1e9, None)}, **options).fit(frame)
    with pytest.warns(SuggestedSupportWarning, match="'tau': 'positive'") as told:
        DiscoOutlierDetector(support="auto", **options).fit(pandas.DataFrame(rows, columns=["tau", "p"]))
    assert told[0].filename == __file__


@pytest.mark.parametrize("kind", ["simplex", "subsimplex", "ordered"])
def test_coordinates_of_free_columns(kind):
    """They invert, do not depend on free columns, and their slopes are those of differences."""
    order = [2, 0, 3, 1]
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).double()
    x = x / x.sum(1, keepdim=True) * (1.0 if kind == "simplex" else 0.8)
    if kind == "ordered":
        x[:, order] = x.sort(1).values
    for given in ([], [0], [3, 1], [2, 1], [0, 1, 3]):
        free = FreeCoordinates(supports_of({tuple(order): kind}, list("abcd")), given)
        y = free(x)
        torch.testing.assert_close(free.inverse(y), x)
        lacking = x.clone()
        lacking[:, [i for i in range(4) if i not in given]] = NAN
        assert (free(lacking).isnan() == torch.tensor(free.free)).all()
        jacobian = torch.autograd.functional.jacobian(lambda z, free=free: free(z[None])[0], x[0])[:, free.columns]
        torch.testing.assert_close(free.log_slopes(x)[0], jacobian.diagonal().abs().log())


@pytest.fixture(scope="module")
def density():
    return DiscoDensity(normalize=False, support={0: "positive", 1: "unit"}).fit(holed(COPULA.sample(400, seed=2), 0.2).numpy())


def test_density_with_supports_and_missing_cells(density):
    """A fifth of the cells of 400 rows is missing; of 10 other sets none was off by more than .37 nats, root mean square."""
    rows = COPULA.sample(200, seed=3)
    for kept, law in enumerate(COPULA.laws):
        asked = rows.numpy().copy()
        asked[:, 1 - kept] = NAN
        error = density.score_samples(asked) - law.log_prob(rows[:, kept]).numpy()
        assert np.sqrt(np.mean(error**2)) < 0.4
    np.testing.assert_array_equal(density.score_samples([[-1.0, NAN], [NAN, 2.0]]), -np.inf)
    assert density.estimate_.support == SUPPORTS
    draws = density.sample(50, random_state=0)
    assert (draws[:, 0] >= 0).all()
    assert (np.abs(draws[:, 1] - 0.5) <= 0.5).all()


def test_the_detector_heeds_supports():
    """A negative time is as unusual as can be; a training row outside is refused."""
    rows = holed(COPULA.sample(120, seed=4), 0.1).numpy()
    detector = DiscoOutlierDetector(folds=2, robust=False, support={0: "positive", 1: "unit"}).fit(rows)
    assert detector.predict([[-0.5, 0.3], [-0.5, NAN], [0.7, 0.3]]).tolist() == [-1, -1, 1]
    assert np.isfinite(detector.training_scores_).all()
    rows[3, 0] = -1.0
    with pytest.raises(ValueError, match=r"1 rows lie outside the support \(0.0, None\) of column x0: row 3"):
        DiscoOutlierDetector(support={0: "positive", 1: "unit"}).fit(rows)


def test_rows_with_missing_cells_that_lie_outside():
    simplex = supports_of({(0, 1, 2): "simplex"}, list("abc"))
    x = torch.tensor([[0.5, 0.3, NAN], [NAN, 0.2, 0.1], [0.2, 0.3, 0.5]]).double()
    torch.testing.assert_close(inside(x, simplex, list("abc")), x, equal_nan=True)
    with pytest.raises(ValueError, match="1 rows are outside the support of columns a, b, c, simplex"):
        inside(torch.tensor([[0.7, 0.6, NAN], [0.2, 0.3, 0.5]]).double(), simplex, list("abc"))
    ordered = supports_of({(0, 1, 2): "ordered"}, list("abc"))
    with pytest.raises(ValueError, match=r"1 rows are outside the support of columns a, b, c, ordered: row 1, .* falls by 2"):
        inside(torch.tensor([[1.0, NAN, 3.0], [3.0, NAN, 1.0], [NAN, NAN, 1.0]]).double(), ordered, list("abc"))


def test_a_cell_on_its_edge_tells_the_others_no_more_than_a_row_near_it():
    """Coordinates go to infinity at an edge: what is drawn for the other cells must not.

    The law is exact but for 3e-7 of the angle's mass, so all error is that of 32 draws: at most 0.1 nats beside the edge, too.
    """
    tau = torch.from_numpy(np.random.default_rng(4).exponential(size=300))
    angle = torch.remainder(60 * tau + torch.from_numpy(np.random.default_rng(5).normal(0, 25, 300)), 360)
    supports = supports_of(["positive", "circular:360"], ["t", "a"], torch.stack([tau, angle], 1))
    cells = MissingCells(torch.stack([tau, angle], 1), None, torch.Generator().manual_seed(0), None, supports)
    given = torch.tensor([0.0, 1e-9, 1e-5, 1e-3, 0.1]).double()
    found = cells.log_prob(Follows(), torch.stack([given, torch.full_like(given, NAN)], 1))
    torch.testing.assert_close(found, -given, atol=0.1, rtol=0)
