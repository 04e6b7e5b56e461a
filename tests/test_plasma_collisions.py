"""Collision operators: conservation for any score, the pair sum against a dense oracle, steps."""

import math

import pytest
import torch
from disco_samplers.integrations.plasma.cells import moments, padded, total
from disco_samplers.integrations.plasma.collisions import Dougherty, Landau, collide
from disco_samplers.integrations.plasma.exact import BKW
from disco_samplers.integrations.plasma.scores import Blob, Exact, Maxwellian

CELLS = 6


def any_score(seed=1):
    """Scores that have nothing to do with the particles."""
    return lambda v, w, cell, cells: torch.randn(v.shape, dtype=v.dtype, generator=torch.Generator().manual_seed(seed))


def particles(n, d, dtype=torch.float64, seed=0):
    """Drifting particles of unequal weight in six cells, of which one is empty and one holds a single particle."""
    rng = torch.Generator().manual_seed(seed)
    v = (torch.randn(n, d, dtype=torch.float64, generator=rng) * torch.arange(1, d + 1) ** 0.5 + 2).to(dtype)
    w = (0.5 + torch.rand(n, generator=rng, dtype=torch.float64)).to(dtype)
    cell = torch.randint(0, CELLS - 2, (n,), generator=rng)
    cell[n // 2] = CELLS - 1
    return v, w, cell


def dense_landau(v, s, w, cell, exponent):
    """The definition, all pairs of particles at once."""
    z, ds = v[:, None] - v, s[:, None] - s
    r2 = z.square().sum(-1)
    weight = w * (cell[:, None] == cell) * torch.where(r2 > 0, r2, torch.inf if exponent < 0 else 0.0) ** (exponent / 2)
    q = weight[..., None] * (r2[..., None] * ds - (z * ds).sum(-1, keepdim=True) * z)
    return q.sum(1)


def operators():
    for exponent in (-3.0, -2.0, 0.0, 1.0):
        for method in ("pairs", "batches", "moments"):
            if method != "moments" or exponent == 0:
                yield pytest.param(
                    lambda score, e=exponent, m=method: Landau(
                        score, strength=0.3, exponent=e, method=m, batch_size=16 if m == "batches" else None
                    ),
                    id=f"landau{exponent:+g}-{method}",
                )
    yield pytest.param(lambda score: Dougherty(score, frequency=0.3), id="dougherty")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("make", list(operators()))
def test_rate_conserves_momentum_and_energy_of_every_cell_for_any_score(make, d, dtype):
    v, w, cell = particles(300, d, dtype)
    noise = any_score()
    # Pointing inwards on average, which Dougherty's operator asks for.
    rate = make(lambda *a: noise(*a) - 3 * a[0])(v, w, cell, CELLS, torch.Generator().manual_seed(0))
    assert rate.dtype == dtype
    assert rate.abs().max() > 0.01
    momentum = total(w[:, None] * rate, cell, CELLS)
    centred = v - moments(v, w, cell, CELLS).mean[cell]
    power = total(w * (centred * rate).sum(1), cell, CELLS)
    # Round-off, in units of the sum of sizes of what cancels.
    size = (w[:, None] * rate).abs().sum() * (1 + centred.abs().max())
    assert momentum.abs().max() < 50 * torch.finfo(dtype).eps * size
    assert power.abs().max() < 50 * torch.finfo(dtype).eps * size
    assert rate[cell == CELLS - 1].abs().max() < 1e-5 * rate.abs().max()  # nothing to collide with


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.5, 0.0, 1.0])
def test_pairs_match_the_definition(d, exponent):
    v, w, cell = particles(200, d)
    v[7] = v[8]  # a pair at the same velocity has no force
    s = any_score()(v, w, cell, CELLS)
    expected = -0.7 * dense_landau(v, s, w, cell, exponent)
    rate = Landau(any_score(), strength=0.7, exponent=exponent, method="pairs")(v, w, cell, CELLS)
    torch.testing.assert_close(rate, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("d", [2, 3, 6])
def test_moments_are_the_pair_sum_of_maxwell_molecules(d):
    v, w, cell = particles(200, d)
    s = any_score()(v, w, cell, CELLS)
    expected = -0.7 * dense_landau(v, s, w, cell, 0.0)
    rate = Landau(any_score(), strength=0.7, exponent=0)(v, w, cell, CELLS)
    torch.testing.assert_close(rate, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))


def test_tiles_do_not_change_the_sum(monkeypatch):
    v, w, cell = particles(300, 3)
    whole = Landau(any_score(), strength=1.0, method="pairs")(v, w, cell, CELLS)
    monkeypatch.setattr("disco_samplers.integrations.plasma.collisions.pairs._TILE", 500)
    tiled = Landau(any_score(), strength=1.0, method="pairs")(v, w, cell, CELLS)
    torch.testing.assert_close(tiled, whole, rtol=1e-11, atol=1e-10)


def test_random_batches_are_unbiased():
    v, w, cell = particles(60, 2)
    full = Landau(any_score(), strength=1.0, exponent=0, method="pairs")(v, w, cell, CELLS)
    batches = Landau(any_score(), strength=1.0, exponent=0, method="batches", batch_size=4)
    rng = torch.Generator().manual_seed(3)
    draws = torch.stack([batches(v, w, cell, CELLS, rng) for _ in range(1000)])
    deviation = (draws.mean(0) - full).abs() / (draws.std(0) / math.sqrt(1000) + 1e-9)
    # 120 normal means beyond 5.5 standard errors: false alarm 5e-6.
    assert deviation.max() < 5.5
    assert draws.std(0).max() > 0.1


def test_one_batch_holding_a_cell_is_the_cell_and_seeds_decide():
    v, w, cell = particles(60, 3)
    full = Landau(any_score(), strength=1.0, method="pairs")(v, w, cell, CELLS)
    batches = Landau(any_score(), strength=1.0, method="batches", batch_size=100)
    torch.testing.assert_close(batches(v, w, cell, CELLS, torch.Generator()), full, rtol=1e-10, atol=1e-9)
    small = Landau(any_score(), strength=1.0, method="batches", batch_size=4)
    a, b, c = (small(v, w, cell, CELLS, torch.Generator().manual_seed(i)) for i in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_particles_of_other_cells_do_not_matter():
    v, w, cell = particles(100, 3)
    one = cell == 0
    operator = Landau(Blob(), strength=1.0)
    alone = operator(v[one], w[one], cell[one], 1)
    torch.testing.assert_close(operator(v, w, cell, CELLS)[one], alone, rtol=1e-10, atol=1e-10)


def test_rate_turns_and_moves_with_the_frame():
    v, w, cell = particles(150, 3)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=v.dtype, generator=torch.Generator().manual_seed(5)))[0]
    for operator in (Landau(Blob(), strength=1.0), Dougherty(Blob(), frequency=1.0)):
        rate = operator(v, w, cell, CELLS)
        moved = operator(v @ turn + 100, w, cell, CELLS)
        torch.testing.assert_close(moved, rate @ turn, rtol=1e-6, atol=1e-8)


def test_a_maxwellians_score_is_an_equilibrium():
    v, w, cell = particles(200, 3)
    for operator in (Landau(Maxwellian(), strength=1.0), Dougherty(Maxwellian(), frequency=1.0)):
        assert operator(v, w, cell, CELLS).abs().max() < 1e-11


def test_dougherty_leaves_a_cell_alone_whose_score_points_outwards():
    v, w, cell = particles(100, 2)
    assert Dougherty(lambda v, *_: 2 * v, frequency=1.0)(v, w, cell, CELLS).abs().max() == 0


def test_dougherty_relaxes_a_gaussian_as_in_closed_form():
    # dv = -nu [(v - u) + T s] with s = -S^{-1}(v - u): each temperature goes to T as exp(-2 nu t).
    v = torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = (v - v.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(v.T.cov(correction=0))).T
    v = v * torch.tensor([1.5, 0.5], dtype=v.dtype).sqrt()
    w, cell = torch.full((400,), 1 / 400, dtype=v.dtype), torch.zeros(400, dtype=torch.int64)
    gaussian = Dougherty(lambda v, *_: -v / v.square().mean(0), frequency=0.5)
    for _ in range(200):
        v = collide(gaussian, v, w, cell, 1, 0.005)
    expected = 1 + 0.5 * math.exp(-2 * 0.5 * 1.0) * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(v.square().mean(0), expected.double(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_keeps_energy_and_momentum_of_every_cell(dtype):
    v, w, cell = particles(300, 3, dtype)
    operator = Landau(any_score(), strength=1e-3, method="batches", batch_size=16)
    before = moments(v, w, cell, CELLS)
    after = moments(collide(operator, v, w, cell, CELLS, 0.1, seed=0), w, cell, CELLS)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(after.mean, before.mean, rtol=100 * eps, atol=100 * eps)
    torch.testing.assert_close(after.temperature, before.temperature, rtol=100 * eps, atol=0)


def test_step_is_of_first_order():
    problem = BKW(2)
    start = problem.quiet(400, seed=2)
    w, cell = torch.full((400,), 1 / 400, dtype=start.dtype), torch.zeros(400, dtype=torch.int64)

    def end(steps):
        v, score = start, Exact(problem.score)
        for i in range(steps):
            score.time = i * 2.0 / steps
            v = collide(Landau(score, strength=problem.strength, exponent=0), v, w, cell, 1, 2.0 / steps)
        return v

    exact = end(320)
    errors = [float((end(steps) - exact).norm()) for steps in (10, 20, 40)]
    # Against a solution of 320 steps the ratios are (1/10 - 1/320)/(1/20 - 1/320) = 2.07 and 2.14.
    assert errors[0] / errors[1] == pytest.approx(2.07, abs=0.12)
    assert errors[1] / errors[2] == pytest.approx(2.14, abs=0.12)


def test_cells_of_one_or_equal_particles_stay_as_they_are():
    v = torch.tensor([[1.0, 2.0], [3.0, 3.0], [3.0, 3.0]])
    w, cell = torch.ones(3), torch.tensor([0, 2, 2])
    for operator in (Landau(Blob(), strength=1.0), Dougherty(Blob(), frequency=1.0)):
        assert torch.equal(collide(operator, v, w, cell, 3, 0.1), v)


def test_padded_yields_every_particle_once():
    _, _, cell = particles(200, 1)
    for limit, power in ((1, 1), (64, 1), (10_000, 2)):
        rows = torch.cat([r[m] for r, m in padded(cell, CELLS, limit, power)])
        assert torch.equal(rows.sort().values, torch.arange(200))
        for r, m in padded(cell, CELLS, limit, power):
            assert all(len(cell[a[b]].unique()) == 1 for a, b in zip(r, m, strict=True))


@pytest.mark.parametrize("make", [lambda s: Landau(s, strength=0.1), lambda s: Dougherty(s, frequency=0.1)])
@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (lambda v, *_: v[:, :1], ValueError, r"the score must give a row for each particle, of shape \(50, 2\), got \(50, 1\)"),
        (lambda v, *_: -v.numpy(), TypeError, "the score must give a tensor .* got ndarray"),
        (lambda v, *_: v / 0 * v, ValueError, "the score gave 50 of 50 particles values that are not finite"),
    ],
)
def test_scores_that_are_none_of_the_particles_are_named(make, score, error, message):
    v, w, cell = particles(50, 2)
    with pytest.raises(error, match=message):
        make(score)(v, w, cell, CELLS)
    with pytest.raises(ValueError, match="the collision operator must give a row for each particle"):
        collide(lambda v, *_: v[:, :1], v, w, cell, CELLS, 0.1)


def test_bad_input_is_named():
    v, w, cell = particles(50, 2)
    with pytest.raises(ValueError, match="strength must be zero or positive"):
        Landau(Blob(), strength=-1.0)
    with pytest.raises(ValueError, match="exponent must be a number"):
        Landau(Blob(), strength=1.0, exponent=math.nan)
    with pytest.raises(ValueError, match='needs exponent 0, got -3; use "pairs"'):
        Landau(Blob(), strength=1.0, exponent=-3, method="moments")
    with pytest.raises(ValueError, match="method must be"):
        Landau(Blob(), strength=1.0, method="magic")
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        Landau(Blob(), strength=1.0, method="batches", batch_size=1)
    for ignored in ({"method": "pairs"}, {"exponent": 0.0}):
        with pytest.raises(ValueError, match='only of "batches"'):
            Landau(Blob(), strength=1.0, batch_size=8, **ignored)
    with pytest.raises(ValueError, match="frequency must be zero or positive"):
        Dougherty(Blob(), frequency=-1.0)
    with pytest.raises(ValueError, match="one velocity component; use Dougherty"):
        Landau(Blob(), strength=1.0)(v[:, :1], w, cell, CELLS)
    with pytest.raises(ValueError, match=r"dt = 1000 is too long .* shorten dt"):
        collide(Landau(any_score(), strength=1.0, exponent=0), v, w, cell, CELLS, 1000.0)
    with pytest.raises(ValueError, match="the collision operator gave 50 of 50 particles values that are not finite"):
        collide(lambda v, *_: v * math.nan, v, w, cell, CELLS, 0.1)
    assert Landau(Blob(), strength=0.0)(v, w, cell, CELLS).abs().max() == 0
