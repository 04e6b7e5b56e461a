"""The estimate of noised images from their patches: the exact answer for patches of several sizes, stacked."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from disco_samplers.arithmetic import full_precision
from disco_samplers.reference import OptimalDenoiser

from .alike import Alike
from .basis import LinearBasis
from .data_checks import scale_of
from .windows import Overlap, Window, chunks, rows_of, starts, stride_of

_SIZES = (3, 5, 7, 9, 13, 19, 27, 39, 57, 83)
"""Sizes of patches that are tried, besides whole images."""

_SIGMA_LEAST = 5e-3
"""Noise below this, in units of the data's scale, is taken for as much: float32 tells patches apart no better."""

_AT_END = 0.01
"""Share of the pixels that have the least or the greatest value where pixels end there, as black and white do."""

_ALIKE, _FEW, _MOST = 0.1, 400, 0.25
"""Share of the images that are to count as being like a noised one, how many at least, as of fewer copies are drawn, and the
largest share: to leave out fewer is not worth the time."""

_MANY_PIXELS, _FEW_ROWS = 4096, 1024
"""Of images with more pixels than the former, so many rows tell the linear answer: their directions take a minute to find."""


@dataclasses.dataclass(frozen=True)
class Near:
    """Which patches a window is compared with.

    Arguments:
        sizes: of windows, in pixels.
        block: windows whose corners lie in one square of so many pixels share the patches that they are compared with.
        reach: how far outside that square these are taken from, in pixels; None for anywhere, as of textures.
        alike: how many images are to count, those that are most like the noised one as a whole, if they are a quarter at most;
            None for all of them.
    """

    sizes: tuple[int, ...]
    block: int = 2
    reach: int | None = 1
    alike: int | None = None

    @classmethod
    def of(cls, shape: tuple[int, int, int], count: int, anywhere: bool = False) -> Near:
        """That of so many images (C, H, W): all sizes that are smaller, and patches from nearby or from anywhere."""
        sizes = tuple(size for size in _SIZES if size < max(shape[1:]))
        if anywhere:
            return cls(sizes, max(shape[1:]), None)
        return cls(sizes, alike=max(_FEW, math.ceil(_ALIKE * count)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Near:
        """From plain values, as a configuration file holds them.

        Raises:
            ValueError: if there are others than this version has.
        """
        if unknown := sorted(set(values) - {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(f"near: {unknown[0]!r} is not known, so that another version has made it: make the model anew")
        return cls(**{**values, "sizes": tuple(values["sizes"])})


class LocalData:
    r"""Predicted noise of images blurred by Gaussian noise, from patches of the images alone.

    In a window of size k the patch x that a noised patch y was is, as far as the images read tell,

    .. math:: D_k(y, \sigma) = \sum_i p_i\, x_i, \qquad p_i \propto e^{-|y - x_i|^2 / 2 \sigma^2}

    over the patches that other images have near that window, those of images that are like y as a whole counting most
    (:class:`.Alike`). Windows overlap, and their answers are averaged, the middle of a window counting most. Answers of several
    sizes, of whole images too, and the best linear one are added up,

    .. math:: D(y, \sigma) = \sum_k a_k(\sigma)\, D_k(y, \sigma) + a_{\rm lin}(\sigma)\, D_{\rm lin}(y, \sigma)

    with the weights a that lower the denoising loss on images not read (:func:`~.stack.stacked`). Small patches are met again
    in new images, so that the answer is no copy of an image; large ones are of use where the noise leaves little else.

    Arguments:
        data: (n, C H W).
        shape: (C, H, W).
        stack: the weights a at a noise level, one for each size, whole images, and the linear answer.
        near: which patches a window is compared with.
        context_size: most of them.
        seed: of the choice among them.

    References:
        Kamb, Ganguli, *An analytic theory of creativity in convolutional diffusion models*, arXiv 2412.20292, for local exact
        scores; Zoran, Weiss, *From learning models of natural image patches to whole image restoration*, ICCV 2011, for the
        average of overlapping patches; Wolpert, *Stacked generalization*, Neural Networks 1992.
    """

    def __init__(
        self,
        data: Tensor,
        shape: tuple[int, int, int],
        stack: Callable[[float], Sequence[float]],
        *,
        near: Near,
        context_size: int,
        seed: int,
    ) -> None:
        self.data, self.shape, self.stack = data, shape, stack
        self.near, self.context_size, self.seed = near, context_size, seed
        self.images = data.unflatten(1, shape)
        self.exact = OptimalDenoiser(data.double())
        # Spread over all of them: images often come in an order.
        some = slice(None, None, -(-len(data) // linear_rows(*data.shape)))
        self.linear = LinearBasis.above(data[some], math.inf)
        self.scale, self.bounds = scale_of(data, None), bounds(data)
        self.alike: Alike | None = None
        if near.alike is not None and near.alike <= _MOST * len(data) and self.scale > 0:
            self.alike = Alike(data, self.linear, self.scale, count=near.alike, seed=seed)

    def noise(self, y: Tensor, sigma: float) -> Tensor:
        """The noise (m, D) that y (m, D) is predicted to hold at level ``sigma``."""
        if not sigma >= 0:
            raise ValueError(f"sigma must not be negative, got {sigma}")
        sigma = max(sigma, _SIGMA_LEAST * self.scale)
        clean = torch.zeros_like(y)
        for weight, answer in zip(self.stack(sigma), self.answers(), strict=True):
            if weight:
                clean = clean + weight * answer(y, sigma)
        return (y - clean) / sigma

    def log_prob(self, y: Tensor, sigma: float) -> Tensor:
        """There is none: patches overlap."""
        raise ValueError("a model of patches has no density head: probability_flow_log_prob gives its log-likelihood")

    def encode(self, sigma: float) -> None:
        """Nothing is to be prepared."""

    def answers(self) -> list[Callable[[Tensor, float], Tensor]]:
        """What is stacked: denoisers of y (m, D) at a level, of each size, of whole images, and the linear one."""

        def of(size: int) -> Callable[[Tensor, float], Tensor]:
            return lambda y, sigma: self.by_windows(y, sigma, size)

        def whole(y: Tensor, sigma: float) -> Tensor:
            return self.exact(y.double(), sigma).to(y.dtype)

        def linear(y: Tensor, sigma: float) -> Tensor:
            rest = self.linear.project(y)[1]
            return y + sigma**2 * self.linear.rest_score(rest, y.new_full((1, 1), sigma))

        return [*(of(size) for size in self.near.sizes), whole, linear]

    def by_windows(self, y: Tensor, sigma: float, size: int) -> Tensor:
        """The denoised images (m, D) of y (m, D), by windows of one size."""
        images = y.unflatten(1, self.shape)
        window, overlap = Window.of(size, self.shape), Overlap(images, Window.of(size, self.shape))
        noised, stride = window.patches(images), stride_of(size)
        seen = None if self.alike is None else self.alike.asked(y, sigma)
        down, across = (
            chunks(starts(whole, part, stride), self.near.block) for whole, part in zip(self.shape[1:], window, strict=True)
        )
        for tops in down:
            for lefts in across:
                queries = torch.stack([noised[:, :, top, left] for top, left in itertools.product(tops, lefts)], 1)
                whole = None if seen is None else seen.repeat_interleave(queries.shape[1], 0)
                answer = self._posterior_mean(queries.flatten(2).flatten(0, 1), whole, sigma, window, tops, lefts)
                for place, patch in zip(itertools.product(tops, lefts), answer.view(queries.shape).unbind(1), strict=True):
                    overlap.add(patch, *place)
        return overlap.mean().flatten(1)

    def _posterior_mean(
        self, y: Tensor, seen: Tensor | None, sigma: float, window: Window, tops: list[int], lefts: list[int]
    ) -> Tensor:
        """D of patches y (m, d) of windows at these places, of images that are seen as (m, r)."""
        image, x = self._context(window, tops, lefts)
        center = x.mean(0)
        x, y = x - center, y - center
        bias = -0.5 * x.square().sum(1, keepdim=True) / sigma**2
        queries, keys, values = [y / sigma**2], [x], x
        if self.alike is not None and seen is not None:
            bias = bias + self.alike.bias(image, sigma)
            queries.append(seen)
            keys.append(self.alike.views[image])
        queries.append(y.new_ones(len(y), 1))
        keys.append(bias)
        # Queries, keys and values of one width, a multiple of 8, as the fused kernels want them.
        width = -(-sum(part.shape[1] for part in keys) // 8) * 8
        q, k, v = (
            F.pad(part, (0, width - part.shape[1]))[None, None] for part in (torch.cat(queries, 1), torch.cat(keys, 1), values)
        )
        with full_precision(y.device):
            answer = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return answer[0, 0, :, : x.shape[1]] + center

    def _context(self, window: Window, tops: list[int], lefts: list[int]) -> tuple[Tensor, Tensor]:
        """The patches (n, d) that windows at these places are compared with, and the images (n,) that they are of."""
        down, across = (
            _near(places, self.near.reach, whole - part)
            for places, whole, part in zip((tops, lefts), self.shape[1:], window, strict=True)
        )
        generator = torch.Generator().manual_seed(self.seed + 7919 * (window.height + 31 * (down.start + 1009 * across.start)))
        rows = rows_of(len(self.images), down, across, self.context_size, generator)
        image, top, left = (index.to(self.images.device) for index in rows)
        return image, window.patches(self.images)[image, :, top, left].flatten(1)


def bounds(data: Tensor) -> tuple[float, float]:
    """The least and the greatest pixel of data (n, D), where one in a hundred or more has just that value; else infinite."""
    low, high = float(data.min()), float(data.max())
    return (
        low if float((data == low).double().mean()) >= _AT_END else -math.inf,
        high if float((data == high).double().mean()) >= _AT_END else math.inf,
    )


def linear_rows(count: int, size: int) -> int:
    """How many of ``count`` images of so many pixels tell the linear answer, at most."""
    return count if size <= _MANY_PIXELS else min(count, _FEW_ROWS)


def _near(places: list[int], reach: int | None, last: int) -> range:
    """Corners at most ``reach`` from some places, along one axis."""
    if reach is None:
        return range(last + 1)
    return range(max(0, places[0] - reach), min(last, places[-1] + reach) + 1)
