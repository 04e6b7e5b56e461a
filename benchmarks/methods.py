"""The methods that the benchmarks set side by side, and the errors they are judged by."""

from __future__ import annotations

import math
import warnings
from functools import partial

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as EM
from torch import Tensor

from disco_samplers.reference import KDE, SSGE, GaussianMixture, NuMethod

Answer = tuple[Tensor, Tensor]
"""Log-density (m,) and score (m, d) at the queries."""


def errors(answer: Answer, truth: Answer) -> tuple[float, float]:
    """Relative score error and log-density mean squared error."""
    (log_prob, score), (true_log_prob, true_score) = answer, truth
    relative = (score - true_score).square().sum() / true_score.square().sum()
    return float(relative), float((log_prob - true_log_prob).square().mean())


def best_kde(x: Tensor, y: Tensor, truth: Answer) -> tuple[float, float]:
    """The lowest error any bandwidth gives, for each metric on its own, with kernels in the data's or in whitened coordinates.

    Searched from coarse to fine: 10 bandwidths over two decades, then 9 more around the best for each metric.
    """
    n, d = x.shape
    best = [math.inf, math.inf]
    for whiten in (False, True):
        matrix = (
            torch.linalg.inv(torch.linalg.cholesky(torch.atleast_2d(x.T.cov()))).T if whiten else torch.eye(d, dtype=x.dtype)
        )
        xw, yw = (x - x.mean(0)) @ matrix, (y - x.mean(0)) @ matrix
        squared = torch.cdist(yw, xw).square()
        scott = n ** (-1 / (d + 4)) * float(xw.std(0).mean())
        judge = partial(_kde_errors, squared, xw, yw, matrix, truth)
        exponents = torch.linspace(-1.3, 0.6, 10, dtype=torch.float64)
        coarse = torch.tensor([judge(scott * 10**e) for e in exponents.tolist()])
        width = float(exponents[1] - exponents[0])
        for metric in range(2):
            center = float(exponents[coarse[:, metric].argmin()])
            fine = [judge(scott * 10 ** (center + width * k / 5))[metric] for k in range(-4, 5)]
            best[metric] = min(best[metric], *fine)
    return best[0], best[1]


def _kde_errors(squared: Tensor, xw: Tensor, yw: Tensor, matrix: Tensor, truth: Answer, h: float) -> tuple[float, float]:
    """The errors of a KDE of bandwidth h in coordinates x @ matrix, from the squared distances there."""
    n, d = xw.shape
    logits = squared / (-2 * h * h)
    largest = logits.amax(1, keepdim=True)
    weights = logits.sub_(largest).exp_()  # the exponentials are most of the cost: taken once, in place
    total = weights.sum(1, keepdim=True)
    log_norm = math.log(n) + d * math.log(h) + 0.5 * d * math.log(2 * math.pi) - torch.linalg.slogdet(matrix)[1]
    log_prob = (total.log() + largest)[:, 0] - log_norm
    score = (weights @ xw / total - yw) / h**2 @ matrix.T
    return errors((log_prob, score), truth)


def loo_kde(x: Tensor, most: int = 2048) -> KDE:
    """A KDE with leave-one-out bandwidth; for more samples that of the first ``most``, brought to n at its theoretical rate."""
    n, d = x.shape
    return KDE(x, KDE(x[:most], "loo").bandwidth * max(1.0, n / most) ** (-1 / (d + 4)))


def em(x: Tensor) -> GaussianMixture:
    """A mixture by EM with number of components and kind of covariance chosen by BIC."""
    best = None
    for kind in ("full", "diag"):
        for k in range(1, 13):
            if k * 2 > len(x):
                break
            fit = _fit(x, k, kind)
            bic = fit.bic(x.numpy())
            if best is None or bic < best[0]:
                best = (bic, fit)
            elif k > 3 and bic > best[0] + 200:
                break
    return _mixture(best[1])


def fit_mixture(x: Tensor, k: int, kind: str) -> GaussianMixture:
    """A mixture of k components by EM, the best of three starts."""
    return _mixture(_fit(x, k, kind, starts=3))


def _fit(x: Tensor, k: int, kind: str, starts: int = 1) -> EM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return EM(k, covariance_type=kind, reg_covar=1e-3, n_init=starts, random_state=0).fit(x.numpy())


def _mixture(fit: EM) -> GaussianMixture:
    return GaussianMixture(*(torch.from_numpy(a) for a in (fit.weights_, fit.means_, fit.covariances_)))


def best_kernel_score(x: Tensor, y: Tensor, truth: Answer) -> float:
    """The lowest relative score error of SSGE and the nu-method over their settings, chosen knowing the answer."""
    deviation = x.std(0)
    x, y, true = x / deviation, y / deviation, truth[1] * deviation
    median = float(torch.pdist(x[:500]).median())
    estimators = [
        make(x, factor * median)
        for factor in (0.15, 0.3, 0.6, 1.0)
        for make in (
            lambda x, h: SSGE(x, h, share=0.99),
            lambda x, h: NuMethod(x, h, iterations=30),
            lambda x, h: NuMethod(x, h, iterations=200),
        )
    ]
    total = (true / deviation).square().sum()
    return min(float(((f.score(y) - true) / deviation).square().sum() / total) for f in estimators)
