"""The one estimator of a change of variables: any density, read through any transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from disco_samplers.estimators.base import Estimator
from disco_samplers.estimators.transforms import log_volume, pull_back, settled
from disco_samplers.model import Network
from disco_samplers.modes import recorded, transformed
from disco_samplers.randomness import check_seed


class TransformedEstimator:
    r"""The density of x where z = T(x) has a known one.

    .. math:: \log f(x) = \log f_z(T(x)) + \log |\det J_T(x)|, \qquad
        s(x) = J_T(x)^\top s_z(T(x)) + \nabla \log |\det J_T(x)|

    As :class:`torch.distributions.TransformedDistribution`, but the transform leads from the data to where they are read. The
    score asks for that of z only. Wrapped around an estimator it is one too, whose core is that estimator's.

    Arguments:
        base: of z, (m, d): an estimator, a score with or without log-density, or any density.
        transform: T, of :mod:`torch.distributions.transforms` or this package's own, over columns or over whole events.
        validate_args: whether to refuse points outside the domain.

    Raises:
        TypeError: if ``transform`` is none.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> from torch.distributions.transforms import ExpTransform
        >>> lognormal = TransformedEstimator(Gaussian(torch.zeros(1), torch.eye(1)), ExpTransform().inv)
        >>> lognormal.score(torch.ones(1, 1))
        tensor([[-1.]])
    """

    def __init__(self, base: Any, transform: Transform, *, validate_args: bool = True) -> None:
        if not isinstance(transform, Transform):
            raise TypeError(f"the bijection must be a torch.distributions transform, got {type(transform).__name__}")
        self.base, self.transform, self.validate_args = base, settled(transform), validate_args

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d).

        Raises:
            ValueError: if a point, or its image, is not inside the transform's domain.
        """
        log_prob, score = self.base.log_prob_and_score(self._image(points))
        volume, pulled = pull_back(self.transform, points, score)
        return log_prob + volume, pulled

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (...,) at points (..., *event). Raises as :meth:`log_prob_and_score` does."""
        z = self._image(points)
        log_prob: Tensor = self.base.log_prob(z)
        return log_prob + log_volume(self.transform, points, z)

    def score(self, points: Tensor) -> Tensor:
        """Score at points. Raises as :meth:`log_prob_and_score` does."""
        return pull_back(self.transform, points, self.base.score(self._image(points)))[1]

    def __call__(self, points: Tensor) -> Tensor:
        """The score."""
        return self.score(points)

    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draws (num_samples, *event), where the base can be drawn from; give ``seed`` or ``generator``."""
        check_seed(seed, generator)
        source = {"generator": generator} if seed is None else {"seed": seed}  # the base may be anybody's
        draws: Tensor = self.transform.inv(self.base.sample(num_samples, **source))
        return draws

    @property
    def core(self) -> Estimator:
        """The estimator inside."""
        core: Estimator = self.base.core
        return core

    def from_core(self, points: Tensor) -> Tensor:
        """The data's points of the core's points."""
        return self.from_base(self.base.from_core(points))

    def from_base(self, points: Tensor) -> Tensor:
        """The data's points of the base's points."""
        found: Tensor = self.transform.inv(points)
        return found

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates of the core at points' images."""
        white: Tensor = self.base.whiten(self.transform(points))
        return white

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density in the core's whitened coordinates."""
        log_prob: Tensor = self.base.white_log_prob(z)
        return log_prob

    def with_base(self, base: Any) -> TransformedEstimator:
        """Another estimator read through the same transform."""
        transform = settled(self.transform, base.core.samples.device)
        return TransformedEstimator(base, transform, validate_args=self.validate_args)

    def with_network(self, network: Network) -> TransformedEstimator:
        """The same reading by another network, where that is."""
        return self.with_base(self.base.with_network(network))

    def _image(self, points: Tensor) -> Tensor:
        z: Tensor = self.transform(points)
        if not self.validate_args or recorded() or transformed():  # there are no values to look at
            return z
        # Torch cannot check no points at all.
        if points.numel() and not (self.transform.domain.check(points).all() and torch.isfinite(z).all()):
            raise ValueError(f"points lie outside the domain of {self.transform}")
        return z
