"""A conformance kit: what every density must do to stand wherever this library wants one."""

from __future__ import annotations

import math
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.testing.statistics import assert_mean_close
from disco_samplers.types import Density

_FAR = 50.0
"""How far out, in units of sqrt(d) standard deviations, a score must still point back."""


class DensityConformance:
    r"""Tests that a :class:`~disco_samplers.Density` keeps the library's contract; subclass it and give :meth:`make`.

    Test runners find a subclass by their own rules: pytest by a name that begins with ``Test``; for unittest inherit from
    ``unittest.TestCase`` as well. Statistical tests use fixed seeds and fail with probability at most ``false_alarm`` each
    when nothing is wrong; the seeds' choice is the only chance in them.

    Attributes:
        exact_gradient: whether the score is the gradient of ``log_prob``; if not, their relative mean squared gap at draws,
            :math:`\sum_i |s(y_i) - \nabla \log f(y_i)|^2 / \sum_i |s(y_i)|^2`, must stay below ``gradient_tolerance``.
        gradient_tolerance: of that gap; when ``exact_gradient``, of the finite differences' error.
        normalised: whether :math:`\int f = 1`, to ``mass_tolerance``; checked for d = 1 and 2.
        mass_tolerance: of the integral.
        sampling_bias: how far the law of the draws may be from :math:`f / \int f` in total variation, for a density that draws
            approximately.
        exact_dtype: whether answers have the precision of the points, float32 or float64.
        num_draws: draws in the statistical tests.
        grid_points: along each of two axes, where a density is integrated.
        false_alarm: probability with which a statistical test fails by chance.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> class TestGaussian(DensityConformance):
        ...     def make(self):
        ...         return Gaussian(torch.zeros(2).double(), torch.eye(2).double())
        >>> TestGaussian().test_shapes()
    """

    exact_gradient: bool = True
    gradient_tolerance: float = 1e-8
    normalised: bool = True
    mass_tolerance: float = 1e-3
    sampling_bias: float = 0.0
    exact_dtype: bool = True
    num_draws: int = 4000
    grid_points: int = 200
    false_alarm: float = 1e-6

    def make(self) -> Density:
        """The density to test, on the CPU and in float64, the same one at every call."""
        raise NotImplementedError("a subclass gives make() -> Density")

    def location(self, f: Density) -> tuple[Tensor, Tensor]:
        """Where a density is and how wide, both (d,), in float64: median and a robust standard deviation of 500 of its draws.

        A subclass whose draws are dear may know it otherwise. It sets the scale of grids and steps, no verdict hangs on it.
        """
        # Heavy tails may have no variance. A seed of its own: what the draws are compared with must not depend on them.
        low, middle, high = self._draws(f, 500, seed=7).quantile(
            torch.tensor([0.159, 0.5, 0.841], dtype=torch.float64, device="cpu"), 0
        )
        return middle, (high - low) / 2

    def test_interface(self) -> None:
        """It has ``dim``, ``log_prob``, ``score`` and ``sample``."""
        f = self.make()
        assert isinstance(f, Density), f"{type(f).__name__} lacks dim, log_prob, score or sample"
        assert isinstance(f.dim, int), f"dim must be an int, got {type(f.dim).__name__}"
        assert f.dim >= 1, f"dim must be positive, got {f.dim}"

    def test_shapes(self) -> None:
        """Points (m, d) give log-densities (m,) and scores (m, d), also for m = 1 and m = 0."""
        f = self.make()
        for m in (5, 1, 0):
            y = self._draws(f, 5)[:m]
            _expect(_tensor(f.log_prob(y)).shape, (m,), f"log_prob of {m} points")
            _expect(_tensor(f.score(y)).shape, (m, f.dim), f"score of {m} points")

    def test_precision_is_kept(self) -> None:
        """The answer has the points' precision, and float32 and float64 agree."""
        f = self.make()
        y = self._draws(f, 5)
        for method in (f.log_prob, f.score):
            single, double = _tensor(method(y.float())), _tensor(method(y.float().double()))
            if self.exact_dtype:
                _expect(single.dtype, torch.float32, f"{_name(method)} of float32 points")
                _expect(double.dtype, torch.float64, f"{_name(method)} of float64 points")
            _close(single.double(), double, 1e-4, f"{_name(method)} in float32 and float64")

    def test_kind_is_kept(self) -> None:
        """Tensors give tensors, numpy arrays give numpy arrays, with the same values; the points are not changed."""
        f = self.make()
        y = self._draws(f, 5)
        before = y.clone()
        for method in (f.log_prob, f.score):
            tensor, array = method(y), method(y.numpy())
            assert isinstance(tensor, Tensor), f"{_name(method)} of a tensor gave {type(tensor).__name__}"
            assert isinstance(array, np.ndarray), f"{_name(method)} of a numpy array gave {type(array).__name__}"
            _close(torch.from_numpy(array), tensor.detach(), 1e-12, f"{_name(method)} of the two kinds")
        assert torch.equal(y, before), "the points were changed in place"

    def test_points_do_not_influence_each_other(self) -> None:
        """A point's answer is the same on its own, in another order and among other points."""
        f = self.make()
        y = self._draws(f, 40)
        few, order = y[:7], torch.randperm(40, generator=_generator(1), device="cpu")
        for method in (f.log_prob, f.score):
            together = _tensor(method(y))
            _close(_tensor(method(few)), together[:7], 1e-9, f"{_name(method)} of 7 points and of the same among 40")
            _close(_tensor(method(y[order])), together[order], 1e-9, f"{_name(method)} of permuted points")

    def test_far_out(self) -> None:
        """Far from everything the answers are finite and the score points back."""
        f = self.make()
        centre, scale = self.location(f)
        u = torch.randn(32, f.dim, dtype=torch.float64, device="cpu", generator=_generator(2))
        u = _FAR * math.sqrt(f.dim) * u / u.norm(dim=-1, keepdim=True)
        y = centre + scale * u
        log_prob, score = _tensor(f.log_prob(y)), _tensor(f.score(y))
        assert torch.isfinite(log_prob).all(), "log_prob is not finite far out"
        assert torch.isfinite(score).all(), "score is not finite far out"
        outward = ((y - centre) * score).sum(-1)
        assert (outward < 0).all(), f"the score points outwards at {int((outward >= 0).sum())} of {len(y)} points far out"

    def test_falls_along_rays(self) -> None:
        """Along 1000 random rays from the centre the log-density falls from the outermost of 500 draws on, to 30 times as far.

        A density that has no draws beyond must not rise there: a sampler would stay out, an outlier score as more usual.
        """
        f = self.make()
        _, scale = self.location(f)
        draws = self._draws(f, 500)
        centre = draws.mean(0)  # the median may lie in one of two modes, and from there a law may rise towards the other
        outermost = ((draws - centre) / scale).norm(dim=-1).max()
        rays = torch.randn(1000, f.dim, dtype=torch.float64, device="cpu", generator=_generator(8))
        rays = rays / rays.norm(dim=-1, keepdim=True)
        steps = torch.logspace(0, math.log10(30), 25, dtype=torch.float64, device="cpu")
        log_prob = torch.stack([_tensor(f.log_prob(centre + scale * (outermost * step * rays))).double() for step in steps])
        rising = (log_prob.diff(dim=0) > 1e-6 * log_prob[:-1].abs().clamp_min(1.0)).any(0)
        assert not rising.any(), f"log_prob rises outwards, beyond all draws, along {int(rising.sum())} of {len(rays)} rays"

    def test_score_is_the_gradient(self) -> None:
        """The score agrees with finite differences of ``log_prob`` at draws."""
        f = self.make()
        y = self._draws(f, 64)
        gradient, score = self._differences(f, y), _tensor(f.score(y)).double()
        _, scale = self.location(f)
        gap = float(((score - gradient) * scale).square().sum() / (score * scale).square().sum())
        assert gap <= self.gradient_tolerance, (
            f"relative mean squared gap between score and finite differences of log_prob is {gap:.3g}, "
            f"where {self.gradient_tolerance:.3g} is allowed"
        )

    def test_sample(self) -> None:
        """Draws have shape (num_samples, d) and are finite; a count below one is refused."""
        f = self.make()
        for n in (1, 7):
            x = _tensor(f.sample(n, generator=_generator(3)))
            _expect(x.shape, (n, f.dim), f"sample({n})")
            assert torch.isfinite(x).all(), "a draw is not finite"
        _refused(partial(f.sample, 0, generator=_generator(3)), "num_samples")

    def test_sample_is_reproducible(self) -> None:
        """A generator decides the draws and leaves the global random state alone."""
        f, g = self.make(), self.make()
        state = torch.get_rng_state()
        one, two, other = (_tensor(h.sample(9, generator=_generator(s))) for h, s in ((f, 4), (g, 4), (f, 5)))
        assert torch.equal(torch.get_rng_state(), state), "sample with a generator used the global random state"
        assert torch.equal(one, two), "the same generator gave different draws"
        assert not torch.equal(one, other), "another seed gave the same draws"

    def test_integrates_to_one(self) -> None:
        """A normalised density of one or two dimensions has mass one."""
        f = self.make()
        if not self.normalised or f.dim > 2:
            raise unittest.SkipTest("not normalised, or too many dimensions for a grid")
        mass = math.exp(self._log_mass(f))
        assert abs(mass - 1) <= self.mass_tolerance, f"the density integrates to {mass:.6g}"

    def test_draws_agree_with_log_prob(self) -> None:
        r"""Draws come from the density that ``log_prob`` gives.

        For any g, here three Gaussians, :math:`\mathrm E_f[g/(f+g)] + \mathrm E_g[g/(f+g)] = 1`, and both terms are means of
        numbers in (0, 1), so that Hoeffding's inequality bounds the false alarms without any assumption. Up to d = 2
        f is brought to mass one on a grid first, beyond it must be normalised.
        """
        f = self.make()
        if not self.normalised and f.dim > 2:
            raise unittest.SkipTest("not normalised, and too many dimensions to normalise on a grid")
        log_mass = self._log_mass(f) if f.dim <= 2 else 0.0
        x, n = self._draws(f, self.num_draws), self.num_draws
        centre, scale = self.location(f)
        z = torch.randn(n, f.dim, dtype=torch.float64, device="cpu", generator=_generator(6))
        trials = ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0))
        limit = math.sqrt(math.log(2 * len(trials) / self.false_alarm) / n) + self.sampling_bias
        for shift, width in trials:
            total = 0.0
            for y in (x, centre + scale * (shift + width * z)):
                white = ((y - centre) / scale - shift) / width
                log_g = -0.5 * (white.square() + math.log(2 * math.pi)).sum(-1) - (width * scale).log().sum()
                total += float(torch.sigmoid(log_g - _tensor(f.log_prob(y)).double() + log_mass).mean())
            assert abs(total - 1) <= limit, (
                f"draws do not come from log_prob: a mean that must be 1 is {total:.4g}, where {limit:.3g} off is allowed "
                f"at a false-alarm probability of {self.false_alarm:g}"
            )

    def test_draws_agree_with_score(self) -> None:
        r"""Draws satisfy Stein's identity :math:`\mathrm E[s_k \phi + \partial_k \phi] = 0` for bounded :math:`\phi(y_k)`."""
        f = self.make()
        if not self.exact_gradient or self.sampling_bias:
            raise unittest.SkipTest("the score is that of another density than the draws'")
        x = self._draws(f, self.num_draws)
        centre, scale = self.location(f)
        t = torch.tanh((x - centre) / scale)
        s = scale * _tensor(f.score(x)).double()
        assert_mean_close(torch.cat([s, s * t + 1 - t.square()], 1), 0.0, false_alarm=self.false_alarm)

    def test_wrong_points_are_refused(self) -> None:
        """Wrong columns, one-dimensional arrays, NaN, infinities and text raise an error that names ``points``."""
        f = self.make()
        y = torch.zeros(3, f.dim, dtype=torch.float64, device="cpu")
        nan, inf = y.clone(), y.clone()
        nan[1, 0], inf[2, 0] = math.nan, math.inf
        wrong: list[Any] = [torch.zeros(3, f.dim + 1, dtype=torch.float64, device="cpu"), y[0], nan, inf, nan.numpy()]
        wrong += [np.full((3, f.dim), "a"), np.zeros((3, f.dim), complex), "text", None]
        for points in wrong:
            for method in (f.log_prob, f.score):
                _refused(partial(method, points), "points")

    def _draws(self, f: Density, n: int, seed: int = 0) -> Tensor:
        return _tensor(f.sample(n, generator=_generator(seed))).detach().double()

    def _differences(self, f: Density, y: Tensor) -> Tensor:
        _, scale = self.location(f)
        columns = []
        for k in range(f.dim):
            step = 1e-5 * scale * torch.eye(f.dim, dtype=torch.float64, device="cpu")[k]
            rise = _tensor(f.log_prob(y + step)).double() - _tensor(f.log_prob(y - step)).double()
            columns.append(rise.detach() / (2 * step[k]))
        return torch.stack(columns, -1)

    def _log_mass(self, f: Density) -> float:
        """Log of the integral over a grid stretched to infinity."""
        centre, scale = self.location(f)
        n = 4000 if f.dim == 1 else self.grid_points
        u = (2 * torch.arange(n, dtype=torch.float64, device="cpu") + 1) / n - 1
        # y = 4 s u / (1 - u^2) covers the line; its derivative is the weight of a grid point.
        line, weight = 4 * u / (1 - u**2), 4 * (1 + u**2) / (1 - u**2) ** 2 * (2 / n)
        grid = torch.cartesian_prod(*[line] * f.dim).view(-1, f.dim)
        weights = torch.cartesian_prod(*[weight.log()] * f.dim).view(-1, f.dim).sum(-1) + scale.log().sum()
        log_prob = torch.cat([_tensor(f.log_prob(part)).double() for part in (centre + scale * grid).split(10000)])
        return float((log_prob.detach() + weights).logsumexp(0))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tensor(answer: Any) -> Tensor:
    return answer.detach() if isinstance(answer, Tensor) else torch.as_tensor(answer)


def _name(method: Callable[..., Any]) -> str:
    return getattr(method, "__name__", "the density")


def _expect(got: Any, wanted: Any, what: str) -> None:
    assert got == wanted, f"{what} must give {wanted}, gave {got}"


def _close(a: Tensor, b: Tensor, tolerance: float, what: str) -> None:
    error = float((a - b).abs().max() / b.abs().max().clamp_min(1.0))
    assert error <= tolerance, f"{what} differ by {error:.3g}, relative to the largest, where {tolerance:g} is allowed"


def _refused(call: Callable[[], Any], name: str) -> None:
    message = None
    try:
        call()
    except (TypeError, ValueError) as error:
        message = str(error)
    assert message is not None, f"wrong {name} were taken without an error"
    assert name in message, f"the error does not name {name}: {message}"
