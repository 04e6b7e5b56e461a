"""Density of columns with a support, at its edges and between them, beside reflected and transformed estimators.

"DiScoFormer" reads the rows with `support=`, by either set of weights. "KDE reflected" has the bandwidth of highest
leave-one-out likelihood (of 2000 rows, scaled by n^(-1/(d + 4)) for more) and is mirrored at every edge, "KDE logs" and "EM
logs" are of the logarithms of positive columns and the logits of those in an interval, EM with the number of components by
Schwarz's criterion. Error: integrated squared error of the density in % of the integral of its square, over the middle 99.9 %
of the mass. Log: mean squared error of the log-density there, in nats squared. Edge: root mean square of the relative error, in
%, at the edges where the density is finite and not zero and at the points that cut off a thousandth and a hundredth of the mass
next to each edge (of the square along its middle and along its diagonal, its corners).
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import WEIGHTS, cached, spread, write
from scipy import stats
from torch import Tensor
from torch.distributions import biject_to, constraints

from disco_samplers import DiScoFormer
from disco_samplers.estimators import TransformedEstimator, fit_mixture
from disco_samplers.reference import KDE

SEED = 90_000_000
GRID = 400
MOST = 2000
POSITIVE, UNIT = (0.0, None), (0.0, 1.0)
LAWS: dict[str, tuple[Any, tuple[float, float | None], int]] = {
    "uniform": (stats.uniform(), UNIT, 1),
    "Beta(.5, .5)": (stats.beta(0.5, 0.5), UNIT, 1),
    "exponential": (stats.expon(), POSITIVE, 1),
    "half-normal": (stats.halfnorm(), POSITIVE, 1),
    "truncated normal": (stats.truncnorm(-0.5, math.inf, loc=0.5), POSITIVE, 1),
    "gamma(2)": (stats.gamma(2), POSITIVE, 1),
    "lognormal": (stats.lognorm(1.0), POSITIVE, 1),
    "uniform square": (stats.uniform(), UNIT, 2),
}
METHODS = [*(f"DiScoFormer {name}" for name in WEIGHTS), "KDE reflected", "KDE logs", "EM logs"]
Cell = dict[str, list[tuple[float, float, float]]]
"""Error, log and edge of each method on each data set."""


def kernels(x: Tensor) -> KDE:
    """A kernel density estimate with the bandwidth of highest leave-one-out likelihood of at most 2000 of the rows."""
    n, d = x.shape
    some = KDE(x[:MOST], "loo")
    return some if n <= MOST else KDE(x, float(some.bandwidth) * (MOST / n) ** (1 / (d + 4)))


class Reflected:
    """A kernel density estimate mirrored at the edges of every column."""

    def __init__(self, x: Tensor, support: tuple[float, float | None]) -> None:
        self.kde, (self.low, self.high) = kernels(x), support

    def log_prob(self, y: Tensor) -> Tensor:
        images = [y]
        for i in range(y.shape[1]):
            images = [image for one in images for image in self._mirrored(one, i)]
        return torch.stack([self.kde.log_prob(image) for image in images]).logsumexp(0)

    def _mirrored(self, y: Tensor, i: int) -> list[Tensor]:
        found = [y]
        for edge in (self.low, self.high):
            if edge is not None:
                other = y.clone()
                other[:, i] = 2 * edge - y[:, i]
                found.append(other)
        return found


def transformed(make: Any, x: Tensor, support: tuple[float, float | None]) -> TransformedEstimator:
    """An estimator of logarithms or logits."""
    low, high = support
    change = biject_to(constraints.positive if high is None else constraints.interval(low, high)).inv
    return TransformedEstimator(make(change(x)), change, validate_args=False)


def questions(law: Any, support: tuple[float, float | None], d: int) -> tuple[Tensor, Tensor]:
    """Points of equal shares of the mass (m, d), and those at and next to the edges (k, d)."""
    count = GRID if d == 1 else 40
    share = 0.0005 + 0.999 * (np.arange(count) + 0.5) / count
    inner = torch.from_numpy(law.ppf(share))
    ends = [0.0, 0.001, 0.01] + ([] if support[1] is None else [0.99, 0.999, 1.0])
    edge = torch.tensor([p for p in law.ppf(ends) if math.isfinite(law.pdf(p)) and law.pdf(p) > 0])
    if d == 1:
        return inner[:, None], edge[:, None]
    return torch.cartesian_prod(inner, inner), torch.cat([torch.stack([edge, edge], 1), torch.stack([edge, 0.5 + 0 * edge], 1)])


def one_set(name: str, n: int, index: int) -> dict[str, tuple[float, float, float]]:
    """What every method makes of one data set."""
    law, support, d = LAWS[name]
    rng = np.random.default_rng(SEED + 100 * n + index)
    x = torch.from_numpy(law.rvs((n, d), random_state=rng))
    inner, edge = questions(law, support, d)
    y = torch.cat([inner, edge])
    true = torch.from_numpy(law.logpdf(y.numpy())).sum(1)
    made = {
        f"DiScoFormer {weights}": partial(DiScoFormer.from_pretrained(weights).condition, x, support=[support] * d)
        for weights in WEIGHTS
    }
    made |= {
        "KDE reflected": partial(Reflected, x, support),
        "KDE logs": partial(transformed, kernels, x, support),
    }
    made |= {"EM logs": partial(transformed, fit_mixture, x, support)}
    found = {}
    for method, make in made.items():
        asked = (
            y
            if method.startswith("Di") or method == "KDE reflected"
            else y.clamp(1e-9, None if support[1] is None else 1 - 1e-9)
        )
        log = make().log_prob(asked) - true
        density, off = true[: len(inner)].exp(), (log.exp() - 1)[: len(inner)]
        error = float((off.square() * density).mean() / density.mean())
        found[method] = (
            error,
            float(log[: len(inner)].square().mean()),
            float((log[len(inner) :].exp() - 1).square().mean().sqrt()),
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 1000, 10_000], help="(default: %(default)s)")
    parser.add_argument("--sets", type=int, nargs="+", default=[20, 20, 20], help="data sets of each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="100 rows, one set")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.sets = [100], [1]
    started = time.time()
    torch.set_num_threads(1)
    rows, raw = [], []
    for n, sets in zip(options.rows, options.sets, strict=True):
        for law in LAWS:
            cell: Cell = {method: [] for method in METHODS}
            for index in range(sets):
                part = f"{law.replace(' ', '_')}_{n}_{index}"
                for method, value in cached(options.cache, part, partial(one_set, law, n, index)).items():
                    cell[method].append(value)
            texts = []
            for method in METHODS:
                error, log, edge = (spread(column) for column in zip(*cell[method], strict=True))
                texts.append(f"{100 * error[0]:.2f} ± {100 * error[1]:.2f} / {log[0]:.2g} / {100 * edge[0]:.1f}")
                record = {"law": law, "n": n, "sets": sets, "method": method, "error": error[0], "error_se": error[1]}
                raw.append(record | {"log": log[0], "log_se": log[1], "edge": edge[0], "edge_se": edge[1]})
            rows.append([law, str(n), str(sets), *texts])
            print(*rows[-1], sep=" | ", flush=True)
    told = "Means over data sets, with the standard error of the first: error / log / edge."
    name = "supports_quick" if options.quick else "supports"
    write(
        name,
        "Supports",
        f"{__doc__.split(chr(10), 1)[1].strip()}\n\n{told}",
        ["law", "n", "sets", *METHODS],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
