r"""The network that is told the noise: clean samples in, density and score of their law blurred by normal noise out.

Points are in units of the noise, about the samples' mean, along the principal directions of the samples. A token has scalar
and vector channels as in :mod:`disco_samplers.model.block`, and weights mix channels only. What acts coordinate by coordinate
does so by a function of that direction's variance alone, which turns with the samples: answers are exactly equivariant to
rotations.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disco_samplers.model.attention import attend
from disco_samplers.model.block import normalise


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """Sizes of a :class:`DenoiserNetwork`; none of them depends on the dimension of the data.

    Arguments:
        layers: blocks of attention and feed-forward.
        width: scalar channels of a token.
        vector_channels: vector channels of a token.
        heads: attention heads; the first one's kernel is the noise itself, two at least.
        head_width: scalar features that a head compares and returns.
        hidden: hidden units of the feed-forward networks.

    Raises:
        ValueError: if a size is not a positive integer, or there is one head only.

    Example:
        >>> DenoiserConfig(layers=3).layers
        3
    """

    layers: int = 2
    width: int = 64
    vector_channels: int = 16
    heads: int = 6
    head_width: int = 8
    hidden: int = 192

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 2 if field.name == "heads" else 1
            if type(value) is not int or value < least:
                raise ValueError(f"{field.name} must be an integer from {least} on, got {value!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DenoiserConfig:
        """Builds a configuration from plain values; unknown keys raise instead of being dropped."""
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"unknown config key(s) {', '.join(unknown)}: is this a file of a denoiser?")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as :meth:`from_dict` takes them."""
        return dataclasses.asdict(self)


class Spread(NamedTuple):
    """How the samples vary, in units of the noise: variances along the principal directions, and how many rows tell them."""

    variances: Tensor  # (b, 1, d)
    features: Tensor  # (b, 1, 5)
    log_n: Tensor  # (b, 1, 1)
    dimension: Tensor  # (b, 1, 1): of the directions that stand out of the noise, a number between 0 and d

    @classmethod
    def of(cls, variances: Tensor, count: Tensor) -> Spread:
        """Of variances (b, d) that ``count`` (b,) rows tell."""
        d = variances.shape[-1]
        seen = variances / (1 + variances)
        dimension, log_n = seen.sum(-1), count.to(variances.dtype).log()
        features = [
            log_n / 4 - 1.5,
            torch.full_like(log_n, math.log(d) / 2 - 1),
            dimension.clamp_min(1e-3).log() / 2 - 1,
            2 * seen.mean(-1) - 1,
            variances.mean(-1).log1p() / 3 - 0.5,
        ]
        column = (slice(None), None, None)
        return cls(variances[:, None], torch.stack(features, -1)[:, None], log_n[column], dimension[column])

    @property
    def precision(self) -> Tensor:
        """Of the normal law with these variances, noised: (b, 1, d)."""
        return 1 / (1 + self.variances)


class NoisedTokens(NamedTuple):
    """Points (b, n, d) with their scalar channels (b, n, c) and vector channels (b, n, d, c_v)."""

    position: Tensor
    scalars: Tensor
    vectors: Tensor


class NoisedAttention(nn.Module):
    r"""Softmax attention whose heads are blurred kernel density estimates with learned corrections.

    A kernel estimate whose kernels have the shape of the samples, of covariance :math:`\kappa C`, blurred by noise, has kernels
    of covariance :math:`I + \kappa C` in units of the noise. So, with :math:`P_i = (I + \kappa_i C)^{-1}`,

    .. math:: s_{ij} = q_i \cdot k_j + Q_i \cdot K_j + t_i \cdot (x_j - y_i) - \tfrac12 (y_i - x_j)^T P_i (y_i - x_j)

    with content features, vector features and a tilt t as in :class:`~disco_samplers.model.block.BandwidthAttention`. The first
    head has :math:`\kappa = 0`: with q, Q and t zero it is the exact answer for the samples themselves; at the other end,
    :math:`\kappa = 1` and beyond, a head is the normal law of the samples' covariance.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.heads, self.width = config.heads, config.head_width
        h, w, c, cv = self.heads, self.width, config.width, config.vector_channels
        self.norm = nn.LayerNorm(c)
        self.query = nn.Linear(c, h * w)
        self.key_value = nn.Linear(c, 2 * h * w)
        self.query_vector = nn.Linear(cv, 2 * h, bias=False)  # Q and the tilt
        self.key_value_vector = nn.Linear(cv, 2 * h, bias=False)
        self.tilt_gain = nn.Parameter(torch.full((h,), 0.3))
        self.bandwidth = nn.Linear(c, h - 1)
        f = torch.linspace(0.0, 1.0, h - 1)
        # log(kappa) on (1, Scott's rule for variances): from broad to a fraction of it.
        self.ladder = nn.Parameter(-torch.stack([(1 - f) * math.log(0.5) + f * math.log(8.0), f], -1))
        self.to_scalars = nn.Linear(h * (w + 4), c)
        self.to_vectors = nn.Linear(3 * h, cv, bias=False)
        nn.init.zeros_(self.bandwidth.weight)
        nn.init.zeros_(self.bandwidth.bias)

    def keys_values(self, context: NoisedTokens, log_counts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys and values (b, h, n, e) of the context, whose rows are worth as many (b, n) each as ``log_counts`` says."""
        x = context.position
        (b, n, d), h = x.shape, self.heads
        key, value = self.key_value(self.norm(context.scalars)).to(x.dtype).view(b, n, 2, h, -1).unbind(2)
        vectors = self.key_value_vector(normalise(context.vectors)).to(x.dtype).view(b, n, d, 2, h)
        key_vector, value_vector = vectors.permute(3, 0, 1, 4, 2)
        shared = x[:, :, None].expand(b, n, h, d)
        bias = x.new_zeros(b, n) if log_counts is None else log_counts.to(x.dtype)
        keys = [key, key_vector, shared, shared.square(), bias[:, :, None, None].expand(b, n, h, 1)]
        values = [value, value_vector, shared]
        width = _width(self.width + 3 * d + 1)
        room = [width - self.width - 3 * d - 1, width - self.width - 2 * d - 1]
        keys.append(x.new_zeros(()).expand(b, n, h, room[0]))
        values += [x.new_zeros(()).expand(b, n, h, room[1]), x.new_ones(()).expand(b, n, h, 1)]
        return torch.cat(keys, -1).transpose(1, 2), torch.cat(values, -1).transpose(1, 2)

    def forward(
        self, tokens: NoisedTokens, context: tuple[Tensor, Tensor], spread: Spread
    ) -> tuple[NoisedTokens, tuple[Tensor, Tensor]]:
        """The tokens, and each head's log-density relative to the normal law (b, m, h) and score (b, m, d, h)."""
        y = tokens.position
        (b, m, d), h, w = y.shape, self.heads, self.width
        a, v = self.norm(tokens.scalars), normalise(tokens.vectors)
        rule = 2 * spread.log_n[:, 0] / (spread.dimension[:, 0] + 4)
        base = torch.stack([torch.ones_like(rule), rule], -1) @ self.ladder.to(y.dtype).T  # (b, 1, h - 1)
        log_kappa = base + 2 * torch.tanh(self.bandwidth(a).to(y.dtype))
        kappa = F.pad(log_kappa.exp(), (1, 0))
        precision = 1 / (1 + kappa[..., None] * spread.variances[:, :, None])  # P, (b, m, h, d)
        query = self.query(a).to(y.dtype).view(b, m, h, w) / math.sqrt(w)
        vectors = self.query_vector(v).to(y.dtype).view(b, m, d, 2, h)
        query_vector, tilt = vectors.permute(3, 0, 1, 4, 2)
        tilt = tilt * self.tilt_gain[:, None] * precision.sqrt()
        at = y[:, :, None]
        position = precision * at + tilt
        features = [query, query_vector / math.sqrt(d), position, -0.5 * precision, y.new_ones(()).expand(b, m, h, 1)]
        features.append(y.new_zeros(()).expand(b, m, h, context[0].shape[-1] - w - 3 * d - 1))
        out, lse = attend(torch.cat(features, -1).transpose(1, 2), *context)
        out, lse = out.transpose(1, 2), lse.transpose(1, 2)  # (b, m, h, e), (b, m, h)
        shift = out[..., w + d : w + 2 * d] - at
        score = precision * shift
        # The terms of the logits that are the same for every key were left out of them.
        lse = lse - (tilt * at).sum(-1) - 0.5 * (precision * at.square()).sum(-1)
        normal = spread.precision[:, :, None]
        log_ratio = lse - spread.log_n + 0.5 * (precision / normal).log().sum(-1) + 0.5 * (normal * at.square()).sum(-1)
        root = math.sqrt(d)
        scalars = torch.cat(
            [
                out[..., :w].flatten(2),
                torch.asinh(log_ratio / root),
                torch.log1p((shift * score).sum(-1).clamp_min(0) / d),
                torch.asinh((score * at * normal).sum(-1) / root),
                F.pad(log_kappa, (1, 0), value=-6.0) / 3,
            ],
            -1,
        )
        found = torch.cat([out[..., w : w + d], precision.sqrt() * shift, score], 2).transpose(2, 3)
        tokens = tokens._replace(
            scalars=tokens.scalars + self.to_scalars(scalars), vectors=tokens.vectors + self.to_vectors(found)
        )
        return tokens, (log_ratio, score.transpose(2, 3))


class NoisedFeedForward(nn.Module):
    """An MLP on scalars and invariants of vectors, whose output gates the vectors, as they are and shrunk as noise shrinks."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        c, cv = config.width, config.vector_channels
        self.norm = nn.LayerNorm(c)
        self.left = nn.Linear(cv, cv, bias=False)
        self.right = nn.Linear(cv, cv, bias=False)
        self.mix = nn.Linear(cv, cv, bias=False)
        self.shrink = nn.Linear(cv, cv, bias=False)
        self.input = nn.Linear(c + cv, config.hidden)
        self.output = nn.Linear(config.hidden, c + 2 * cv)
        self.merge = nn.Linear(cv, cv, bias=False)
        self.merge_shrunk = nn.Linear(cv, cv, bias=False)
        nn.init.zeros_(self.merge_shrunk.weight)

    def forward(self, tokens: NoisedTokens, spread: Spread) -> NoisedTokens:
        # One product for four matrices: v is read, and under autocast rounded, once.
        maps = torch.cat([self.left.weight, self.right.weight, self.mix.weight, self.shrink.weight])
        left, right, mixed, shrunk = F.linear(normalise(tokens.vectors), maps).chunk(4, -1)
        invariants = (left * right).mean(-2)
        hidden = F.silu(self.input(torch.cat([self.norm(tokens.scalars), invariants], -1)))
        c, cv = tokens.scalars.shape[-1], mixed.shape[-1]
        delta, gate, gate_shrunk = self.output(hidden).split([c, cv, cv], -1)
        share = (1 - spread.precision)[..., None]
        added = self.merge(gate[:, :, None] * mixed) + self.merge_shrunk(gate_shrunk[:, :, None] * shrunk * share)
        return tokens._replace(scalars=tokens.scalars + delta, vectors=tokens.vectors + added)


class NoisedHeads(nn.Module):
    r"""Log-density and score of a token, from its channels and the last block's blurred kernel estimates.

    Both start from a mixture of the kernel estimates and the normal law of the samples' covariance, with shares read off the
    token; learned corrections of it are zero before training.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        c, cv, h = config.width, config.vector_channels, config.heads
        self.sizes = [h + 1, h, h, cv, cv, 1, 1, 1]
        self.norm = nn.LayerNorm(c)
        self.left = nn.Linear(cv, cv, bias=False)
        self.right = nn.Linear(cv, cv, bias=False)
        self.input = nn.Linear(c + cv + h, config.hidden)
        self.output = nn.Linear(config.hidden, sum(self.sizes))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: NoisedTokens, kernels: tuple[Tensor, Tensor], spread: Spread) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, d), in units of the noise."""
        y, (log_ratio, kernel_score) = tokens.position, kernels
        d = y.shape[-1]
        root, normal = math.sqrt(d), spread.precision
        v = normalise(tokens.vectors)
        invariants = (self.left(v) * self.right(v)).mean(-2)
        squashed = 3 * torch.tanh(log_ratio / (3 * root))
        hidden = F.silu(self.input(torch.cat([self.norm(tokens.scalars), invariants, squashed], -1)))
        out = self.output(hidden).to(y.dtype)
        mixture, density_weights, score_weights, gates, gates_shrunk, u, temper_density, temper_score = out.split(
            self.sizes, -1
        )
        log_weights = mixture.log_softmax(-1) + F.pad(log_ratio, (0, 1))
        base = -0.5 * ((y.square() * normal).sum(-1) + d * math.log(2 * math.pi) - normal.log().sum(-1))
        log_prob = (
            base
            + (1 - torch.tanh(temper_density).squeeze(-1)) * log_weights.logsumexp(-1)
            + root * (density_weights * squashed).sum(-1)
            + root * u.squeeze(-1)
        )
        responsibility = log_weights.softmax(-1)
        pull = (kernel_score * responsibility[:, :, None, :-1]).sum(-1) - responsibility[..., -1:] * y * normal
        v = v.to(y.dtype)
        free = (kernel_score * score_weights[:, :, None]).sum(-1) + (v * gates[:, :, None]).sum(-1)
        free = free + (v * gates_shrunk[:, :, None]).sum(-1) * normal.sqrt()
        return log_prob, (1 - torch.tanh(temper_score)) * pull + free


class DenoiserNetwork(nn.Module):
    """Maps clean context (b, n, d) and noised queries (b, m, d) to log-densities (b, m) and scores (b, m, d) of the noised law.

    All in units of the noise, about the context's mean and along its principal directions, whose variances ``spread`` holds.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_scalars = nn.Sequential(nn.Linear(8, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.width))
        self.embed_vectors = nn.Linear(3, config.vector_channels, bias=False)
        self.attention = nn.ModuleList(NoisedAttention(config) for _ in range(config.layers))
        self.feed_forward = nn.ModuleList(NoisedFeedForward(config) for _ in range(config.layers))
        self.heads = NoisedHeads(config)

    @property
    def stack(self) -> list[tuple[NoisedAttention, NoisedFeedForward]]:
        """The blocks, typed."""
        return cast(
            "list[tuple[NoisedAttention, NoisedFeedForward]]", list(zip(self.attention, self.feed_forward, strict=True))
        )

    def _tokens(self, z: Tensor, spread: Spread) -> NoisedTokens:
        d, normal = z.shape[-1], spread.precision
        whitened = (z.square() * normal).sum(-1, keepdim=True)
        features = [
            torch.asinh((whitened - d) / math.sqrt(2 * d)),
            torch.log1p(whitened / d),
            torch.log1p(z.square().mean(-1, keepdim=True)) / 3 - 0.5,
            spread.features.expand(-1, z.shape[1], -1),
        ]
        vectors = torch.stack([z * normal.sqrt(), z * normal, z * normal.sqrt() * (1 - normal)], -1)
        return NoisedTokens(z, self.embed_scalars(torch.cat(features, -1)), self.embed_vectors(vectors))

    def encode(self, x: Tensor, spread: Spread, log_counts: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Each block's keys and values of the context."""
        tokens, blocks = self._tokens(x, spread), []
        for i, (attention, feed_forward) in enumerate(self.stack):
            blocks.append(attention.keys_values(tokens, log_counts))
            if i + 1 < len(self.stack):
                tokens = feed_forward(attention(tokens, blocks[-1], spread)[0], spread)
        return blocks

    def decode(self, blocks: list[tuple[Tensor, Tensor]], y: Tensor, spread: Spread) -> tuple[Tensor, Tensor]:
        """Log-density and score at queries (b, m, d); no query influences another."""
        tokens, kernels = self._tokens(y, spread), None
        for (attention, feed_forward), block in zip(self.stack, blocks, strict=True):
            tokens, kernels = attention(tokens, block, spread)
            tokens = feed_forward(tokens, spread)
        return cast("tuple[Tensor, Tensor]", self.heads(tokens, kernels, spread))


def _width(size: int) -> int:
    """A multiple of 8, as the fused kernels want it."""
    return -(-size // 8) * 8
