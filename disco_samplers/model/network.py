"""The network in whitened coordinates: a stack of blocks and two heads, with the context encoded once."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from disco_samplers.model.block import Block, Columns, KernelEstimates, KeysValues, Tokens
from disco_samplers.model.config import DiScoFormerConfig
from disco_samplers.model.heads import Heads

TILE = 8192
"""Tokens carried through a block at a time in inference; bounds memory, never changes a result."""


class Encoding(NamedTuple):
    """A context as its queries see it: each block's keys and values, (log n, log d) as (b, 1, 2), and the columns' frame."""

    blocks: tuple[KeysValues, ...]
    sizes: Tensor
    frame: Tensor | None


class Network(nn.Module):
    """Maps whitened context (b, n, d) and queries (b, m, d) to log-densities (b, m) and scores (b, m, d).

    A network of symmetry "axes" also wants the frame (b, d, a) that takes whitened coordinates to standardised columns;
    without one the whitened coordinates are the columns. One of symmetry "rotations" ignores it.
    """

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        c = config.width
        self.embed_scalars = nn.Sequential(nn.Linear(5, config.hidden), nn.SiLU(), nn.Linear(config.hidden, c))
        self.embed_vectors = nn.Parameter(torch.randn(config.vector_channels))
        self.embed_even = nn.Linear(1, config.axis_channels) if config.symmetry == "axes" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.heads = Heads(config)

    @property
    def stack(self) -> list[Block]:
        """The blocks, typed."""
        return cast("list[Block]", list(self.blocks))

    def embed(self, x: Tensor, sizes: Tensor, frame: Tensor | None = None) -> Tokens:
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
        if self.embed_even is not None:
            if frame is None:
                frame = torch.eye(d, dtype=x.dtype, device=x.device).expand(len(x), d, d)
            position = x @ frame
            varies = (frame.square().sum(1, keepdim=True) > 1e-8).to(x.dtype)
            weight = varies / varies.sum(-1, keepdim=True)
            columns = Columns(frame, weight, position, self.embed_even(torch.log1p(position.square())[..., None]))
        return Tokens(x, r2, sizes, self.embed_scalars(features), x[..., None] * self.embed_vectors, columns)

    def encode(self, x: Tensor, mask: Tensor | None = None, keys: int | None = None, frame: Tensor | None = None) -> Encoding:
        """Encodes the context (b, n, d); ``mask`` (b, n) is True where a row counts.

        With ``keys`` rows are dealt like cards into groups of at most that many, each encoded as a context of its own:
        O(n keys) instead of O(n^2). Queries see every row of every group.
        """
        groups = 1 if keys is None else -(-x.shape[1] // keys)
        masks = [None if mask is None else mask[:, g::groups] for g in range(groups)]
        parts = [self._encode_group(x[:, g::groups], masks[g], frame) for g in range(groups)]
        blocks = tuple(
            KeysValues(torch.cat([kv.keys for kv in layer], 2), torch.cat([kv.values for kv in layer], 2))
            for layer in zip(*parts, strict=True)
        )
        return Encoding(blocks, _sizes(x, mask), frame)

    def _encode_group(self, x: Tensor, mask: Tensor | None, frame: Tensor | None) -> list[KeysValues]:
        sizes = _sizes(x, mask)
        bias = _bias(x, mask)
        # A weight of zero does not silence a row so large that its features overflow.
        x = x if mask is None else torch.where(mask[..., None], x, 0.0)
        blocks = []
        tiles = [self.embed(tile, sizes, frame) for tile in x.split(TILE, 1)]
        for i, block in enumerate(self.stack):
            parts = []
            for start, tile in zip(range(0, x.shape[1], TILE), tiles, strict=True):
                tile_bias = None if bias is None else bias[:, start : start + TILE]
                parts.append(block.attention.keys_values(tile, tile_bias))
            kv = KeysValues(torch.cat([p.keys for p in parts], 2), torch.cat([p.values for p in parts], 2))
            blocks.append(kv)
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
        mask: Tensor | None = None,
        keys: int | None = None,
        frame: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-density and score at the context points and then the queries, (b, n + m), in one pass.

        A context point's token and a query's token at the same place are the same, so training gets the answers at
        the context for the price of encoding it. A context longer than ``keys`` is encoded in groups, and then there are only
        the answers at the queries, (b, m): its points' tokens know their own group alone.
        """
        n = x.shape[1]
        if keys is not None and n > keys:
            return self.decode(self.encode(x, mask, keys, frame), y)
        bias = _bias(x, mask)
        tokens, kernels = self.embed(torch.cat([x, y], 1), _sizes(x, mask), frame), None
        for block in self.stack:
            tokens, kernels = block(tokens, block.attention.keys_values(tokens.rows(slice(n)), bias))
        assert isinstance(kernels, KernelEstimates)
        return cast("tuple[Tensor, Tensor]", self.heads(tokens, kernels))


def _sizes(x: Tensor, mask: Tensor | None) -> Tensor:
    # A group may hold no row of a masked set; its keys count for nothing, whatever its size.
    count = x.new_full((x.shape[0],), x.shape[1]) if mask is None else mask.sum(1).clamp_min(1).to(x.dtype)
    return torch.stack([count.log(), torch.full_like(count, math.log(x.shape[-1]))], -1)[:, None]


def _bias(x: Tensor, mask: Tensor | None) -> Tensor | None:
    # Large enough that the weight underflows to exactly zero, finite so that products with it are too.
    return None if mask is None else torch.where(mask, 0.0, -1e30).to(x.dtype)
