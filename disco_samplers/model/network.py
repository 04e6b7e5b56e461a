"""The network in whitened coordinates: a stack of blocks and two heads, with the context encoded once."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from disco_samplers.model.block import Block, Columns, Frame, KernelEstimates, KeysValues, Tokens, exactly
from disco_samplers.model.config import DiScoFormerConfig
from disco_samplers.model.heads import Heads
from disco_samplers.model.sharding import share

TILE = 8192
"""Tokens carried through a block at a time in inference; bounds memory, never changes a result."""


class Encoding(NamedTuple):
    """A context as its queries see it: each block's keys and values, (log n, log d) as (b, 1, 2), and the columns' frame."""

    blocks: tuple[KeysValues, ...]
    sizes: Tensor
    frame: Frame | None


class Network(nn.Module):
    """Maps whitened context (b, n, d) and queries (b, m, d) to log-densities (b, m) and scores (b, m, d).

    A network of symmetry "axes" also wants the frame that takes whitened coordinates to standardised columns; without one the
    whitened coordinates are the columns. One of symmetry "rotations" ignores it.
    """

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        c = config.width
        self.embed_scalars = nn.Sequential(nn.Linear(5, config.hidden), nn.SiLU(), nn.Linear(config.hidden, c))
        self.embed_vectors = nn.Parameter(torch.randn(config.vector_channels))
        self.embed_even = nn.Linear(2, config.axis_channels) if config.symmetry == "axes" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.heads = Heads(config)

    @property
    def stack(self) -> list[Block]:
        """The blocks, typed."""
        return cast("list[Block]", list(self.blocks))

    def _columns(self, x: Tensor, frame: Frame | None) -> Frame | None:
        if self.embed_even is None or frame is not None:
            return frame
        return Frame.of(torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1))

    def embed(self, x: Tensor, sizes: Tensor, frame: Frame | None) -> Tokens:
        """Tokens of points (b, n, d)."""
        d = x.shape[-1]
        r2 = x.square().sum(-1, keepdim=True)
        log_n, log_d = sizes[..., :1], sizes[..., 1:]
        features = torch.cat(
            [
                torch.asinh((r2 - d) / math.sqrt(2 * d)),
                torch.log1p(r2 / d),
                (log_n / 4 - 1.5).expand_as(r2),
                (log_d / 2 - 1).expand_as(r2),
                ((log_n - log_d) / 4 - 1).expand_as(r2),
            ],
            -1,
        )
        columns = None
        if self.embed_even is not None and frame is not None:
            position = exactly(x, frame.matrix)
            own = frame.own.log().expand_as(position)
            columns = Columns(frame, position, self.embed_even(torch.stack([torch.log1p(position.square()), own], -1)))
        return Tokens(x, r2, sizes, self.embed_scalars(features), x[..., None] * self.embed_vectors, columns)

    def encode(
        self,
        x: Tensor,
        counts: Tensor | None = None,
        keys: int | None = None,
        frame: Frame | None = None,
        *,
        group: Any = None,
        progress: bool = False,
    ) -> Encoding:
        """Encodes the context (b, n, d); ``counts`` (b, n) is how many independent rows a row is worth, 0 to leave it out.

        With ``keys`` rows are dealt into groups of at most that many, each encoded as a context of its own: O(n keys) instead
        of O(n^2). They are shuffled first, always alike: rows that alternate between chains, say, must not end up one chain a
        group. Queries see every row of every group.

        In the processes of a ``group`` of :mod:`torch.distributed` each keeps the keys and values of its share of the groups of
        rows, and encodes these alone. Of a single group each encodes all, and keeps those of a share of its rows.
        """
        b, n, d = x.shape
        columns, groups = self._columns(x, frame), 1 if keys is None else -(-n // keys)
        if groups == 1:
            kept = slice(None) if group is None else share(n, group)
            single = self._encode_group(x, counts, columns, kept)
            return Encoding(tuple(kv._replace(group=group) for kv in single), _sizes(x, counts), columns)
        size = -(-n // groups)
        order, missing = _order(n, x.device), size * groups - n
        worth = x.new_ones(b, n) if counts is None else counts.to(x.dtype)
        rows = F.pad(x[:, order], (0, 0, 0, missing)).view(b, groups, size, d)
        worth = F.pad(worth[:, order], (0, missing)).view(b, groups, size)
        if group is not None:
            own = share(groups, group)
            rows, worth, groups = rows[:, own], worth[:, own], own.stop - own.start
        together = max(1, TILE // size)
        blocks: list[KeysValues] = [] if groups else self._nothing(x, columns)
        for start in tqdm(range(0, groups, together), disable=not progress, desc="encoding", unit="tile"):
            chunk = slice(start, start + together)
            part, many = rows[:, chunk].flatten(0, 1), rows[:, chunk].shape[1]
            weights = None if counts is None and not missing else worth[:, chunk].flatten(0, 1)
            encoded = self._encode_group(part, weights, None if columns is None else columns.repeat(many))
            # Written where they stay: of a long context keys and values are nearly all that memory holds.
            blocks = blocks or [KeysValues(*(_room(values, b, groups * size) for values in layer[:2])) for layer in encoded]
            here = slice(start * size, (start + many) * size)
            for block, layer in zip(blocks, encoded, strict=True):
                for whole, values in zip(block[:2], layer[:2], strict=True):
                    whole[:, :, here] = _side_by_side(values, many)
        return Encoding(tuple(kv._replace(group=group) for kv in blocks), _sizes(x, counts), columns)

    def _nothing(self, x: Tensor, frame: Frame | None) -> list[KeysValues]:
        """Keys and values of no rows, for a process without a share."""
        return [KeysValues(*(values[:, :, :0] for values in kv[:2])) for kv in self._encode_group(x[:, :1], None, frame)]

    def _encode_group(
        self, x: Tensor, counts: Tensor | None, frame: Frame | None, kept: slice = slice(None)
    ) -> list[KeysValues]:
        """Keys and values of each block, of the rows ``kept``."""
        sizes = _sizes(x, counts)
        bias = _bias(x, counts)
        # A weight of zero does not silence a row so large that its features overflow.
        x = x if counts is None else torch.where(counts[..., None] > 0, x, 0.0)
        blocks = []
        tiles = [self.embed(tile, sizes, frame) for tile in x.split(TILE, 1)]
        for i, block in enumerate(self.stack):
            parts = []
            for start, tile in zip(range(0, x.shape[1], TILE), tiles, strict=True):
                tile_bias = None if bias is None else bias[:, start : start + TILE]
                parts.append(block.attention.keys_values(tile, tile_bias))
            kv = KeysValues(torch.cat([p.keys for p in parts], 2), torch.cat([p.values for p in parts], 2))
            blocks.append(kv if kept == slice(None) else KeysValues(*(values[:, :, kept].clone() for values in kv[:2])))
            if i + 1 < len(self.blocks):
                tiles = [block(tile, kv)[0] for tile in tiles]
        return blocks

    def decode(self, encoding: Encoding, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density and score at queries (b, m, d); no query influences another."""
        tokens, kernels = self.embed(y, encoding.sizes, encoding.frame), None
        for block, kv in zip(self.stack, encoding.blocks, strict=True):
            tokens, kernels = block(tokens, kv)
        assert isinstance(kernels, KernelEstimates)
        return cast("tuple[Tensor, Tensor]", self.heads(tokens, kernels))

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        counts: Tensor | None = None,
        keys: int | None = None,
        frame: Frame | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-density and score at the context points and then the queries, (b, n + m), in one pass.

        A context point's token and a query's token at the same place are the same, so training gets the answers at
        the context for the price of encoding it. A context longer than ``keys`` is encoded in groups, and then there are only
        the answers at the queries, (b, m): its points' tokens know their own group alone.
        """
        n = x.shape[1]
        if keys is not None and n > keys:
            return self.decode(self.encode(x, counts, keys, frame), y)
        bias = _bias(x, counts)
        tokens, kernels = self.embed(torch.cat([x, y], 1), _sizes(x, counts), self._columns(x, frame)), None
        for block in self.stack:
            tokens, kernels = block(tokens, block.attention.keys_values(tokens.rows(slice(n)), bias))
        assert isinstance(kernels, KernelEstimates)
        return cast("tuple[Tensor, Tensor]", self.heads(tokens, kernels))


def _room(groups: Tensor, b: int, n: int) -> Tensor:
    """Where the keys or values of n rows of b sets are to stand, as those of groups are (b * many, h, size, e)."""
    _, h, _, e = groups.shape
    return groups.new_empty(b, h, n, e)


def _side_by_side(groups: Tensor, many: int) -> Tensor:
    """Keys or values (b * many, h, n, e) of groups as those of sets, (b, h, many * n, e)."""
    b, h, n, e = groups.shape
    return groups.view(b // many, many, h, n, e).transpose(1, 2).reshape(b // many, h, many * n, e)


@functools.lru_cache(maxsize=8)
def _order(n: int, device: torch.device) -> Tensor:
    """The order in which rows are dealt."""
    with torch.inference_mode(False):
        return torch.randperm(n, generator=torch.Generator().manual_seed(n)).to(device)


def _sizes(x: Tensor, counts: Tensor | None) -> Tensor:
    # A group may hold no row of a masked set; its keys count for nothing, whatever its size.
    count = x.new_full((x.shape[0],), x.shape[1]) if counts is None else counts.sum(1).clamp_min(1).to(x.dtype)
    return torch.stack([count.log(), torch.full_like(count, math.log(x.shape[-1]))], -1)[:, None]


def _bias(x: Tensor, counts: Tensor | None) -> Tensor | None:
    # Large enough that the weight underflows to exactly zero, finite so that products with it are too.
    return None if counts is None else torch.where(counts > 0, counts.to(x.dtype).log(), -1e30).to(x.dtype)
