"""Fokker-Planck transport against the Ornstein-Uhlenbeck process and a free energy."""

import itertools
import math

import pytest
import torch
from disco_samplers.integrations.plasma.exact import ornstein_uhlenbeck
from disco_samplers.integrations.plasma.scores import Blob, DiscoScore, Maxwellian
from disco_samplers.integrations.plasma.transport import transport
from disco_samplers.integrations.plasma.velocities import gaussian_velocities

TARGET = torch.tensor([1.0, -1.0], dtype=torch.float64)


def ou(score, n=600, times=(0.0, 0.4, 1.5), **options):
    start = gaussian_velocities(n, [0.4, 3.0], mean=[-1.0, 0.0])
    path = transport(
        start, times, drift=lambda x: -0.7 * (x - TARGET), diffusion=0.7 * 1.5, score=score, progress=False, **options
    )
    return path, lambda t: ornstein_uhlenbeck(
        path.mean[0], path.covariance[0], t, frequency=0.7, target=TARGET, temperature=1.5
    )


def test_gaussian_particles_follow_the_exact_moments():
    def gaussian(x, w, cell, cells):
        c = x - x.mean(0)
        return -c @ torch.linalg.inv(c.T @ c / len(c))

    path, exact = ou(gaussian, rtol=1e-7, atol=1e-8)
    for i, t in enumerate(path.times.tolist()):
        mean, covariance = exact(t)
        torch.testing.assert_close(path.mean[i], mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(path.covariance[i], covariance, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_disco_follows_the_exact_moments(method, velocities):
    options = {"step_size": 0.2} if method == "rk4" else {"rtol": 1e-2, "atol": 1e-2}
    path, exact = ou(DiscoScore(velocities), method=method, **options)
    for i, t in enumerate(path.times.tolist()):
        mean, covariance = exact(t)
        torch.testing.assert_close(path.mean[i], mean, rtol=0, atol=0.03)
        torch.testing.assert_close(path.covariance[i], covariance, rtol=0.05, atol=0.05)


def test_fixed_steps_have_their_order():
    ends = [ou(Maxwellian(), times=(0.0, 1.0), method="midpoint", step_size=1 / k)[0].x[-1] for k in (8, 16, 32)]
    assert (ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm() == pytest.approx(4, rel=0.15)


def test_gradient_flow_lowers_the_free_energy():
    # V = x^4/4 - x^2/2 in one dimension, D = 1/2: the entropy of the blob is the one that its score descends.
    x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.3 + 1.5
    score, w, cell = Blob(0.2), torch.full((300,), 1 / 300, dtype=torch.float64), torch.zeros(300, dtype=torch.int64)
    path = transport(
        x,
        [0.0, 0.2, 0.5, 1.0, 3.0, 8.0],
        drift=lambda x: x - x**3,
        diffusion=0.5,
        score=score,
        rtol=1e-5,
        atol=1e-6,
        progress=False,
    )
    energy = [float((y**4 / 4 - y**2 / 2).mean() + 0.5 * score.log_prob(y, w, cell, 1).mean()) for y in path.x]
    assert all(b < a + 1e-9 for a, b in itertools.pairwise(energy))
    assert energy[-1] < energy[0] - 0.2


def test_interrupt_keeps_the_times_reached():
    def drift(x):
        if x.mean() > 2:
            raise KeyboardInterrupt
        return torch.ones_like(x)

    x = torch.randn(10, 1, generator=torch.Generator().manual_seed(0)) * 0.1
    path = transport(x, [0.0, 0.3, 0.6, 5.0], drift=drift, diffusion=0.0, score=Maxwellian(), progress=False)
    assert path.times.tolist() == pytest.approx([0.0, 0.3, 0.6])
    assert path.x.shape == (3, 10, 1)


def test_an_interrupt_before_the_first_time_is_passed_on():
    def drift(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transport(torch.randn(10, 1), [0.0, 0.3], drift=drift, diffusion=0.0, score=Maxwellian(), progress=False)


def test_picture(tmp_path):
    path, exact = ou(Maxwellian())
    path.plot(exact, tmp_path / "transport.png")
    assert (tmp_path / "transport.png").stat().st_size > 10_000


def test_bad_input_is_named():
    x = torch.randn(10, 1)
    options = {"drift": lambda x: -x, "diffusion": 1.0, "score": Maxwellian()}
    with pytest.raises(ValueError, match="x must have shape"):
        transport(x[:1], [0.0, 1.0], **options)
    with pytest.raises(ValueError, match="times must increase"):
        transport(x, [0.0, 0.0], **options)
    with pytest.raises(ValueError, match="diffusion must be zero or positive"):
        transport(x, [0.0, 1.0], **options | {"diffusion": math.nan})
    with pytest.raises(ValueError, match="step_size must be positive"):
        transport(x, [0.0, 1.0], method="rk4", step_size=0.0, **options)
    with pytest.raises(ValueError, match="method must be one of dopri5"):
        transport(x, [0.0, 1.0], method="rk5", **options)
    with pytest.raises(ValueError, match="'dopri5' does not heed step_size"):
        transport(x, [0.0, 1.0], step_size=0.1, **options)
    with pytest.raises(ValueError, match="'rk4' does not heed rtol"):
        transport(x, [0.0, 1.0], method="rk4", step_size=0.1, rtol=1e-3, **options)
    with pytest.raises(ValueError, match="'rk4' takes steps of a fixed size"):
        transport(x, [0.0, 1.0], method="rk4", **options)
