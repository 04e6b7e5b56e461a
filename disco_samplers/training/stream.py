"""Batches for training: a family, a dimension and a context size drawn afresh for every step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from disco_samplers.model import Frame, whiten
from disco_samplers.training.families import FAMILIES

_DIMENSIONS = (1, 2, 3, 5, 8, 12, 20, 36, 80)
_ROWS = (64, 192, 576, 1792, 5376, 12_288)


class Batch(NamedTuple):
    """Data sets in whitened coordinates with exact answers at context and query points (in this order)."""

    family: str
    context: Tensor  # (b, n, d)
    query: Tensor  # (b, m, d): broadened draws, draws, and the last ``far`` ones far out
    log_prob: Tensor  # (b, n + m)
    score: Tensor  # (b, n + m, d)
    frame: Frame  # of the columns in whitened coordinates
    counts: Tensor  # (b, n), how many independent rows a row is worth
    far: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in self._tensors().items()}
        return self._replace(frame=Frame(*(value.to(device, non_blocking=True) for value in self.frame)), **moved)

    def is_finite(self) -> bool:
        """Whether every number is one."""
        return all(bool(value.isfinite().all()) for value in (*self._tensors().values(), *self.frame))

    def _tensors(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if isinstance(value, Tensor)}


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
        weighted: share of the batches whose rows have unequal weights, or are left out in part.
        far: share of the queries that lie far out, up to 30 standard deviations.
        grid: whether dimensions and rows are brought to a grid of few, so that batches repeat in shape and a GPU can keep their
            steps as graphs.
        columns: whether the network sees the columns, and so is whitened for (symmetry "axes").
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
    weighted: float = 0.0
    far: float = 0.0
    grid: bool = False
    columns: bool = False

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
        self._frequency = torch.tensor([config.families[name] for name in self._names], dtype=torch.float64, device="cpu")

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
            if config.grid:
                d = _nearest(d, _DIMENSIONS)
                n = _nearest(max(n, d), _ROWS)
            # A context in groups is answered at the queries alone.
            m = min(config.queries, n) if n <= config.keys else 4 * config.queries
            seen = n * min(n, config.keys) + m * n
            # A GPU is slowed by what it moves for each token more than by products of pairs.
            cost = ((8 if config.grid else 60) * seen * (d + 8) + (n + m) * (40_000 + 2500 * d)) / 1e6
            size = max(1, min(config.max_batch, round(config.budget / cost)))
            batch = make_batch(
                name,
                size,
                d,
                n,
                m,
                self.generator,
                far=round(config.far * m),
                weighted=self._uniform() < config.weighted,
                columns=config.columns,
            )
            # A draw too extreme for float32 is replaced, never trained on.
            if batch.is_finite():
                return batch

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self.generator, device=self.generator.device))


class Batches(IterableDataset[Batch]):
    """The stream as worker processes of a ``DataLoader`` draw it, each from a seed of its own."""

    def __init__(self, config: StreamConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number = 0 if worker is None else worker.id + 1
        return Stream(self.config, torch.Generator().manual_seed(self.seed + 7_919 * number))


def make_batch(
    family: str,
    size: int,
    d: int,
    n: int,
    m: int,
    generator: torch.Generator,
    *,
    far: int = 0,
    weighted: bool = False,
    columns: bool = False,
) -> Batch:
    """``size`` fresh data sets of one family: n context points, m queries, a quarter of which are broadened draws.

    A broadened draw is a fresh point moved away from the mean and jittered: samplers visit tails, diffusion noised data.
    The last ``far`` queries are moved much farther. See :class:`StreamConfig` for ``weighted`` and ``columns``.
    """
    target = FAMILIES[family](size, d, generator)
    points = target.draw(n + m, generator)
    x, y = points[:, :n], points[:, n:]
    device = generator.device
    counts = _counts(x, generator) if weighted else torch.ones((size, n), device=device)
    whitening = whiten(x, counts, clusters=columns)
    # Noise as the samples vary: on a ridge, what is as wide as the columns is nowhere near the data.
    back = torch.linalg.inv(whitening.matrix).float()
    broad = m // 4
    center = whitening.center.float()
    stretch = 1 + torch.rand((size, broad, 1), generator=generator, device=device)
    jitter = torch.rand((size, 1, 1), generator=generator, device=device)
    noise = torch.randn((size, broad, d), generator=generator, device=device) @ back
    wide = center + stretch * (y[:, :broad] - center) + jitter * noise
    reach = 2 * 15 ** torch.rand((size, far, 1), generator=generator, device=device)
    noise = torch.randn((size, far, d), generator=generator, device=device) @ back
    out = center + reach * (0.7 * (y[:, m - far :] - center) + 0.7 * noise)
    y = torch.cat([wide, y[:, broad : m - far], out], 1)
    z = torch.cat([x, y], 1)
    white = whitening(z).float()
    log_prob = target.evaluate(z).double() - whitening.log_det[:, None]
    # s = A s_w for columns, so s_w = A^-1 s.
    score = torch.linalg.solve(whitening.matrix, target.evaluate_score(z).double().mT).mT
    frame = Frame(*(value.float() for value in Frame.of(whitening.frame)))
    return Batch(family, white[:, :n], white[:, n:], log_prob.float(), score.float(), frame, counts, far)


def _counts(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random weights of rows, times their effective size: unrelated to the rows, or what undoes a selection by them."""
    batch, n, d = x.shape
    device = generator.device
    strength = 0.3 + 1.2 * torch.rand((batch, 1), generator=generator, device=device)
    weights = (strength * torch.randn((batch, n), generator=generator, device=device)).exp()
    direction = torch.randn((batch, d, 1), generator=generator, device=device)
    along = ((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) @ direction)[..., 0] / d**0.5
    kept = 0.05 + 0.95 * torch.sigmoid(2 * strength * along)
    selected = torch.where(torch.rand((batch, n), generator=generator, device=device) < kept, 1 / kept, 0.0)
    # A set of which too little is left keeps all its rows.
    enough = (selected > 0).sum(1, keepdim=True) > max(16, 2 * d)
    chosen = (torch.rand((batch, 1), generator=generator, device=device) < 0.5) & enough
    weights = torch.where(chosen, selected, weights)
    weights = weights / weights.sum(1, keepdim=True)
    return weights / weights.square().sum(1, keepdim=True)


def _nearest(value: int, grid: tuple[int, ...]) -> int:
    return min(grid, key=lambda number: abs(math.log(number / value)))


def _cpu(generator: torch.Generator) -> torch.Generator:
    """A CPU generator advanced by ``generator``, which may live on a GPU."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int(seed))
