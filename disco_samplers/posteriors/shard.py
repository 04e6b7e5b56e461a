"""The draws of one shard with what they are worth."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.arrays import as_points
from disco_samplers.draws import Draws, part_worth
from disco_samplers.estimate import DiScoFormer
from disco_samplers.types import ArrayLike

_MOST_CONTEXT = 2048
"""Rows on which the network is conditioned; of a longer run so many drawn from it."""


class Shard(NamedTuple):
    """Rows (n, d), how many independent draws each is worth, and the block of successive draws that each is in.

    Example:
        >>> x = torch.rand(100, 2)
        >>> Shard.of(x).counts is None, Shard.of(Draws(x.view(2, 50, 2))).blocks.shape
        (True, torch.Size([100]))
    """

    rows: Tensor
    counts: Tensor | None = None
    blocks: Tensor | None = None

    @classmethod
    def of(cls, draws: ArrayLike | Draws | Shard, name: str = "draws", device: torch.device | None = None) -> Shard:
        """Those of draws, on a device if one is wanted: of an array each row is worth one.

        Raises:
            TypeError, ValueError: by this name, if they are no rows of finite numbers, or tensors on another device.
        """
        if isinstance(draws, Shard):
            return draws
        if not isinstance(draws, Draws):
            return cls(as_points(draws, name, device=device).double())
        draws = draws.on(device, name)
        rows, counts = draws.counts()
        return cls(rows.double(), counts, draws.blocks())

    @property
    def worth(self) -> Tensor:
        """How many independent draws each row is worth, (n,)."""
        return torch.ones_like(self.rows[:, 0]) if self.counts is None else self.counts

    def part(self, kept: Tensor) -> Shard:
        """The rows that are True in (n,)."""
        counts = None if self.counts is None else self.counts[kept]
        return Shard(self.rows[kept], counts, None if self.blocks is None else self.blocks[kept.cpu()])

    def thinned(self) -> Shard:
        """Some rows of a long run, drawn, for every so many-th may be in step with the chains that the rows are of."""
        if self.counts is not None and self.blocks is None:  # a row of great weight must not be missed
            return self
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self.rows), generator=generator, device=generator.device)[:_MOST_CONTEXT].sort().values
        index = order.to(self.rows.device)
        if self.counts is None or self.blocks is None:
            return Shard(self.rows[index])
        return Shard(self.rows[index], part_worth(self.counts, index), self.blocks[order])

    def condition(self, model: DiScoFormer) -> Any:
        """The estimate of the rows, thinned."""
        rows, counts, _ = self.thinned()
        if counts is None:
            return model.condition(rows)
        draws = Draws(rows, weights=counts)
        return model.condition(draws, effective_size=max(1.0, min(float(counts.sum()), draws.num_distinct)))
