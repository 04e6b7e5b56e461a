"""Batches for training: a family, a dimension and a context size drawn afresh for every step."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.model import whiten
from disco_samplers.training.families import FAMILIES


class Batch(NamedTuple):
    """Data sets in whitened coordinates with exact answers at context and query points (in this order)."""

    family: str
    context: Tensor  # (b, n, d)
    query: Tensor  # (b, m, d)
    log_prob: Tensor  # (b, n + m)
    score: Tensor  # (b, n + m, d)
    frame: Tensor  # (b, d, d), from whitened coordinates to standardised columns


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """What the stream draws.

    Arguments:
        families: relative frequency of each family.
        max_dim: largest dimension; log d is drawn between 0 and the top, which but for a twelfth of the batches is
            ``common_dim``.
        common_dim: see ``max_dim``.
        dim_tilt: log d is the top times a uniform draw to this power: 1 for log-uniform, less for higher dimensions.
        min_samples: smallest context; log-uniform, but no smaller than d.
        max_samples: largest context.
        keys: contexts longer than this are encoded in groups of at most this many rows.
        queries: most independent queries of a set.
        budget: rough multiply-adds, in millions, that set the number of sets in a batch.
        max_batch: most sets in a batch.
    """

    families: dict[str, float] = dataclasses.field(
        default_factory=lambda: {
            "paper": 4.0,
            "rotated": 2.0,
            "aligned": 1.0,
            "contaminated": 1.0,
            "student": 1.0,
            "product": 1.0,
            "warped": 1.0,
        }
    )
    max_dim: int = 128
    common_dim: int = 36
    dim_tilt: float = 1.0
    min_samples: int = 32
    max_samples: int = 1024
    keys: int = 1024
    queries: int = 256
    budget: float = 1500.0
    max_batch: int = 32

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise ValueError(f"families: unknown {unknown}; known are {sorted(FAMILIES)}")
        if not 1 <= self.common_dim <= self.max_dim:
            raise ValueError(f"common_dim must lie in 1 .. max_dim = {self.max_dim}, got {self.common_dim}")
        if not 2 <= self.min_samples <= self.max_samples:
            raise ValueError(f"min_samples must lie in 2 .. max_samples = {self.max_samples}, got {self.min_samples}")


class Stream:
    """An endless iterator over :class:`Batch`, reproducible from its generator.

    Example:
        >>> batch = next(Stream(StreamConfig(max_dim=2, common_dim=2), torch.Generator().manual_seed(0)))
        >>> batch.score.shape == (*batch.log_prob.shape, batch.context.shape[-1])
        True
    """

    def __init__(self, config: StreamConfig, generator: torch.Generator) -> None:
        self.config, self.generator = config, generator
        self._names = list(config.families)
        self._frequency = torch.tensor([config.families[name] for name in self._names], dtype=torch.float64)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        config = self.config
        while True:
            name = self._names[int(torch.multinomial(self._frequency, 1, generator=_cpu(self.generator)))]
            u, v, w = self._uniform(), self._uniform(), self._uniform()
            top = config.max_dim if w < 1 / 12 else config.common_dim
            d = min(top, int((top + 1) ** (u**config.dim_tilt)))
            least = min(max(config.min_samples, d), config.max_samples)
            n = round(least * (config.max_samples / least) ** v)
            m = min(config.queries, n)
            seen = n * min(n, config.keys) + m * n
            cost = (60 * seen * (d + 8) + (n + m) * (40_000 + 2500 * d)) / 1e6
            size = max(1, min(config.max_batch, round(config.budget / cost)))
            batch = make_batch(name, size, d, n, m, self.generator)
            # A draw too extreme for float32 is replaced, never trained on.
            if all(bool(t.isfinite().all()) for t in batch[1:]):
                return batch

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self.generator, device=self.generator.device))


def make_batch(family: str, size: int, d: int, n: int, m: int, generator: torch.Generator) -> Batch:
    """``size`` fresh data sets of one family: n context points, m queries, a quarter of which are broadened draws.

    A broadened draw is a fresh point moved away from the mean and jittered: samplers visit tails, diffusion noised data.
    """
    target = FAMILIES[family](size, d, generator)
    points = target.draw(n + m, generator)
    x, y = points[:, :n], points[:, n:]
    broad = m // 4
    center, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    device = generator.device
    stretch = 1 + torch.rand((size, broad, 1), generator=generator, device=device)
    jitter = torch.rand((size, 1, 1), generator=generator, device=device) * spread
    noise = torch.randn((size, broad, d), generator=generator, device=device)
    far = center + stretch * (y[:, :broad] - center) + jitter * noise
    y = torch.cat([far, y[:, broad:]], 1)
    z = torch.cat([x, y], 1)
    whitening = whiten(x)
    white = whitening(z).float()
    log_prob = target.evaluate(z).double() - whitening.log_det[:, None]
    # s = A s_w for columns, so s_w = A^-1 s.
    score = torch.linalg.solve(whitening.matrix, target.evaluate_score(z).double().mT).mT
    return Batch(family, white[:, :n], white[:, n:], log_prob.float(), score.float(), whitening.frame.float())


def _cpu(generator: torch.Generator) -> torch.Generator:
    """A CPU generator advanced by ``generator``, which may live on a GPU."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int(seed))
