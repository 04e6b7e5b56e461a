"""Which images are like a noised one as a whole: their patches are those that windows are compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision

from .basis import LinearBasis
from .data_checks import spaced

_DIRECTIONS = 20
"""Principal directions along which images are compared as a whole."""

_JUDGED, _AMONG = 64, 4096
"""Images that tell the widths, and how many they are compared with."""

_LEVELS = torch.logspace(-2, 2, 25, dtype=torch.float64, device="cpu").tolist()
"""Noise at which widths are told, in units of the data's scale."""

_HALVINGS, _WIDEST = 16, 1e3
"""Steps of the search for a width, and the variance, in units of the data's, at which all images count."""


class Alike:
    r"""How much the patches of each image count for a noised image y, by coordinates P along the first principal directions:

    .. math:: w_i(y) \propto e^{-|P (y - x_i)|^2 / 2 \tau^2}

    Windows of one image must agree on what it shows: so each sees the whole image too, as if through more noise,
    :math:`\tau \ge \sigma`. It is such that, on average, a given number of images count, :math:`(\sum w_i)^2 / \sum w_i^2`;
    where more of them do for the noise as it is, :math:`\tau = \sigma`.

    Arguments:
        data: images (n, D).
        basis: their principal directions.
        scale: of the data.
        count: how many images are to count.
        seed: of the noise that tells the widths.
    """

    def __init__(self, data: Tensor, basis: LinearBasis, scale: float, *, count: int, seed: int) -> None:
        self.mean, self.directions = basis.mean, basis.rest_components[:_DIRECTIONS]
        self.views = self._seen(data)
        self._log_levels = [math.log(level * scale) for level in _LEVELS]
        among = spaced(self.views, _AMONG).double()
        judged = spaced(torch.arange(len(among), device=among.device), _JUDGED)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((len(judged), among.shape[1]), generator=generator, dtype=torch.float64, device=generator.device)
        enough = count / len(data) * len(among)
        self._log_widths = [_log_width(among, judged, noise.to(among), level, enough) for level in self._log_levels]

    def variance(self, sigma: float) -> float:
        """The square of the width at a level, linear in logarithms between those that are known."""
        at, known, widths = math.log(sigma), self._log_levels, self._log_widths
        step = known[1] - known[0]
        place = min(max((at - known[0]) / step, 0.0), len(known) - 1.0)
        left = min(int(place), len(known) - 2)
        width = widths[left] + (widths[left + 1] - widths[left]) * (place - left)
        return math.exp(2 * max(width, at))

    def asked(self, y: Tensor, sigma: float) -> Tensor:
        """What queries (m, r) of noised images (m, D) are, such that their products with views are the logarithms of w."""
        return self._seen(y) / self.variance(sigma)

    def bias(self, images: Tensor, sigma: float) -> Tensor:
        """What is added to these products, for images of these numbers (n,), as (n, 1)."""
        return -0.5 * self.views[images].square().sum(1, keepdim=True) / self.variance(sigma)

    def _seen(self, images: Tensor) -> Tensor:
        with full_precision(images.device):
            return (images - self.mean) @ self.directions.T


def _log_width(among: Tensor, judged: Tensor, noise: Tensor, log_sigma: float, enough: float) -> float:
    """The logarithm of the width at which so many images (n, r) count for some of them with noise, and of sigma at least."""
    squares = torch.cdist(among[judged] + math.exp(log_sigma) * noise, among).square()
    squares[torch.arange(len(judged), device=judged.device), judged] = math.inf
    low = log_sigma
    high = low + 0.5 * math.log1p(_WIDEST * float(among.var(0).sum()) * math.exp(-2 * low))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        weights = (-0.5 * squares * math.exp(-2 * middle)).softmax(1)
        found = float((1 / weights.square().sum(1)).mean())
        low, high = (low, middle) if found >= enough else (middle, high)
    return high
