"""How estimators are judged without labels: by the criterion of score matching, and whether a mean fell clearly."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_CLEARLY = 2.0
"""Standard errors of the paired differences by which a step must beat the start.

On other seeds of the benchmark's shapes the steps that one standard error lets in change the error by -5 to +13 %.
"""

_PROBES = 2
"""Of a divergence, for each row."""


def probes_of(rows: int, d: int, generator: torch.Generator) -> Tensor:
    """Probes (rows, k, d) of a divergence: the axes, which give it exactly, or random signs where there are many."""
    if d <= _PROBES:
        return math.sqrt(d) * torch.eye(d, dtype=torch.float32, device=generator.device).expand(rows, d, d)
    return torch.randint(0, 2, (rows, _PROBES, d), generator=generator, device=generator.device) * 2.0 - 1


def consistency(estimator: Any, x: Tensor) -> Tensor:
    """The squared difference of score and gradient of the log-density at points x (m, d), over that of the score."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        log_prob, score = (values.to(x.dtype) for values in estimator.log_prob_and_score(x))
        (gradient,) = torch.autograd.grad(log_prob.sum(), x, create_graph=True)
        # Relative to the samples' scale, so that the loss does not depend on units.
        scale = x.detach().std(0).clamp_min(torch.finfo(x.dtype).tiny)
        gap: Tensor = ((score - gradient) * scale).square().sum()
        size: Tensor = (score.detach() * scale).square().sum()
    return gap / size.clamp_min(torch.finfo(x.dtype).tiny)


def criterion(estimator: Any, x: Tensor, probes: Tensor, scale: Tensor) -> Tensor:
    """The implicit score-matching loss of each row of x (m, d), over d; infinite where it is not finite.

    In units of the samples' scale (d,), with Hutchinson's estimate of the divergence from fixed probes (m, k, d).
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        score = estimator.score(x).to(x.dtype)
        scale = scale.clamp_min(torch.finfo(x.dtype).tiny)
        divergence = torch.zeros_like(x[:, 0])
        for probe in probes.to(score.dtype).unbind(1):
            (product,) = torch.autograd.grad((score * scale * probe).sum(), x, retain_graph=True)
            divergence += (product * scale * probe).sum(-1) / probes.shape[1]
    score = (score.detach() * scale).double()
    rows: Tensor = (0.5 * score.square().sum(-1) + divergence.detach().double()) / x.shape[1]
    return rows.nan_to_num(nan=math.inf, neginf=math.inf)


def improves(judged: Tensor, first: Tensor, counts: Tensor | None = None) -> bool:
    """Whether the mean fell clearly, for all that the best of many steps falls a little by chance."""
    return bool(fall(judged, first, counts) > _CLEARLY)


def fall(judged: Tensor, first: Tensor, counts: Tensor | None = None) -> Tensor:
    """By how many standard errors of the paired differences each mean over rows fell; rows count by what they are worth."""
    gain = first - judged
    return mean(gain, counts) / mean_error(gain, counts)


def mean_error(rows: Tensor, counts: Tensor | None) -> Tensor:
    """The standard error of the mean over rows (n, ...), which count by what they are worth."""
    if counts is None:
        return rows.std(0) / math.sqrt(len(rows))
    return (mean((rows - mean(rows, counts)).square(), counts) / counts.sum()).sqrt()


def mean(rows: Tensor, counts: Tensor | None) -> Tensor:
    """The mean over rows (n, ...), which count by what they are worth."""
    if counts is None:
        return rows.mean(0)
    weighted: Tensor = torch.tensordot((counts / counts.sum()).to(rows), rows, 1)
    return weighted


def deviation(rows: Tensor, counts: Tensor | None) -> Tensor:
    """The standard deviation over rows (n, ...), which count by what they are worth."""
    if counts is None:
        return rows.std(0)
    return mean((rows - mean(rows, counts)).square(), counts).sqrt()
