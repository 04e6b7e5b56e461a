"""Held-out laws of a target given features: log-density, CRPS and coverage, beside the regressors people use.

`DiscoRegressor` is as it comes: how it reads the rows, and the power of its density, are chosen by the training rows alone. The
Gaussian process has a kernel of one length a feature and noise, by maximum likelihood. Gradient boosting gives 19 quantiles
(scikit-learn's histogram trees), sorted; between them the distribution function is linear, beyond them its tails are
exponential. The mixture is of all columns, by EM, its components and kind of covariance by BIC. The kernel estimate has one
bandwidth for the features and one for the target, of highest leave-one-out conditional likelihood. The tables bundled with
scikit-learn are dequantised once, for all methods alike, and split 80:20 at random; made ones have 400 rows to train on and 200
to be judged by. Features and targets are standardised by the training rows, for all methods.

Each cell: log-density of the target in nats, CRPS in the target's standard deviations (lower is better), and the share of
targets in the intervals from the 5 % to the 95 % quantile, of all judged rows of all splits, with its standard error over
splits. Best in log-density: where no method is ahead by more than a standard error of the paired differences over splits.
Calibrated: where that share is within 87 and 93 %, and "nearly" where it is no more than two of its standard errors outside.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from disco_samplers.integrations.sklearn import DiscoRegressor
from disco_samplers.integrations.sklearn.table import dequantized, resolutions
from report import cached, spread, write
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.mixture import GaussianMixture

SEED = 91_000_000
LEVELS = np.arange(1, 20) / 20
ROWS, JUDGED = 400, 200
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Answer = tuple[np.ndarray, np.ndarray]
"""Log-density (m,) of the targets, and 19 quantiles (m, 19), of which CRPS and coverage are made."""


def heteroscedastic(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.uniform(-2, 2, (n, 1))
    return x, np.sin(2 * x[:, 0]) + (0.1 + 0.4 * np.abs(x[:, 0])) * rng.normal(size=n)


def bimodal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.uniform(-2, 2, (n, 1))
    return x, rng.choice([-1, 1], n) * (1 + 0.5 * x[:, 0]) + 0.2 * rng.normal(size=n)


def heavy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(n, 3))
    return x, x[:, 0] - 0.5 * x[:, 1] + 0.5 * x[:, 2] ** 2 + 0.5 * rng.standard_t(2, size=n)


def skewed(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(n, 2))
    return x, rng.gamma(2.0, size=n) * np.exp(0.5 * x[:, 0] - 0.3 * x[:, 1])


def friedman(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.random((n, 5))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y + rng.normal(size=n)


MADE = {"heteroscedastic": heteroscedastic, "bimodal": bimodal, "heavy tails": heavy, "skewed": skewed, "Friedman": friedman}


def bundled() -> dict[str, tuple[np.ndarray, int]]:
    """Tables, and the number of the column that is the target."""
    diabetes = load_diabetes(scaled=False)
    raw = {
        "diabetes": (np.c_[diabetes.data, diabetes.target], 10),
        "iris, petal width": (load_iris().data, 3),
        "wine, alcohol": (load_wine().data, 0),
        "cancer, smoothness": (load_breast_cancer().data[:, :10], 4),
    }
    rng = np.random.RandomState(0)
    return {name: (dequantized(x, resolutions(x), rng), target) for name, (x, target) in raw.items()}


def split(name: str, index: int) -> Split:
    """Features and targets to train on, and those to be judged by."""
    rng = np.random.default_rng(SEED + index)
    if name in MADE:
        x, y = MADE[name](rng, ROWS + JUDGED)
        cut = ROWS
    else:
        table, target = bundled()[name]
        table = table[rng.permutation(len(table))]
        x, y, cut = np.delete(table, target, 1), table[:, target], round(0.8 * len(table))
    x, y = (x - x[:cut].mean(0)) / x[:cut].std(0), (y - y[:cut].mean()) / y[:cut].std()
    return x[:cut], y[:cut], x[cut:], y[cut:]


def disco(x: np.ndarray, y: np.ndarray, at: np.ndarray, target: np.ndarray) -> Answer:
    fitted = DiscoRegressor().fit(x, y)
    return fitted.log_prob(at, target), fitted.predict_quantiles(at, LEVELS)


def gaussian_process(x: np.ndarray, y: np.ndarray, at: np.ndarray, target: np.ndarray) -> Answer:
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(np.ones(x.shape[1]), (1e-2, 1e3)) + WhiteKernel(0.1, (1e-4, 10))
    mean, sd = GaussianProcessRegressor(kernel, random_state=0).fit(x, y).predict(at, return_std=True)
    return norm.logpdf(target, mean, sd), mean[:, None] + sd[:, None] * norm.ppf(LEVELS)


def boosting(x: np.ndarray, y: np.ndarray, at: np.ndarray, target: np.ndarray) -> Answer:
    fits = [
        HistGradientBoostingRegressor(loss="quantile", quantile=q, max_iter=60, learning_rate=0.07, random_state=0).fit(x, y)
        for q in LEVELS
    ]
    quantiles = np.sort(np.stack([fit.predict(at) for fit in fits], 1), 1)
    gaps = np.diff(quantiles).clip(1e-3)
    step = LEVELS[1] - LEVELS[0]
    place = (quantiles < target[:, None]).sum(1)
    inner = np.log(step / np.take_along_axis(gaps, (place - 1).clip(0, 17)[:, None], 1)[:, 0])
    tails = []
    for end, outer in ((quantiles[:, 0] - target, gaps[:, 0]), (target - quantiles[:, -1], gaps[:, -1])):
        width = outer * LEVELS[0] / step
        tails.append(np.log(LEVELS[0]) - np.log(width) - end.clip(0) / width)
    return np.select([place == 0, place == 19], tails, inner), quantiles


def mixture(x: np.ndarray, y: np.ndarray, at: np.ndarray, target: np.ndarray) -> Answer:
    z, d = np.c_[x, y], x.shape[1]
    fits = [
        GaussianMixture(k, covariance_type=kind, reg_covar=1e-4, random_state=0).fit(z)
        for kind in ("full", "diag")
        for k in (1, 2, 3, 4, 6, 8)
        if 5 * k <= len(z)
    ]
    best = min(fits, key=lambda fit: fit.bic(z))
    log_weights, means, sds = [], [], []
    for weight, mean, kept in zip(best.weights_, best.means_, best.covariances_, strict=True):
        covariance = kept if kept.ndim == 2 else np.diag(kept)
        inner = covariance[:d, :d]
        slope = np.linalg.solve(inner, covariance[:d, d])
        off = at - mean[:d]
        distance = (off * np.linalg.solve(inner, off.T).T).sum(1)
        log_weights.append(np.log(weight) - 0.5 * (distance + np.linalg.slogdet(inner)[1]))
        means.append(mean[d] + off @ slope)
        sds.append(np.full(len(at), math.sqrt(covariance[d, d] - covariance[:d, d] @ slope)))
    return normals(np.stack(log_weights, 1), np.stack(means, 1), np.stack(sds, 1), target)


def kernels(x: np.ndarray, y: np.ndarray, at: np.ndarray, target: np.ndarray) -> Answer:
    distance = ((x[:, None] - x) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    grid = np.geomspace(0.03, 2.0, 16)
    scores = {}
    for h in grid:
        weights = -0.5 * distance / h**2
        weights = weights - logsumexp(weights, 1, keepdims=True)
        for b in grid:
            scores[h, b] = logsumexp(weights + norm.logpdf(y[:, None], y, b), 1).mean()
    h, b = max(scores, key=lambda pair: np.nan_to_num(scores[pair], nan=-np.inf))
    log_weights = -0.5 * ((at[:, None] - x) ** 2).sum(-1) / h**2
    return normals(log_weights, np.broadcast_to(y, log_weights.shape), np.full_like(log_weights, b), target)


def normals(log_weights: np.ndarray, means: np.ndarray, sds: np.ndarray, target: np.ndarray) -> Answer:
    """The answer of mixtures of normal laws, all (m, k)."""
    log_weights = log_weights - logsumexp(log_weights, 1, keepdims=True)
    log_prob = logsumexp(log_weights + norm.logpdf(target[:, None], means, sds), 1)
    weights = np.exp(log_weights)
    low, high = (
        np.broadcast_to((means + s * 8 * sds).min(1) if s < 0 else (means + s * 8 * sds).max(1), len(target)) for s in (-1, 1)
    )
    low, high = (np.repeat(end[:, None], len(LEVELS), 1) for end in (low, high))
    for _ in range(50):
        middle = (low + high) / 2
        below = np.stack([(weights * norm.cdf(column[:, None], means, sds)).sum(1) for column in middle.T], 1) < LEVELS
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return log_prob, (low + high) / 2


METHODS: dict[str, Callable[..., Answer]] = {
    "DiscoRegressor": disco,
    "Gaussian process": gaussian_process,
    "boosted quantiles": boosting,
    "mixture, EM": mixture,
    "kernels": kernels,
}


def one_split(name: str, index: int) -> dict[str, dict[str, float]]:
    """What every method makes of one split."""
    x, y, at, target = split(name, index)
    found = {}
    for method, answer in METHODS.items():
        started = time.perf_counter()
        log_prob, quantiles = answer(x, y, at, target)
        error = target[:, None] - quantiles
        found[method] = {
            "log_density": float(log_prob.mean()),
            # Twice the mean of the quantile losses at 19 levels.
            "crps": float(2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean()),
            "coverage": float(((target > quantiles[:, 0]) & (target < quantiles[:, -1])).mean()),
            "seconds": time.perf_counter() - started,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in, see CONTRIBUTING.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    started = time.time()
    names = [*bundled(), *MADE]
    found: dict[str, list[Any]] = {name: [] for name in names}
    for index in range(options.splits):
        for name in names:
            found[name].append(cached(options.cache, f"{name} {index}", lambda name=name, index=index: one_split(name, index)))
            print(name, index, {m: round(v["log_density"], 3) for m, v in found[name][-1].items()}, flush=True)
    rows, raw, wins, calibrated = [], [], 0, 0
    for name in names:
        values = {m: {key: [part[m][key] for part in found[name]] for key in found[name][0][m]} for m in METHODS}
        ours = np.array(values["DiscoRegressor"]["log_density"])
        gaps = [spread(list(np.array(values[m]["log_density"]) - ours)) for m in METHODS if m != "DiscoRegressor"]
        best = all(mean <= error for mean, error in gaps)
        wins += best
        cells = []
        for measured in values.values():
            log_density, error = spread(measured["log_density"])
            crps, (covered, off) = spread(measured["crps"])[0], spread(measured["coverage"])
            cells.append(f"{log_density:.3f} ± {error:.3f} / {crps:.3f} / {100 * covered:.1f} ± {100 * off:.1f} %")
        covered, off = spread(values["DiscoRegressor"]["coverage"])
        outside = max(0.87 - covered, covered - 0.93)
        calibrated += outside <= 0
        said = "yes" if outside <= 0 else "nearly" if outside <= 2 * off else "no"
        rows.append([name, *cells, "yes" if best else "no", said])
        raw += [{"table": name, "method": m, **measured} for m, measured in values.items()]
    seconds = {m: float(np.mean([s for r in raw if r["method"] == m for s in r["seconds"]])) for m in METHODS}
    ratio = [f"{s / seconds['DiscoRegressor']:.2f}" for s in seconds.values()]
    rows.append(["time, DiscoRegressor = 1", *ratio, *(f"{count} of {len(names)}" for count in (wins, calibrated))])
    about = __doc__.split("\n", 1)[1].strip() + f"\n\nMeans of {options.splits} splits ± standard error over them."
    header = ["table", *METHODS, "DiscoRegressor best in log-density", "DiscoRegressor calibrated"]
    write("regression", "Laws of a target given features", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
