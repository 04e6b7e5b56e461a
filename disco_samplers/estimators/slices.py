"""A density on slices: some columns at given values, the others free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.draws import Support
from disco_samplers.estimators.transforms import FreeCoordinates


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

    def outward(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """The data's free columns (b, m, ...) at points (b, m, k), of some ``rows`` of the given values only, if named."""
        return points

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


class GroupSlices(Slices):
    r"""Slices of columns in groups, in coordinates in which no free column bounds another; see :class:`.FreeCoordinates`.

    Their density is that of these coordinates, :math:`f(x) / |\partial y_f / \partial x_f|`, so that its integral over them is
    that of the free columns.

    Arguments:
        estimator: of the data, (n, d).
        given: numbers of the given columns.
        values: of these, (b, g), inside their groups.
        supports: of all columns.

    Example:
        >>> from disco_samplers.draws import supports_of
        >>> class Flat:  # on a simplex of three columns
        ...     log_prob = staticmethod(lambda x: torch.full((len(x),), 2.0).log())
        >>> simplex = supports_of({(0, 1, 2): "simplex"}, ["a", "b", "c"])
        >>> slices = GroupSlices(Flat(), [0], torch.tensor([[0.25]]).double(), simplex)
        >>> y = torch.tensor([[[0.5]]]).double()  # the others share three quarters
        >>> slices.outward(y), slices.log_prob(y).exp()
        (tensor([[[0.3750, 0.3750]]], dtype=torch.float64), tensor([[1.5000]], dtype=torch.float64))
    """

    def __init__(self, estimator: Any, given: list[int], values: Tensor, supports: Sequence[Support]) -> None:
        self.coordinates, self._data = FreeCoordinates(supports, given), (estimator, given, values, supports)
        x = values.new_full((len(values), len(supports)), torch.nan)
        x[:, given] = values
        known = [j for j, free in enumerate(self.coordinates.free) if not free]
        y = self.coordinates(x)[:, known]
        super().__init__(_Free(estimator, self.coordinates), known, y, len(self.coordinates.columns))

    def of(self, row: int) -> Slices:
        estimator, given, values, supports = self._data
        return GroupSlices(estimator, given, values[row : row + 1], supports)

    def outward(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        x = self.coordinates.inverse(self._joint(points, rows)).view(*points.shape[:-1], -1)
        return x[..., [i for i in range(x.shape[-1]) if i not in self._data[1]]]


class _Free:
    """An estimator of x as one of such coordinates y, whose density is that of the free ones."""

    def __init__(self, estimator: Any, coordinates: FreeCoordinates) -> None:
        self.estimator, self.coordinates = estimator, coordinates

    def log_prob(self, points: Tensor) -> Tensor:
        x = self.coordinates.inverse(points)
        log_prob: Tensor = self.estimator.log_prob(x)
        return log_prob - self._volume(x)

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            y = points.detach().clone().requires_grad_()
            x = self.coordinates.inverse(y)
            log_prob, score = self.estimator.log_prob_and_score(x.detach())
            volume = self._volume(x)
            (found,) = torch.autograd.grad((x * score).sum() - volume.sum(), y)
        return log_prob - volume.detach(), found

    def score(self, points: Tensor) -> Tensor:
        return self.log_prob_and_score(points)[1]

    def _volume(self, x: Tensor) -> Tensor:
        free = torch.tensor(self.coordinates.free, device=x.device)
        return torch.where(free, self.coordinates.log_slopes(x), 0.0).sum(-1)


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
