"""The kernel Stein discrepancy: how far samples are from a distribution of which only the score is known."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_callable, check_positive, device_of
from disco_samplers.draws import Draws, align, names_of
from disco_samplers.measures.quantity import Information, as_draws, row_mean
from disco_samplers.types import ArrayLike, ScoreFunction

_TILE = 2**22
"""Kernel matrix entries held at a time."""


def kernel_stein_discrepancy(
    samples: ArrayLike | Draws, score: ScoreFunction, *, bandwidth: float | None = None
) -> Information:
    r"""Squared kernel Stein discrepancy of samples to a distribution with the given score.

    .. math:: \hat S = \frac{1}{n(n-1)} \sum_{i \ne j} s_i \cdot s_j\, k + s_i \cdot \nabla_j k + s_j \cdot \nabla_i k
        + \nabla_i \cdot \nabla_j k, \qquad k = \big(1 + |x_i - x_j|^2 / h^2\big)^{-1/2}

    A U-statistic: unbiased, and slightly negative by chance where the samples follow the distribution. No density estimate is
    involved. The standard error is the jackknife's, :math:`2 \operatorname{sd}(c_i) / \sqrt n` with c the mean over j;
    it is too small where the discrepancy is zero, for the statistic is degenerate there. Computed in tiles.

    Arguments:
        samples: (n, d), or (n,); independent, or :class:`~disco_samplers.Draws`, whose pairs count by their weights, but for
            those of a run of a chain, in which rows are neighbours.
        score: (n, d) -> (n, d); an estimate, or its method, whose columns have names, gets those of the samples by them.
        bandwidth: h; the median distance of the first 1000 samples if not given.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if ``bandwidth`` is not positive or the score is of another shape.

    References:
        Liu, Lee, Jordan, *A kernelized Stein discrepancy for goodness-of-fit tests*, ICML 2016, eq. 14; Gorham, Mackey,
        *Measuring sample quality with kernels*, ICML 2017, for the kernel.

    Example:
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> abs(float(kernel_stein_discrepancy(x, lambda y: -y))) < 0.1
        True
        >>> float(kernel_stein_discrepancy(x, lambda y: 1 - y)) > 0.5
        True
    """
    check_callable("score", score, "(n, d) -> (n, d)")
    if bandwidth is not None:
        check_positive("bandwidth", bandwidth)
    samples = align(samples, "samples", names_of(score), "score has")
    x, counts, blocks, _ = as_draws(samples, "samples", device=device_of(score, samples))
    n = len(x)
    share = x.new_full((n,), 1 / n) if counts is None else (counts / counts.sum()).to(x)
    run = torch.arange(n, device=x.device) if blocks is None else blocks.to(x.device)
    s = as_tensor(score(x), "score").detach().to(x)
    if s.shape != x.shape:
        raise ValueError(f"score must give {tuple(x.shape)} for points of that shape, gave {tuple(s.shape)}")
    h = float(torch.pdist(x[:1000]).median()) if bandwidth is None else bandwidth
    if not h > 0:
        raise ValueError("samples are mostly the same row: give bandwidth=")
    sums = []
    start = 0
    for part, scores in zip(*(t.split(max(1, _TILE // n)) for t in (x, s)), strict=True):
        kernel = _stein_kernel(part, scores, x, s, h)
        kernel = kernel.masked_fill(run[start : start + len(part), None] == run, 0.0)
        sums.append(kernel @ share)
        start += len(part)
    runs = share.new_zeros(int(run.max()) + 1).index_add_(0, run, share)
    rows = torch.cat(sums) / (1 - runs.square().sum())
    return row_mean("squared kernel Stein discrepancy", rows, counts=counts, unit="per squared unit of length", factor=2.0)


def _stein_kernel(x: Tensor, s: Tensor, y: Tensor, t: Tensor, h: float) -> Tensor:
    """The Stein kernel (a, b) of rows (a, d) with scores s and rows (b, d) with scores t."""
    # With u = x - y and k = base^-1/2: grad_x k = -u base^-3/2 / h^2, and u's products by rows need no (a, b, d) tensor.
    squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    base = 1 + squared / h**2
    pull = (s @ y.T - (s * x).sum(-1)[:, None]) + (x @ t.T - (t * y).sum(-1))  # -(s_i - t_j) . (x_i - y_j)
    trace = x.shape[1] / h**2 * base**-1.5 - 3 * squared / h**4 * base**-2.5
    return s @ t.T * base**-0.5 - pull / h**2 * base**-1.5 + trace
