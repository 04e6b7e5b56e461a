"""A density on slices: some columns at given values, the others free."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Slices:
    r"""The log-density and score of an estimator in its free columns, :math:`y \mapsto \log f(x_i, y)`, for b given x.

    Not normalised: :mod:`.quadrature` and :mod:`.slice_mixture` integrate it. Its score is exact, for the normaliser does not
    depend on y.

    Arguments:
        estimator: of one data set, (n, d).
        given: numbers of the given columns, g of them.
        values: of these, (b, g).
        dim: d.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> slices = Slices(Gaussian(torch.zeros(2), torch.eye(2)), [0], torch.tensor([[0.0], [1.0]]), 2)
        >>> slices.log_prob(torch.zeros(2, 1, 1))[:, 0] - slices.log_prob(torch.zeros(2, 1, 1))[0]
        tensor([ 0.0000, -0.5000])
    """

    def __init__(self, estimator: Any, given: list[int], values: Tensor, dim: int) -> None:
        self.estimator, self.given, self.values = estimator, given, values
        self.free = [i for i in range(dim) if i not in given]
        self._order = torch.tensor([*self.free, *given], device="cpu").argsort().tolist()

    def of(self, row: int) -> Slices:
        """One of the slices."""
        return Slices(self.estimator, self.given, self.values[row : row + 1], len(self._order))

    def log_prob(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """Log-density (b, m) at points (b, m, k) of the free columns; of some ``rows`` of the given ones only, if named."""
        log_prob: Tensor = self.estimator.log_prob(self._joint(points, rows))
        return log_prob.view(points.shape[:-1])

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, k) there."""
        log_prob, score = self.estimator.log_prob_and_score(self._joint(points, None))
        return log_prob.view(points.shape[:-1]), score[:, self.free].view(points.shape)

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        score: Tensor = self.estimator.score(self._joint(points, None))
        return score[:, self.free].view(points.shape)

    def _joint(self, points: Tensor, rows: Tensor | None) -> Tensor:
        values = self.values if rows is None else self.values[rows]
        known = values[:, None].expand(*points.shape[:-1], -1)
        return torch.cat([points.to(known), known], -1)[..., self._order].flatten(0, 1)


class Slice:
    """One slice as a density of points (m, k), for samplers.

    Arguments:
        slices: of one given value.
    """

    def __init__(self, slices: Slices) -> None:
        self.slices = slices

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, k)."""
        log_prob, score = self.slices.log_prob_and_score(points[None])
        return log_prob[0], score[0]

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        return self.log_prob_and_score(points)[0]

    def __call__(self, points: Tensor) -> Tensor:
        """The score."""
        return self.log_prob_and_score(points)[1]
