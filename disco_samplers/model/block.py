r"""One block of the network: bandwidth attention, feed-forward, and (for symmetry "axes") a per-coordinate network.

A token is a point with scalar channels a (b, n, c), vector channels V (b, n, d, c_v) and, for symmetry "axes", even
channels E (b, n, a, c_e), one row for each column of the data. Weights mix channels only, never coordinates, so one set of
weights serves every d and the block commutes with every rotation ("rotations") or every signed permutation of the columns
("axes"). Points are in whitened coordinates, whose axes are not those of the columns: the frame B (b, d, a) takes whitened
coordinates y to standardised columns y B, and what acts column by column is done there.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disco_samplers.model.attention import attend
from disco_samplers.model.config import DiScoFormerConfig
from disco_samplers.model.sharding import attend_together
from disco_samplers.model.whitening import eigh, log_standard_normal


class Frame(NamedTuple):
    r"""How columns lie in whitened coordinates: what symmetry "axes" knows of a context besides its points.

    ``own`` is the share of a column's variance that the other columns do not explain, :math:`1 / (C^{-1})_{aa}` with
    :math:`C = B^T B` their correlation: 1 for uncorrelated columns, near 0 on a ridge. ``spectrum`` holds the eigenvalues of C.
    """

    matrix: Tensor  # B, (b, d, a), takes whitened coordinates to standardised columns
    weight: Tensor  # (b, 1, a), 1 / (number of columns that vary) for those that do, 0 for constant ones
    own: Tensor  # (b, 1, a)
    spectrum: Tensor  # (b, 1, a), in no order that means anything to a column

    @classmethod
    def of(cls, matrix: Tensor) -> Frame:
        """The frame of a matrix B (b, d, a)."""
        exact = matrix.detach().double()
        correlation = exact.mT @ exact
        varies = correlation.diagonal(dim1=-2, dim2=-1) > 1e-8
        values, vectors = eigh(correlation)
        # Constant columns are left out; the small number keeps the share of dependent ones finite, and near 0.
        own = 1 / (vectors.square() / values.clamp_min(1e-9)[:, None]).sum(-1)
        weight = varies.to(matrix.dtype) / varies.sum(-1, keepdim=True)
        own = torch.where(varies, own, 1.0).clamp(1e-4, 1.0)
        small = (own[:, None].to(matrix.dtype), values.clamp_min(0.0)[:, None].to(matrix.dtype))
        return cls(matrix, weight[:, None], *small)

    def repeat(self, times: int) -> Frame:
        """The frame of each set, ``times`` times in a row."""
        return Frame(*(value.repeat_interleave(times, 0) for value in self))


class Columns(NamedTuple):
    """What symmetry "axes" adds to tokens: the frame, the points in standardised columns, and the even channels."""

    frame: Frame
    position: Tensor  # (b, n, a)
    even: Tensor  # (b, n, a, c_e)


class Tokens(NamedTuple):
    """Points with their channels; ``sizes`` holds (log n, log d) of the context, (b, 1, 2)."""

    position: Tensor  # (b, n, d)
    r2: Tensor  # (b, n, 1)
    sizes: Tensor  # (b, 1, 2)
    scalars: Tensor  # (b, n, c)
    vectors: Tensor  # (b, n, d, c_v)
    columns: Columns | None

    def rows(self, index: slice) -> Tokens:
        """The tokens of some of the points."""
        columns = self.columns
        if columns is not None:
            columns = columns._replace(position=columns.position[:, index], even=columns.even[:, index])
        return Tokens(
            self.position[:, index],
            self.r2[:, index],
            self.sizes,
            self.scalars[:, index],
            self.vectors[:, index],
            columns,
        )


class KeysValues(NamedTuple):
    """What a block keeps of the context: keys and values (b, h, n, e), of one process of a ``group`` its share of them."""

    keys: Tensor
    values: Tensor
    group: Any = None

    def answered(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and log-normalisers of queries (b, h, m, e), of the keys of all processes."""
        if self.group is None:
            return attend(q, self.keys, self.values)
        return attend_together(q, self.keys, self.values, self.group)


class KernelEstimates(NamedTuple):
    """Each head's kernel density estimate at a token: log-density relative to N(0, I), score, and log-precision."""

    log_ratio: Tensor  # (b, n, h)
    score: Tensor  # (b, n, d, h)
    log_beta: Tensor  # (b, n, h)


def normalise(vectors: Tensor) -> Tensor:
    """Brings the vector channels of each token to unit mean square; invariant to rotations."""
    return F.rms_norm(vectors, vectors.shape[-2:], eps=1e-6)


def exactly(x: Tensor, matrix: Tensor) -> Tensor:
    """Positions (b, ..., d) times a matrix (b, d, a), unrounded by autocast: what cancellation left of them would be noise."""
    with torch.autocast(x.device.type, enabled=False):
        # One product for each set: broadcast, it would be one for each point, of matrices too small to be fast.
        product: Tensor = (x.flatten(1, -2) @ matrix).unflatten(1, x.shape[1:-1])
    return product


class BandwidthAttention(nn.Module):
    r"""Softmax attention whose heads are kernel density estimates with learned corrections.

    .. math:: s_{ij} = q_i \cdot k_j + Q_i \cdot K_j + t_i \cdot (x_j - y_i) - \tfrac12 \beta_i |y_i - x_j|^2

    with content features q, k, vector features Q, K, a tilt t and an inverse squared bandwidth :math:`\beta_i > 0` for
    each head and token. All of it is one dot product of concatenated features. With q, Q and t zero a head's
    log-normaliser is the Gaussian KDE's log-density and :math:`\beta (\sum_j p_{ij} x_j - y_i)` its score.

    With symmetry "axes" the kernel may be narrower along some columns: for :math:`\beta |y_i - x_j|^2` stands
    :math:`\beta \big(|y_i - x_j|^2 + \sum_a e_{ia} ((y_i - x_j) B)_a^2\big)`, where :math:`e_{ia} \ge 0` is read off the
    even channels. The logarithm of its determinant, :math:`\log\det(I + E^{1/2} C E^{1/2})`, is
    :math:`\sum_a \log(1 + e_a)` if the frame is orthogonal, as it is where whitening has nothing to turn. Where the
    configuration says so :math:`\sum_k \log\frac{1 + \bar e \lambda_k}{1 + \bar e}` is added, with :math:`\lambda` the
    eigenvalues of the correlation C and :math:`\log(1 + \bar e)` the mean of :math:`\log(1 + e_a)`: exact for equal e too.
    """

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        self.matched = config.determinant == "matched"
        self.heads, self.width = config.heads, config.head_width
        h, w, c, cv = self.heads, self.width, config.width, config.vector_channels
        self.axes = config.symmetry == "axes"
        self.norm = nn.LayerNorm(c)
        self.query = nn.Linear(c, h * w)
        self.key_value = nn.Linear(c, 2 * h * w)
        self.query_vector = nn.Linear(cv, 2 * h, bias=False)  # Q and the tilt
        self.key_value_vector = nn.Linear(cv, 2 * h, bias=False)
        self.tilt_gain = nn.Parameter(torch.full((h,), 0.3))
        self.bandwidth = nn.Linear(c, h)
        self.ladder = nn.Parameter(_ladder(h))
        self.to_scalars = nn.Linear(h * (w + 4), c)
        self.to_vectors = nn.Linear(3 * h, cv, bias=False)
        nn.init.zeros_(self.bandwidth.weight)
        nn.init.zeros_(self.bandwidth.bias)
        if self.axes:
            self.to_even = nn.Linear(h, config.axis_channels)
            self.narrower = nn.Linear(config.axis_channels, h)
            self.narrower_gain = nn.Parameter(torch.full((h,), 0.15))

    def keys_values(self, context: Tokens, bias: Tensor | None) -> KeysValues:
        """Keys and values of the context; ``bias`` (b, n) is added to the logits of a key (minus infinity masks it)."""
        x = context.position
        b, n, d = x.shape
        key, value = self.key_value(self.norm(context.scalars)).to(x.dtype).view(b, n, 2, self.heads, -1).unbind(2)
        kv = self.key_value_vector(normalise(context.vectors)).to(x.dtype).view(b, n, d, 2, self.heads)
        key_vector, value_vector = kv.permute(3, 0, 1, 4, 2)
        shared = [x[:, :, None].expand(b, n, self.heads, d)]
        if context.columns is not None:
            squares = context.columns.position.square()
            shared.append(squares[:, :, None].expand(b, n, self.heads, squares.shape[-1]))
        r2 = context.r2[:, :, None].expand(b, n, self.heads, 1)
        one = torch.ones_like(r2)
        log_weight = torch.zeros_like(r2) if bias is None else bias[:, :, None, None].expand_as(r2)
        keys, values = [key, key_vector, *shared, r2, log_weight], [value, value_vector, *shared]
        width = _width(_channels(keys), _channels(values) + 1)
        keys.append(x.new_zeros(()).expand(b, n, self.heads, width - _channels(keys)))
        values.append(x.new_zeros(()).expand(b, n, self.heads, width - _channels(values) - 1))
        return KeysValues(torch.cat(keys, -1).transpose(1, 2), torch.cat([*values, one], -1).transpose(1, 2))

    def forward(self, tokens: Tokens, context: KeysValues) -> tuple[Tokens, KernelEstimates]:
        y = tokens.position
        (b, m, d), h, w = y.shape, self.heads, self.width
        a, v = self.norm(tokens.scalars), normalise(tokens.vectors)
        log_n, log_d = tokens.sizes.unbind(-1)
        sizes = torch.stack([torch.ones_like(log_n), 2 * log_n / (d + 4), log_d], -1)  # (b, 1, 3)
        log_beta = sizes @ self.ladder.to(y.dtype).T + 2 * torch.tanh(self.bandwidth(a).to(y.dtype))  # (b, m, h)
        beta = log_beta.exp()
        query = self.query(a).to(y.dtype).view(b, m, h, w) / math.sqrt(w)
        qv = self.query_vector(v).to(y.dtype).view(b, m, d, 2, h)
        query_vector, tilt = qv.permute(3, 0, 1, 4, 2)  # each (b, m, h, d)
        tilt = tilt * (self.tilt_gain * beta.sqrt())[..., None]
        position = beta[..., None] * y[:, :, None] + tilt
        curvature = -0.5 * beta[..., None]
        squares, constant = [], 0.5 * beta * tokens.r2
        columns = tokens.columns
        if columns is not None:
            narrower = self.narrower(columns.even).to(y.dtype).transpose(2, 3)  # (b, m, h, a)
            extra = self.narrower_gain.square()[:, None] * (4 * torch.tanh(narrower / 4)).exp()
            extra = torch.where(columns.frame.weight[:, :, None] > 0, extra, 0.0)
            along = beta[..., None] * extra * columns.position[:, :, None]
            position = position + exactly(along, columns.frame.matrix.mT)
            squares = [curvature * extra]
            constant = constant + 0.5 * (along * columns.position[:, :, None]).sum(-1)
        one = torch.ones_like(curvature)
        features = [query, query_vector / math.sqrt(d), position, *squares, curvature, one]
        features.append(y.new_zeros(()).expand(b, m, h, context.keys.shape[-1] - _channels(features)))
        out, lse = context.answered(torch.cat(features, -1).transpose(1, 2))
        out, lse = out.transpose(1, 2), lse.transpose(1, 2)  # (b, m, h, e), (b, m, h)

        mean = out[..., w + d : w + 2 * d]
        shift = mean - y[:, :, None]  # (b, m, h, d)
        # The terms of the logits that are the same for every key were left out of them.
        lse = lse - (tilt * y[:, :, None]).sum(-1) - constant
        log_density = lse - log_n[..., None] + 0.5 * d * (log_beta - math.log(2 * math.pi))
        score = beta[..., None] * shift
        if columns is not None:
            frame = columns.frame.matrix
            log_det = self._log_det(extra, columns.frame)
            log_density = log_density + 0.5 * log_det
            score = score + beta[..., None] * exactly(extra * exactly(shift, frame), frame.mT)
        log_ratio = log_density - log_standard_normal(tokens.r2, d)

        root = math.sqrt(d)
        scalars = torch.cat(
            [
                out[..., :w].flatten(2),
                torch.asinh(log_ratio / root),
                torch.log1p((shift * score).sum(-1) / d),
                torch.asinh((score * y[:, :, None]).sum(-1) / root),
                log_beta,
            ],
            -1,
        )
        vectors = torch.cat([out[..., w : w + d], beta.sqrt()[..., None] * shift, score], 2).transpose(2, 3)
        if columns is not None:
            variance = out[..., w + 2 * d :][..., : extra.shape[-1]] - exactly(mean, columns.frame.matrix).square()
            spread = torch.log(beta[..., None] * variance.clamp_min(0) + 1e-3).transpose(2, 3)
            columns = columns._replace(even=columns.even + self.to_even(spread))
        tokens = tokens._replace(
            scalars=tokens.scalars + self.to_scalars(scalars),
            vectors=tokens.vectors + self.to_vectors(vectors),
            columns=columns,
        )
        return tokens, KernelEstimates(log_ratio, score.transpose(2, 3), log_beta)

    def _log_det(self, extra: Tensor, frame: Frame) -> Tensor:
        """Logarithm (b, m, h) of the narrowed kernels' determinant, for e (b, m, h, a)."""
        each = torch.log1p(extra)
        if not self.matched:
            return each.sum(-1)
        varying = frame.weight[:, :, None]
        mean = (varying * each).sum(-1, keepdim=True)
        together = torch.log1p(mean.expm1() * frame.spectrum[:, :, None])
        return together.sum(-1) + (each - mean * (varying > 0)).sum(-1)


class FeedForward(nn.Module):
    r"""An MLP on scalars and on invariants :math:`\langle I_1 V, I_2 V \rangle`, whose output gates and mixes the vectors."""

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        c, cv = config.width, config.vector_channels
        self.norm = nn.LayerNorm(c)
        self.left = nn.Linear(cv, cv, bias=False)
        self.right = nn.Linear(cv, cv, bias=False)
        self.input = nn.Linear(c + cv, config.hidden)
        self.output = nn.Linear(config.hidden, c + cv)
        self.mix = nn.Linear(cv, cv, bias=False)
        self.merge = nn.Linear(cv, cv, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        # One product for three matrices: v is read, and under autocast rounded, once.
        maps = torch.cat([self.left.weight, self.right.weight, self.mix.weight])
        left, right, mixed = F.linear(normalise(tokens.vectors), maps).chunk(3, -1)
        invariants = (left * right).mean(-2)
        hidden = F.silu(self.input(torch.cat([self.norm(tokens.scalars), invariants], -1)))
        delta, gate = self.output(hidden).split([tokens.scalars.shape[-1], mixed.shape[-1]], -1)
        return tokens._replace(
            scalars=tokens.scalars + delta,
            vectors=tokens.vectors + self.merge(gate[:, :, None] * mixed),
        )


class AxisFeedForward(nn.Module):
    r"""A small MLP applied to each column alike, which sees odd channels :math:`V B` squared, even channels and scalars.

    It gates the odd channels and takes them back by the frame's transpose: :math:`V \leftarrow V + (g \circ V B) B^T`, the
    form of a score :math:`\Sigma^{-1} (m - y)` whose covariance is diagonal in the columns. Before training it does nothing.
    """

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        c, cv, ce = config.width, config.vector_channels, config.axis_channels
        self.norm, self.even_norm = nn.LayerNorm(c), nn.LayerNorm(ce)
        self.from_scalars = nn.Linear(c, 4 * ce)
        self.mix = nn.Linear(cv, ce, bias=False)
        self.input = nn.Linear(2 * ce, 4 * ce)
        self.output = nn.Linear(4 * ce, 2 * ce)
        self.merge = nn.Linear(ce, cv, bias=False)
        self.to_scalars = nn.Linear(ce, c)
        for linear in (self.merge, self.to_scalars):
            nn.init.zeros_(linear.weight)
        nn.init.zeros_(self.to_scalars.bias)

    def forward(self, tokens: Tokens) -> Tokens:
        assert tokens.columns is not None
        (frame, weight, *_), _, even = tokens.columns
        odd = torch.einsum("bda,bndc->bnac", frame, self.mix(normalise(tokens.vectors)).to(frame.dtype))
        hidden = self.input(torch.cat([torch.log1p(odd.square()), self.even_norm(even)], -1))
        hidden = F.silu(hidden + self.from_scalars(self.norm(tokens.scalars))[:, :, None])
        gate, delta = self.output(hidden).chunk(2, -1)
        even = even + delta
        gated = torch.einsum("bda,bnac->bndc", frame, gate.to(frame.dtype) * odd)
        return tokens._replace(
            scalars=tokens.scalars + self.to_scalars((weight[..., None] * even).sum(-2)),
            vectors=tokens.vectors + self.merge(gated),
            columns=tokens.columns._replace(even=even),
        )


class Block(nn.Module):
    """Attention to the context, then the feed-forward networks, each added to the token."""

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        self.attention = BandwidthAttention(config)
        self.feed_forward = FeedForward(config)
        self.axes = AxisFeedForward(config) if config.symmetry == "axes" else None

    def forward(self, tokens: Tokens, context: KeysValues) -> tuple[Tokens, KernelEstimates]:
        tokens, estimates = self.attention(tokens, context)
        tokens = self.feed_forward(tokens)
        return (tokens if self.axes is None else self.axes(tokens)), estimates


def _ladder(heads: int) -> Tensor:
    """Log-precision of each head as weights on (1, 2 log n / (d + 4), log d): from broad to a fraction of Scott's rule."""
    f = torch.linspace(0.0, 1.0, heads) if heads > 1 else torch.ones(1)
    return torch.stack([(1 - f) * math.log(0.5) + f * math.log(4.0), f, -0.5 * (1 - f)], -1)


def _channels(parts: list[Tensor]) -> int:
    return sum(part.shape[-1] for part in parts)


def _width(*sizes: int) -> int:
    """The common width of keys and values, a multiple of 8 as the fused kernels want it."""
    return -(-max(sizes) // 8) * 8
