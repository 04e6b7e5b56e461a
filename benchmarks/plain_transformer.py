"""The published network as described: a plain transformer on whitened coordinates, one for each dimension.

Context tokens attend to the context, query tokens attend to it and to nothing else; pre-norm blocks, no positional encoding,
two heads on one backbone. Two variations: sines for the feed-forward units (Sitzmann et al. 2020), and keys and queries
rotated by learned angles linear in the coordinates (Su et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disco_samplers.model import log_standard_normal


class PlainBlock(nn.Module):
    """Attention of tokens (b, m, w) to context tokens (b, n, w), then a feed-forward network."""

    def __init__(self, width: int, heads: int, dim: int, *, sine: bool, rotary: bool) -> None:
        super().__init__()
        self.heads, self.sine = heads, sine
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out, self.input, self.output = nn.Linear(width, width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.angles = nn.Linear(dim, width // 2, bias=False) if rotary else None

    def forward(self, tokens: Tensor, y: Tensor, context: Tensor, x: Tensor) -> Tensor:
        key, value = self.key_value(self.norm(context)).chunk(2, -1)
        query = self._turned(self.query(self.norm(tokens)), y)
        parts = [t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, self._turned(key, x), value)]
        tokens = tokens + self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        hidden = self.input(self.second_norm(tokens))
        return tokens + self.output(torch.sin(hidden) if self.sine else F.gelu(hidden))

    def _turned(self, features: Tensor, points: Tensor) -> Tensor:
        if self.angles is None:
            return features
        angle = self.angles(points)
        a, b = features.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1).flatten(-2)


class PlainTransformer(nn.Module):
    """Log-density and score at context (b, n, d) and queries (b, m, d), in whitened coordinates.

    What the heads return is added to the log-density and the score of a standard normal, and begins at zero.
    """

    def __init__(
        self, dim: int, width: int = 128, layers: int = 4, heads: int = 8, *, sine: bool = False, rotary: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads, dim, sine=sine, rotary=rotary) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1 + dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, y: Tensor, frame: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Answers at the n context points and then the m queries; ``frame`` is not used."""
        n, d = x.shape[1:]
        points = torch.cat([x, y], 1)
        tokens = self.embed(points)
        for block in self.blocks:
            tokens = block(tokens, points, tokens[:, :n], x)
        out = self.head(self.norm(tokens))
        return log_standard_normal(points.square().sum(-1), d) + d**0.5 * out[..., 0], out[..., 1:] - points
