"""Batches for the network that is told the noise: clean contexts, noised queries, and their exact answers."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, cast

import torch
from torch import Tensor

from disco_samplers.model import NoiseUnits, Spread
from disco_samplers.reference import GaussianMixture
from disco_samplers.training.families import FAMILIES
from disco_samplers.training.pixels import GeneratedLaw, atoms_mixture

NOISED_FAMILIES = {
    "paper": 1.0,
    "rotated": 1.0,
    "aligned": 0.5,
    "few": 0.3,
    "curved": 2.0,
    "long": 0.4,
    "contaminated": 0.3,
    "atoms": 3.0,
    "generated": 4.0,
}
"""The families, with their frequencies. All but the last are mixtures of normals, and so are they when noise is added."""

BROADENED = 8
"""Queries, the first ones of a set, that are moved away from the mean."""

_LEAST_SCALE = 0.05
"""Of data, for their noise: all pixels of a set may be cut off at the same end."""


@dataclasses.dataclass(frozen=True)
class NoisedConfig:
    """What is drawn.

    Arguments:
        max_dim: largest dimension; log d is uniform.
        min_samples: smallest context; log n is uniform.
        max_samples: largest.
        queries: of a set.
        least_noise: smallest standard deviation of the noise, in units of the data's; its logarithm is uniform.
        most_noise: largest.
        budget: rough multiply-adds, in millions, that set the number of sets in a batch.
        max_batch: most sets in a batch.
    """

    max_dim: int = 50
    min_samples: int = 64
    max_samples: int = 1280
    queries: int = 192
    least_noise: float = 0.08
    most_noise: float = 5.0
    budget: float = 700.0
    max_batch: int = 24


class NoisedBatch(NamedTuple):
    """Contexts and queries in units of the noise, with their answers; for draws without a closed form, the noise itself."""

    family: str
    context: Tensor  # (b, n, d)
    query: Tensor  # (b, m, d)
    spread: Spread
    log_prob: Tensor | None  # (b, m)
    score: Tensor  # (b, m, d): the exact score, or minus the noise, whose mean it is


def noised_batch(config: NoisedConfig, generator: torch.Generator) -> NoisedBatch:
    """A batch of one family, dimension and size."""

    def one() -> float:
        return float(torch.rand((), generator=generator))

    frequencies = torch.tensor(list(NOISED_FAMILIES.values()))
    name = list(NOISED_FAMILIES)[int(torch.multinomial(frequencies, 1, generator=generator))]
    d = min(config.max_dim, int((config.max_dim + 1) ** one()))
    n = int(config.min_samples * (config.max_samples / config.min_samples) ** one())
    m = config.queries
    cost = (90 * (n + m) * n * (d + 10) + (n + m) * (40_000 + 3500 * d)) / 1e6
    b = max(1, min(config.max_batch, round(config.budget / cost)))
    if name == "generated":
        points = GeneratedLaw(b, d, generator).draw(n + m, generator)
    else:
        drawn = atoms_mixture(b, d, generator) if name == "atoms" else FAMILIES[name](b, d, generator)
        law = cast("GaussianMixture", drawn)
        points = law.draw(n + m, generator)
    x, clean = points[:, :n], points[:, n:]
    share = torch.rand(b, generator=generator)
    scale = x.var(1).mean(-1).sqrt().clamp_min(_LEAST_SCALE)
    noise = scale * config.least_noise * (config.most_noise / config.least_noise) ** share
    steps = torch.randn(clean.shape, generator=generator)
    y = clean + noise[:, None, None] * steps
    units = NoiseUnits.of(x, noise)
    spread = Spread.of(units.variances.float(), torch.full((b,), float(n)))
    context = units(x).float()
    if name == "generated":
        return NoisedBatch(name, context, units(y).float(), spread, None, (-steps.double() @ units.directions).float())
    center = x.mean(1, keepdim=True)
    moved = center + (y[:, :BROADENED] - center) * (1 + torch.rand((b, BROADENED, 1), generator=generator))
    y = torch.cat([moved, y[:, BROADENED:]], 1)
    covariances = torch.diag_embed(law.covariances) if law.diagonal else law.covariances
    blurred = GaussianMixture(law.weights, law.means, covariances + noise.square()[:, None, None, None] * torch.eye(d))
    log_prob = blurred.evaluate(y).double() + d * noise.double().log()[:, None]
    score = blurred.evaluate_score(y).double() * noise.double()[:, None, None] @ units.directions
    return NoisedBatch(name, context, units(y).float(), spread, log_prob.float(), score.float())
