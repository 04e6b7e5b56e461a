"""Laws like those of pixels: few values that many rows share, and smooth images of few causes, cut off at both ends."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.reference import GaussianMixture
from disco_samplers.training.maps import normal, uniform

_UNITS = 24


def atoms_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """Up to 120 nearly flat components of unlike shares, on a cloud or where a low-dimensional one is cut off at -1 and 1."""
    k = int(torch.randint(3, 120, (), generator=generator))
    means = normal((batch, k, d), generator)
    if float(torch.rand((), generator=generator)) < 0.6:
        causes = 1 + int(6 * torch.rand((), generator=generator))
        low = normal((batch, k, causes), generator) @ normal((batch, causes, d), generator) / causes**0.5
        means = (low * (1 + 3 * uniform((batch, 1, 1), generator)) + normal((batch, 1, 1), generator)).clamp(-1, 1)
    rank = min(d, 1 + int(3 * torch.rand((), generator=generator)))
    factor = normal((batch, k, d, rank), generator) * 0.3 * 10 ** (-2 * uniform((batch, k, 1, 1), generator))
    floor = 3e-3 + 1e-2 * uniform((batch, 1, 1, 1), generator)
    return GaussianMixture(
        uniform((batch, k), generator) ** 3 + 0.01, means, factor @ factor.mT + floor.square() * torch.eye(d)
    )


class GeneratedLaw:
    """A random smooth network of up to seven normal causes, in up to eight kinds, often cut off at -1 and 1.

    Neighbouring columns are alike in most, as pixels are. It is drawn from only: its density has no closed form.
    """

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        self._causes = 1 + int(7 * torch.rand((), generator=generator))
        self._kinds = 1 + int(8 * torch.rand((), generator=generator) ** 2)
        shape = (batch, self._kinds, self._causes, _UNITS)
        self._input = normal(shape, generator) * (0.5 + 2 * uniform((batch, 1, 1, 1), generator))
        self._shift = 2 * normal((batch, self._kinds, 1, _UNITS), generator)
        place = uniform((d, 2), generator) * (1 + 3 * torch.rand((), generator=generator))
        waves = torch.sin(place @ (2 * normal((batch, 2, _UNITS), generator)) + 6.28 * uniform((batch, 1, _UNITS), generator))
        plain = normal((batch, d, _UNITS), generator)
        alike = float(torch.rand((), generator=generator)) < 0.6
        self._output = (waves if alike else plain) * (2 / _UNITS**0.5)
        self._gain = 0.5 + 2.5 * uniform((batch, 1, 1), generator)
        self._offset = 1.5 * normal((batch, 1, 1), generator) * torch.rand((), generator=generator)
        self._cut = float(torch.rand((), generator=generator)) < 0.7

    def draw(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Draws (b, n, d)."""
        batch = self._input.shape[0]
        causes = normal((batch, num_samples, self._causes), generator)
        kind = torch.randint(self._kinds, (num_samples,), generator=generator)
        hidden = torch.tanh(causes[:, None] @ self._input + self._shift)[:, kind, torch.arange(num_samples)]
        x: Tensor = self._gain * (hidden @ self._output.mT) + self._offset
        return x.clamp(-1, 1) if self._cut else x
