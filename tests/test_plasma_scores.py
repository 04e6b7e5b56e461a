"""Scores of velocities: the blob against its entropy, DiScoFormer over cells, calibration by moment identities."""

import pytest
import torch
from disco_samplers.integrations.plasma import Mixture, MultispeciesLandau, Species
from disco_samplers.integrations.plasma.exact import BKW
from disco_samplers.integrations.plasma.scores import Blob, Calibrated, DiscoScore, Exact, Maxwellian
from disco_samplers.integrations.plasma.scores.calibrated import calibrate
from disco_samplers.integrations.plasma.types import VelocityScore

from disco_samplers.reference import KDE


def cells_of(*counts, d=2, dtype=torch.float64, seed=0):
    """Particles of cells of the given sizes, shuffled, with means and temperatures of their own."""
    rng = torch.Generator().manual_seed(seed)
    cell = torch.repeat_interleave(torch.tensor(counts))[torch.randperm(sum(counts), generator=rng)]
    v = torch.randn(len(cell), d, dtype=torch.float64, generator=rng) * (1 + cell[:, None]) + 5 * cell[:, None]
    return v.to(dtype), torch.ones(len(cell), dtype=dtype), cell


SCORES = [Blob(), Blob(0.5, both_terms=False), Calibrated(Blob()), Maxwellian(), DiscoScore(), DiscoScore(keys=32)]


@pytest.mark.parametrize("score", SCORES, ids=lambda s: type(s).__name__)
def test_every_score_takes_empty_small_and_equal_cells(score):
    v, w, cell = cells_of(0, 1, 2, 100, 17)
    v = torch.cat([v, torch.full((40, 2), 3.0, dtype=v.dtype)])
    w, cell = torch.ones(len(v), dtype=v.dtype), torch.cat([cell, torch.full((40,), 5)])
    assert isinstance(score, VelocityScore)
    s = score(v, w, cell, 7)
    assert s.shape == v.shape
    assert s.dtype == v.dtype
    assert torch.isfinite(s).all()
    assert s[(cell == 1) | (cell == 5)].abs().max() < 1e-12
    if hasattr(score, "log_prob"):
        assert torch.isfinite(score.log_prob(v, w, cell, 7)).all()


@pytest.mark.parametrize("score", SCORES[:-1], ids=lambda s: type(s).__name__)  # keys are drawn over all cells
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_score_of_a_cell_is_that_of_the_cell_alone(score, dtype):
    v, w, cell = cells_of(60, 100, 0, 33, dtype=dtype)
    s = score(v, w, cell, 4)
    for c in (0, 1, 3):
        here = cell == c
        alone = score(v[here], w[here], torch.zeros_like(cell[here]), 1)
        torch.testing.assert_close(s[here], alone, rtol=1e-3, atol=2e-4)


def test_kernel_density_part_matches_the_reference():
    v, w, cell = cells_of(80, 120, d=3)
    s = Blob(0.7, both_terms=False)(v, w, cell, 2)
    log_f = Blob(0.7).log_prob(v, w, cell, 2)
    for c in (0, 1):
        kde = KDE(v[cell == c], 0.7)
        torch.testing.assert_close(s[cell == c], kde.score(v[cell == c]), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log_f[cell == c], kde.log_prob(v[cell == c]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_blob_is_the_gradient_of_its_entropy(d):
    v, _, _ = cells_of(40, d=d)
    w = 0.5 + torch.rand(40, dtype=v.dtype, generator=torch.Generator().manual_seed(1))
    leaf = v.clone().requires_grad_()
    kernel = torch.exp(-0.5 * (leaf[:, None] - leaf).square().sum(-1) / 0.6**2)
    (gradient,) = torch.autograd.grad((w * (kernel @ w).log()).sum(), leaf)
    s = Blob(0.6)(v, w, torch.zeros(40, dtype=torch.int64), 1)
    torch.testing.assert_close(s, gradient / w[:, None], rtol=1e-9, atol=1e-10)


def test_blob_tiles_do_not_change_it(monkeypatch):
    v, w, cell = cells_of(80, 120)
    whole = Blob()(v, w, cell, 2), Blob().log_prob(v, w, cell, 2)
    monkeypatch.setattr("disco_samplers.integrations.plasma.scores.blob._TILE", 300)
    torch.testing.assert_close((Blob()(v, w, cell, 2), Blob().log_prob(v, w, cell, 2)), whole)


def test_disco_score_is_the_estimates_score(rotations):
    v, w, cell = cells_of(60, 100)
    raw = DiscoScore(rotations, calibrate=False)
    log_f, s = raw.log_prob(v, w, cell, 2), raw(v, w, cell, 2)
    for c in (0, 1):
        estimate = rotations.condition(v[cell == c])
        torch.testing.assert_close(s[cell == c], estimate.score(v[cell == c]), rtol=1e-3, atol=2e-4)
        normalised = estimate.normalized(num_samples=20_000, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(log_f[cell == c], normalised.log_prob(v[cell == c]), rtol=0, atol=0.03)


def test_the_model_that_was_given_stays_where_it_is(rotations):
    score = DiscoScore(rotations)
    score._follow(torch.device("meta"))
    assert score.model.device.type == "meta"
    assert rotations.device.type == "cpu"


def test_particles_of_unequal_weight_are_weighted_draws(rotations):
    v, _, _ = cells_of(100)
    w = torch.ones(100, dtype=v.dtype)
    w[:50] = 3.0
    weighted = DiscoScore(rotations, calibrate=False)(v, w, torch.zeros(100, dtype=torch.int64), 1)
    torch.testing.assert_close(weighted, rotations.condition(v, weights=w).score(v), rtol=1e-3, atol=1e-4)
    plain = rotations.condition(v).score(v)
    assert (weighted - plain).norm() > 0.02 * plain.norm()


def test_keys_show_the_network_that_many_particles(rotations, monkeypatch):
    v, w, cell = cells_of(30, 400, 90)
    shown = []
    condition = rotations.condition
    monkeypatch.setattr(
        type(rotations), "condition", lambda self, x, **options: shown.append((x, options)) or condition(x, **options)
    )
    s = DiscoScore(rotations, keys=64)(v, w, cell, 3)
    assert max(x.shape[1] for x, _ in shown) == 64
    truth = -(v - 5 * cell[:, None]) / (1 + cell[:, None]) ** 2
    big = cell == 1
    assert (s - truth)[big].square().sum() < 0.2 * truth[big].square().sum()
    assert torch.equal(s, DiscoScore(rotations, keys=64)(v, w, cell, 3))


def test_a_quiet_start_is_worth_more_than_draws():
    """Velocities along the line at the middles of equal shares of N(0, 1) (1 + .03 H3), normal across: an even law's wave."""
    n, size = 1024, 0.03
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    bent = torch.exp(-0.5 * grid.square()) * (1 + size * (grid**3 - 3 * grid))
    shares = bent.cumsum(0) / bent.sum()
    quiet = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(n, dtype=torch.float64)
    v = torch.special.ndtri(quiet.clamp(1e-9, 1 - 1e-9))
    v[:, 0] = grid[torch.searchsorted(shares, quiet[:, 0].contiguous()).clamp_max(len(grid) - 1)]
    x = v[:, 0]
    wave = size * (3 * x.square() - 3) / (1 + size * (x**3 - 3 * x))
    ones, cell = torch.ones(n, dtype=v.dtype), torch.zeros(n, dtype=torch.int64)
    usual = x.abs() < 2.5  # beyond, the law itself has a negative part
    told, untold = ((DiscoScore(worth=worth)(v, ones, cell, 1)[:, 0] + x)[usual] for worth in (12, 1))

    def off(found):
        return float((found - wave[usual]).square().mean() / wave[usual].square().mean())

    assert off(told) < 0.5 * off(untold)
    with pytest.raises(ValueError, match="worth must be at least 1"):
        DiscoScore(worth=0.5)
    with pytest.raises(ValueError, match="beside keys"):
        DiscoScore(worth=4, keys=64)


def test_adapt_goes_through_every_cell(rotations):
    v, w, cell = cells_of(30, 40)
    adapted = DiscoScore(rotations, adapt=True, calibrate=False)(v, w, cell, 2)
    expected = rotations.condition(v[cell == 1]).adapt().score(v[cell == 1])
    torch.testing.assert_close(adapted[cell == 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_calibration_meets_the_identities(d):
    v, _, cell = cells_of(300, 200, d=d)
    w = 0.5 + torch.rand(500, dtype=v.dtype, generator=torch.Generator().manual_seed(1))
    crude = -0.8 * torch.tanh(v - 5 * cell[:, None]) + 0.1
    s = calibrate(crude, v, w, cell, 2)
    for c in (0, 1):
        share = (w[cell == c] / w[cell == c].sum())[:, None]
        x, t = v[cell == c], s[cell == c]
        x = x - (share * x).sum(0)
        torch.testing.assert_close((share * t).sum(0), torch.zeros(d, dtype=v.dtype), rtol=0, atol=1e-12)
        torch.testing.assert_close((share * x).T @ t, -torch.eye(d, dtype=v.dtype), rtol=0, atol=1e-10)


def test_calibration_leaves_what_it_cannot_improve():
    v, w, cell = cells_of(300, 10)
    exact = -(v - 5 * cell[:, None]) / (1 + cell[:, None]) ** 2
    s = calibrate(exact, v, w, cell, 2)
    assert torch.equal(s[cell == 1], exact[cell == 1])  # too few
    # An exact score moves by chance only: a relative 1/n for each of 2 d + d^2 coefficients and one.
    assert (s - exact).square().sum() < 0.05 * exact.square().sum()
    assert torch.equal(calibrate(-exact, v, w, cell, 2), -exact)  # points outwards: no score of a distribution


@pytest.mark.parametrize("d", [2, 3])
def test_calibration_finds_the_fourth_moment_that_a_crude_score_misses(d):
    problem = BKW(d)
    v = problem.sample(2000, 2.0, generator=torch.Generator().manual_seed(0))
    w, cell = torch.ones(2000, dtype=v.dtype), torch.zeros(2000, dtype=torch.int64)
    truth = problem.score(v, 2.0)
    error = (calibrate(-v, v, w, cell, 1) - truth).square().sum() / (-v - truth).square().sum()
    assert error < 0.5


@pytest.mark.parametrize("d", [2, 3])
def test_momentum_passes_from_a_bent_beam_to_others_as_it_should(d):
    """Maxwell molecules: du_a/dt = -(d-1) c n_b (1/m_a + 1/m_b)(u_a - u_b)/m_a, of a beam that is read as a Gaussian."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(2, 2000, d, dtype=torch.float64, generator=rng)
    v, rest = z[0] * 0.3, 0.1 * z[1]
    v[:, 1:] = z[0, :, 1:]
    v[:, 0] += 3 - z[0, :, 1:].square().sum(1)
    w = torch.full((2000,), 1 / 2000, dtype=torch.float64)

    def gaussian(v, w, cell, num_cells):
        c = v - v.mean(0)
        return -c @ torch.linalg.inv(c.T @ c / len(c))

    mixture = Mixture.of([Species("beam", w, v, w), Species("rest", w, rest, w, mass=100.0)])
    exact = -1.01 * (d - 1) * (v.mean(0) - rest.mean(0))
    found = []
    for score in (gaussian, Calibrated(gaussian)):
        operator = MultispeciesLandau({"beam": score, "rest": Maxwellian()}, strength={("beam", "rest"): 1.0}, exponent=0)
        found.append(mixture.split(operator.rates(mixture))[0].mean(0))
    assert (found[0] - exact).norm() > 0.4 * exact.norm()
    assert (found[1] - exact).norm() < 0.15 * (found[0] - exact).norm()  # what might be chance is left


def test_exact_follows_its_time():
    score = Exact(lambda v, t: -v * t)
    v = torch.ones(2, 2)
    score.time = 3.0
    assert torch.equal(score(v, v[:, 0], torch.zeros(2, dtype=torch.int64), 1), -3 * v)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        Blob(0.0)
    with pytest.raises(ValueError, match="keys must be at least 16"):
        DiscoScore(keys=2)
    with pytest.raises(TypeError, match="adapt must be True or False"):
        DiscoScore(adapt=8)


def test_scores_that_come_with_the_encoding_are_those_that_are_asked_for(rng):
    v = torch.randn(700, 3, generator=rng, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.5])
    w = torch.rand(700, generator=rng, dtype=torch.float64) + 0.1
    cell = torch.randint(0, 4, (700,), generator=rng)
    for worth in (1.0, 3.0):
        at_once = DiscoScore(calibrate=False, worth=worth)(v, w, cell, 5)
        if worth == 1:
            torch.testing.assert_close(DiscoScore(calibrate=False, keys=400)(v, w, cell, 5), at_once)
        for c in range(4):
            here = cell == c
            size = worth * w[here].sum() ** 2 / w[here].square().sum()
            estimate = DiscoScore().model.condition(v[here][None], weights=w[here][None], effective_size=float(size))
            torch.testing.assert_close(at_once[here], estimate.score(v[here][None])[0], rtol=1e-4, atol=1e-4)
