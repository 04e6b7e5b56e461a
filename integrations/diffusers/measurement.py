"""What was measured of images: some of their pixels, block means, or all of them, with noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, check_finite, check_not_negative, check_tensors


@dataclasses.dataclass(frozen=True)
class Measurement:
    r"""Numbers measured of images, :math:`v = A x + \sigma_v \epsilon`, with rows of A that are orthogonal and of equal size.

    .. math:: A A^T = c I

    Given to :meth:`DiscoScoreModel.measured <.DiscoScoreModel>`, it makes pipelines draw images that agree with it. Made by
    :meth:`of_pixels`, :meth:`of_means` or :meth:`of_all`.

    Arguments:
        values: v, (B, ...).
        noise: :math:`\sigma_v`.
        forward: A, of images (B, C, H, W) to the shape of ``values``.
        adjoint: its transpose.
        square: c.
    """

    values: Tensor
    noise: float
    forward: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    square: float

    @classmethod
    def of_pixels(cls, images: Tensor, known: Tensor, noise: float = 0.0) -> Measurement:
        """Some pixels are known: inpainting.

        Arguments:
            images: (B, C, H, W); what unknown pixels hold is never looked at.
            known: True where a pixel is known, of a shape that broadcasts to the images'.
            noise: standard deviation of the known pixels' noise.

        Raises:
            TypeError: if ``known`` is not of truth values or images are no numbers.
            ValueError: if nothing is known, ``known`` is of another shape, a known pixel is NaN, or the noise negative.

        Example:
            >>> seen = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
            >>> seen[..., :2] = True
            >>> Measurement.of_pixels(torch.ones(3, 1, 4, 4), seen).values.sum()
            tensor(24.)
        """
        check_tensors(images=images)
        check_not_negative("noise", noise)
        if not isinstance(known, Tensor) or known.dtype != torch.bool:
            got = known.dtype if isinstance(known, Tensor) else type(known).__name__
            raise TypeError(f"known must be a tensor of truth values, got {got}")
        if not known.any():
            raise ValueError("known is False everywhere: nothing is measured")
        try:
            fits = torch.broadcast_shapes(images.shape, known.shape) == images.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"known must broadcast to images of shape {tuple(images.shape)}, got {tuple(known.shape)}")

        def seen(x: Tensor) -> Tensor:
            return torch.where(known, x, 0.0)

        values = seen(images)
        check_finite(values.flatten(1), "images")
        return cls(values, noise, seen, seen, 1.0)

    @classmethod
    def of_means(cls, means: Tensor, factor: int, noise: float = 0.0) -> Measurement:
        """Means over blocks of ``factor`` x ``factor`` pixels are known: super-resolution.

        Arguments:
            means: (B, C, H / factor, W / factor).
            factor: side of a block.
            noise: standard deviation of the means' noise.

        Raises:
            TypeError: if means are no numbers or ``factor`` no whole number.
            ValueError: if they are no images or not finite, ``factor`` is below 2, or the noise negative.
        """
        check_tensors(means=means)
        check_count("factor", factor, 2)
        check_not_negative("noise", noise)
        if means.ndim != 4:
            raise ValueError(f"means must have shape (B, C, H / factor, W / factor), got {tuple(means.shape)}")
        check_finite(means.flatten(1), "means")

        def spread(v: Tensor) -> Tensor:
            return v.repeat_interleave(factor, -1).repeat_interleave(factor, -2) / factor**2

        return cls(means, noise, lambda x: F.avg_pool2d(x, factor), spread, 1.0 / factor**2)

    @classmethod
    def of_all(cls, images: Tensor, noise: float) -> Measurement:
        """All pixels are known with noise: denoising, by draws of what the image may have been.

        Arguments:
            images: (B, C, H, W).
            noise: standard deviation of their noise, positive.

        Raises:
            TypeError: if images are no numbers.
            ValueError: if they are not finite, or the noise is not positive.
        """
        check_tensors(images=images)
        check_not_negative("noise", noise)
        if noise == 0:
            raise ValueError(f"noise must be positive where every pixel is known, got {noise}")
        return cls.of_pixels(images, torch.ones_like(images[:1], dtype=torch.bool), noise)

    def guided(self, denoise: Callable[[Tensor], Tensor], y: Tensor, sigma: float, scale: float) -> Tensor:
        r"""The denoised images given the measurement, (B, C, H, W), of y at noise level ``sigma``.

        With the clean image given y taken for normal about D(y), of variance :math:`r^2 = \sigma^2 s^2 / (\sigma^2 + s^2)`
        with s the data's scale,

        .. math:: D_v(y) = D(y) + \sigma^2 \Big(\frac{\partial D}{\partial y}\Big)^T A^T \frac{v - A D(y)}{r^2 c + \sigma_v^2}

        Arguments:
            denoise: D.
            y: noised images.
            sigma: their noise level.
            scale: s.

        References:
            Song, Vahdat, Mardani, Kautz, *Pseudoinverse-guided diffusion models for inverse problems*, ICLR 2023, eqs. 7 and 8.
        """
        with torch.inference_mode(False), torch.enable_grad(), full_precision(y.device):
            at = y.detach().clone().requires_grad_()
            clean = denoise(at)
            gap = self.values.to(clean) - self.forward(clean.detach())
            variance = sigma**2 * scale**2 / (sigma**2 + scale**2)
            pull = self.adjoint(gap) / (variance * self.square + self.noise**2)
            (gradient,) = torch.autograd.grad(clean, at, pull)
        return clean.detach() + sigma**2 * gradient
