"""The training loss: relative root-mean-square errors of score and log-density, of each data set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from disco_samplers.model import Frame, Network

_DENSITY_WEIGHT = 0.5
_FAR_WEIGHT = 0.1
_FLOOR = 1e-4


class Losses(NamedTuple):
    """``total`` is minimised; ``score`` (relative error) and ``density`` (Huber error over d) are for reading."""

    total: Tensor
    score: Tensor
    density: Tensor


def training_loss(
    log_prob: Tensor, score: Tensor, true_log_prob: Tensor, true_score: Tensor, *, context: int, far: int = 0
) -> Losses:
    r"""The loss of a batch, in whitened coordinates.

    For each data set, over its points,

    .. math::
        E_s = \frac{\sum |s - s^*|^2}{\sum |s^*|^2}, \quad
        E_f = \operatorname{mean} H\Big(\frac{\log f - \log f^*}{\sqrt d}\Big), \quad
        L = \sqrt{E_s} + \tfrac12 \sqrt{E_f}

    with H the Huber loss. Under the root a data set that can be answered to 1 % still counts beside one that can only be
    answered to 50 %, without drowning it, as a logarithm did (d = 10, n = 256, after 300 steps: .38 against .53).
    E is taken over context points and queries separately and averaged, queries counting three times (or alone, with no
    answers at the context).

    Far out, where samples say little, each point's error counts for itself, relative to the size of the true answer and
    bounded: :math:`L_\infty = \sqrt{\operatorname{mean} B(|s - s^*|^2 / (|s^*|^2 + d))} + \sqrt{\operatorname{mean}
    B((\log f - \log f^*)^2 / (|\log f^*| + d)^2)}` with :math:`B(e) = e / (1 + e)`, and :math:`.1\,L_\infty` is added.

    Arguments:
        log_prob, true_log_prob: (b, p), the first ``context`` points being the context.
        score, true_score: (b, p, d).
        context: number of context points that were answered.
        far: number of points, the last ones, that lie far out.
    """
    d = score.shape[-1]
    outer = log_prob.new_zeros(())
    if far:
        near = slice(None, log_prob.shape[1] - far)
        last = slice(log_prob.shape[1] - far, None)
        outer = _far_loss(log_prob[:, last], score[:, last], true_log_prob[:, last], true_score[:, last])
        log_prob, score, true_log_prob, true_score = (value[:, near] for value in (log_prob, score, true_log_prob, true_score))
    squared = (score - true_score).square().sum(-1)
    norm = true_score.square().sum(-1)
    huber = F.huber_loss(log_prob, true_log_prob, reduction="none", delta=3 * d**0.5) / d

    def average(over_points: Tensor, total: Tensor | None = None) -> Tensor:
        def mean(part: slice) -> Tensor:
            top = over_points[:, part].mean(1)
            return top if total is None else top / total[:, part].mean(1).clamp_min(1e-6)

        queries = mean(slice(context, None))
        return torch.lerp(mean(slice(context)), queries, 0.75) if context else queries

    relative, density = average(squared, norm), average(huber)
    total = (relative + _FLOOR).sqrt() + _DENSITY_WEIGHT * (density + _FLOOR).sqrt()
    return Losses(total.mean() + _FAR_WEIGHT * outer, relative.mean().detach(), density.mean().detach())


def _far_loss(log_prob: Tensor, score: Tensor, true_log_prob: Tensor, true_score: Tensor) -> Tensor:
    d = score.shape[-1]
    gap = (score - true_score).square().sum(-1) / (true_score.square().sum(-1) + d)
    log_gap = ((log_prob - true_log_prob) / (true_log_prob.abs() + d)).square()
    bounded = [(error / (1 + error)).mean(1) for error in (gap, log_gap)]
    return sum((error + _FLOOR).sqrt().mean() for error in bounded)  # type: ignore[return-value]


def consistency_loss(
    network: Network,
    context: Tensor,
    queries: Tensor,
    keys: int | None = None,
    frame: Frame | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    r"""The root of the relative squared gap between the score head and the density head's gradient, averaged over sets.

    .. math:: L = \operatorname{mean} \sqrt{\frac{\sum |S - \nabla T|^2}{\sum |S|^2}}

    Arguments:
        network: is differentiated twice.
        context, queries: (b, n, d) and (b, m, d).
        keys, frame, counts: see :meth:`Network.encode`.
    """
    with torch.enable_grad():
        y = queries.detach().clone().requires_grad_()
        log_prob, score = network.decode(network.encode(context, counts, keys, frame), y)
        (gradient,) = torch.autograd.grad(log_prob.sum(), y, create_graph=True)
    gap = (score - gradient).square().sum((1, 2)) / score.detach().square().sum((1, 2)).clamp_min(1e-6)
    return (gap + _FLOOR).sqrt().mean()
