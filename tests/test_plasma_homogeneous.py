"""Relaxation without space against exact solutions, beside the blob method with as many particles and steps."""

import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma.collisions import Dougherty, Landau, collide
from disco_samplers.integrations.plasma.exact import BKW, coulomb_2v_rate, maxwell_pressure, trubnikov_rate
from disco_samplers.integrations.plasma.homogeneous import Homogeneous
from disco_samplers.integrations.plasma.scores import Blob, DiscoScore, Exact
from disco_samplers.integrations.plasma.velocities import gaussian_velocities

from disco_samplers.testing import assert_mean_close, assert_same_distribution


def relax_bkw(d, n, score, *, steps=10, dt=0.4):
    problem = BKW(d)

    def observe(run):
        s, truth = score(run.v, run.w, run.cell, 1), problem.score(run.v, run.time)
        error = float((s - truth).square().sum() / truth.square().sum())
        return {"score error": error, "exact": problem.fourth_moment(run.time)}

    run = Homogeneous(problem.quiet(n), Landau(score, strength=problem.strength, exponent=0), dt=dt)
    return run.run(steps, every=5, observe=observe, entropy=hasattr(score, "log_prob"), progress=False)


@pytest.mark.parametrize("d", [2, 3])
def test_bkw_with_the_exact_score(d):
    problem = BKW(d)
    score = Exact(problem.score)
    run = Homogeneous(problem.quiet(1000), Landau(score, strength=problem.strength, exponent=0), dt=0.05)
    for _ in range(80):
        score.time = run.time
        run.step()
    assert float(run.v.square().sum(1).square().mean()) == pytest.approx(problem.fourth_moment(4.0), rel=0.01)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("n", [500, pytest.param(1000, marks=pytest.mark.slow)])
def test_bkw_with_disco_beside_the_blob(d, n, velocities):
    ours, blob = relax_bkw(d, n, DiscoScore(velocities)), relax_bkw(d, n, Blob())
    gap = {run: np.abs(run.column("fourth moment") / run.column("exact") - 1).max() for run in (ours, blob)}
    assert gap[ours] < 0.02
    assert gap[ours] < 0.5 * gap[blob]
    assert (ours.column("score error") < [0.2, 0.1, 0.05]).all()
    if d == 3:
        assert (ours.column("score error") < blob.column("score error"))[1:].all()  # at the start it is singular at v = 0
    # Energy and momentum over the run.
    assert ours.column("energy") == pytest.approx(ours.column("energy")[0], rel=1e-12)
    assert ours.column("momentum").max() < 1e-12
    # The entropy rises (H decreases), as that of the solution does.
    for run in (ours, blob):
        assert (run.column("entropy production") > 0).all()
    assert (np.diff(ours.column("entropy")) > 0).all()
    assert ours.column("score consistency") == pytest.approx(1, abs=1e-5)
    exact = [BKW(d).entropy(t) for t in ours.column("time")]
    assert ours.column("entropy") == pytest.approx(exact, abs=0.08)


@pytest.mark.slow
def test_bkw_far_on_is_a_maxwellian(velocities):
    start = BKW(2).sample(500, generator=torch.Generator().manual_seed(0))
    run = Homogeneous(start, Landau(DiscoScore(velocities), strength=1 / 16, exponent=0), dt=0.8).run(40, progress=False)
    end = run.v - run.v.mean(0)
    end = end / end.square().mean(0).sqrt()
    normal = torch.randn(100_000, 2, dtype=end.dtype, generator=torch.Generator().manual_seed(1))
    # False alarm below 1e-6 for independent particles; colliding ones are more even than independent ones.
    assert_same_distribution(end, normal)
    with pytest.raises(AssertionError, match="differ"):
        assert_same_distribution(start.repeat(10, 1).square(), normal[:5000].square())  # the test does see the start's shape


@pytest.mark.parametrize(("d", "steps"), [(3, 40), (10, 20)])
def test_maxwell_molecules_relax_anisotropy_exactly(d, steps, velocities):
    temperature = torch.ones(d)
    temperature[0], temperature[1] = 1.8, 0.2
    v = gaussian_velocities(500, temperature, start="random", seed=1)
    run = Homogeneous(v, Landau(DiscoScore(velocities), strength=1 / 24, exponent=0), dt=4.0 / steps)
    blob = Homogeneous(v, Landau(Blob(), strength=1 / 24, exponent=0), dt=4.0 / steps)
    initial = v.T.cov(correction=0)
    errors = {}
    for each in (run, blob):
        each.run(steps, every=steps // 4, progress=False)
        exact = [maxwell_pressure(initial, t, strength=1 / 24).diagonal()[:2] for t in each.column("time")]
        found = np.stack([each.column("temperature 1"), each.column("temperature 2")], 1)
        errors[each] = np.abs(found - torch.stack(exact).numpy()).max()
    # The anisotropy starts at 1.6; Euler's method alone is off by up to dt/2 of the rate, 0.02 at this dt for d = 3.
    assert errors[run] < 0.1
    assert errors[run] < 0.7 * errors[blob]


@pytest.mark.parametrize("n", [1000, 3000])
def test_trubnikov_rate(n, velocities):
    v = gaussian_velocities(n, [1.0, 2.0, 2.0], seed=3)
    run = Homogeneous(v, Landau(DiscoScore(velocities, keys=2000), strength=1.0), dt=0.005).run(1, progress=False)
    first = run.column("temperature 1")
    assert (first[1] - first[0]) / 0.005 == pytest.approx(trubnikov_rate(1.0, 2.0), rel=0.03)


def test_trubnikov_rate_with_random_batches(velocities):
    v = gaussian_velocities(2000, [1.0, 2.0, 2.0], seed=3)
    operator = Landau(DiscoScore(velocities, keys=1000), strength=1.0, method="batches", batch_size=64)
    w, cell = torch.full((2000,), 1 / 2000, dtype=v.dtype), torch.zeros(2000, dtype=torch.int64)
    rng = torch.Generator().manual_seed(0)
    rates = torch.stack([2 * (v[:, 0] * operator(v, w, cell, 1, rng)[:, 0]).mean() for _ in range(8)])
    assert float(rates.mean()) == pytest.approx(trubnikov_rate(1.0, 2.0), rel=0.03)
    assert float(rates.std()) < 0.03 * trubnikov_rate(1.0, 2.0)


def test_two_velocity_coulomb_rate(velocities):
    v = gaussian_velocities(2000, [1.0, 2.0], seed=3)
    run = Homogeneous(v, Landau(DiscoScore(velocities), strength=1.0, exponent=-2), dt=0.01).run(1, progress=False)
    first = run.column("temperature 1")
    assert (first[1] - first[0]) / 0.01 == pytest.approx(coulomb_2v_rate(1.0, 2.0), rel=0.03)


def test_a_saved_run_goes_on_bit_for_bit(tmp_path):
    operator = Landau(Blob(), strength=0.1, method="batches", batch_size=8)
    v = gaussian_velocities(100, [2.0, 1.0, 0.5], start="random", dtype=torch.float32)
    whole = Homogeneous(v, operator, dt=0.1, seed=4).run(6, progress=False)
    half = Homogeneous(v, operator, dt=0.1, seed=4).run(3, progress=False)
    half.save(tmp_path / "run.safetensors")
    again = Homogeneous.load(tmp_path / "run.safetensors", operator).run(3, entropy=True, progress=False)
    assert torch.equal(again.v, whole.v)
    assert again.column("energy").tolist() == whole.column("energy").tolist()
    assert not torch.equal(Homogeneous(v, operator, dt=0.1, seed=5).run(6, progress=False).v, whole.v)


def test_an_interrupt_keeps_what_was_done():
    calls = iter(range(100))

    def operator(v, w, cell, cells, generator=None):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return torch.zeros_like(v)

    run = Homogeneous(torch.randn(10, 2), operator, dt=0.1).run(10, progress=False)
    assert run.steps == 3
    assert len(run.history) == 4


def test_an_interrupt_before_the_first_step_is_passed_on():
    def operator(v, w, cell, cells, generator=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Homogeneous(torch.randn(10, 2), operator, dt=0.1).run(10, progress=False)


def test_weights_set_the_density():
    v = gaussian_velocities(200, [2.0, 1.0])
    operator = Landau(Blob(), strength=0.1, exponent=0)
    one = Homogeneous(v, operator, dt=0.1).run(4, progress=False)
    dense = Homogeneous(v, operator, dt=0.05, w=torch.full((200,), 2 / 200)).run(4, progress=False)
    torch.testing.assert_close(one.v, dense.v)  # twice the density, half the time


def test_starts():
    v = gaussian_velocities(1000, [2.0, 0.5, 1.0], mean=[1.0, 0.0, -1.0])
    torch.testing.assert_close(v.mean(0), torch.tensor([1.0, 0.0, -1.0]).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(v.T.cov(correction=0), torch.tensor([2.0, 0.5, 1.0]).double().diag(), rtol=0, atol=1e-12)
    random = gaussian_velocities(1000, [4.0], start="random", seed=2)
    assert_mean_close(random, 0.0, 2.0)
    assert torch.equal(random, gaussian_velocities(1000, [4.0], start="random", seed=2))
    with pytest.raises(ValueError, match="start must be"):
        gaussian_velocities(10, [1.0], start="loud")
    with pytest.raises(ValueError, match="one positive number a component"):
        gaussian_velocities(10, [1.0, 0.0])
    with pytest.raises(ValueError, match="more particles than components"):
        gaussian_velocities(2, [1.0, 1.0])


def test_pictures(tmp_path):
    run = relax_bkw(2, 200, Blob(), steps=10, dt=0.2)
    run.plot({"fourth moment": BKW(2).fourth_moment}, tmp_path / "relaxation.png")
    assert (tmp_path / "relaxation.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="names no column: heat"):
        run.plot({"heat": math.sqrt})
    with pytest.raises(ValueError, match="call run"):
        Homogeneous(run.v, run.operator, dt=0.1).plot()


def test_a_collision_time_below_the_step_is_refused():
    v = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"nu dt \(particles\) is 1\.5 and must be below 1"):
        Homogeneous(v, Dougherty(Blob(), frequency=15.0), dt=0.1).run(1, progress=False)


def test_bad_input_is_named(tmp_path):
    v, operator = torch.randn(10, 2), Landau(Blob(), strength=1.0)
    with pytest.raises(ValueError, match="v holds NaN or infinite values: 1 of 10 rows"):
        Homogeneous(torch.where(torch.arange(10)[:, None] == 3, math.nan, v), operator, dt=0.1)
    with pytest.raises(ValueError, match="v must have shape"):
        Homogeneous(v[:1], operator, dt=0.1)
    with pytest.raises(ValueError, match="w must hold 10 positive weights"):
        Homogeneous(v, operator, dt=0.1, w=-torch.ones(10))
    with pytest.raises(ValueError, match="dt must be positive"):
        Homogeneous(v, operator, dt=0.0)
    with pytest.raises(ValueError, match="dt = 1e\\+06 is too long"):
        Homogeneous(v, operator, dt=1e6).run(1, progress=False)
    with pytest.raises(TypeError, match="entropy needs"):
        Homogeneous(v, lambda *a: torch.zeros_like(v), dt=0.1).run(1, entropy=True, progress=False)
    with pytest.raises(ValueError, match="every must be at least 1"):
        Homogeneous(v, operator, dt=0.1).run(1, every=0)
    (tmp_path / "other.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"other\.safetensors"):
        Homogeneous.load(tmp_path / "other.safetensors", operator)
    with pytest.raises(FileNotFoundError):
        Homogeneous.load(tmp_path / "none.safetensors", operator)
    assert collide(operator, v, torch.ones(10), torch.zeros(10, dtype=torch.int64), 1, 1e-6).shape == v.shape
