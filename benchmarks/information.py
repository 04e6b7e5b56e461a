"""Entropy and mutual information from samples, beside nearest-neighbour and kernel estimators: error against n.

Targets with exact values: a correlated Gaussian; the mixture of three Gaussians, rotated, with the entropy by 200,000 draws of
the exact log-density (standard error below .005 d); a Student-t with five degrees of freedom; a lognormal, exp of the
Gaussian by column. Mutual information of the first half of a Gaussian's columns with the second. Error: root mean square over
sets, in nats. "sample" is minus the mean of the exact log-density over the very samples: what knowing the density would give.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from report import write
from scipy.special import digamma, gammaln
from sklearn.feature_selection import mutual_info_regression
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from disco_samplers.measures import entropy, mutual_information
from disco_samplers.reference import KDE, Gaussian, GaussianMixture, StudentT

SEED = 30_000_000


def gaussian(d: int, generator: torch.Generator) -> Gaussian:
    a = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return Gaussian(torch.zeros(d, dtype=torch.float64), a @ a.T / d + 0.3 * torch.eye(d, dtype=torch.float64))


def target(kind: str, d: int, n: int, generator: torch.Generator) -> tuple[Tensor, float, float]:
    """Samples, exact entropy and the mean of minus the exact log-density over the samples."""
    f = gaussian(d, generator)
    if kind == "mixture":
        a = torch.randn(3, d, d, generator=generator, dtype=torch.float64)
        means = 2 * torch.randn(3, d, generator=generator, dtype=torch.float64)
        covariances = a @ a.mT / d + 0.3 * torch.eye(d, dtype=torch.float64)
        f = GaussianMixture(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, covariances)
    if kind == "student":
        f = StudentT(f.means[0], f.covariances[0], 5.0)
    x = f.draw(n, generator)
    own = -float(f.evaluate(x).mean())
    if kind in ("gaussian", "lognormal"):
        exact = 0.5 * (d * math.log(2 * math.pi * math.e) + float(torch.logdet(f.covariances[0])))
    else:
        exact = -float(f.evaluate(f.draw(200_000, generator)).mean())
    # The mean of the logarithms is zero, so exp by column leaves the exact entropy as it is.
    return (x.exp(), exact, own + float(x.sum(1).mean())) if kind == "lognormal" else (x, exact, own)


def nearest_neighbours(x: Tensor, k: int = 3) -> float:
    """Kozachenko-Leonenko entropy, of the standardised columns."""
    n, d = x.shape
    sd = x.std(0)
    r = NearestNeighbors(n_neighbors=k).fit(x / sd).kneighbors()[0][:, -1]
    ball = d / 2 * math.log(math.pi) - gammaln(d / 2 + 1)
    return float(digamma(n) - digamma(k) + ball + d * np.log(r).mean() + sd.log().sum())


def kernels(x: Tensor) -> float:
    """Leave-one-out plug-in of a KDE with the samples' covariance and leave-one-out bandwidth, from 512 rows brought to n."""
    bandwidth = KDE(x[:512], "loo", whiten=True).bandwidth
    kde = KDE(x, bandwidth * max(1.0, len(x) / 512) ** (-1 / (x.shape[1] + 4)), whiten=True)
    own = kde._log_norm(kde.bandwidth) + float(kde._log_det)
    log_prob = torch.as_tensor(kde.log_prob(x))
    rest = torch.log((-torch.expm1(own - log_prob)).clamp_min(1e-300)) + log_prob - math.log1p(-1 / len(x))
    return -float(rest.mean())


def ksg(x: Tensor, y: Tensor, k: int = 3) -> float:
    """The first estimator of Kraskov, Stogbauer and Grassberger (2004)."""
    x, y = x / x.std(0), y / y.std(0)
    n = len(x)
    if x.shape[1] == y.shape[1] == 1:
        return float(mutual_info_regression(x.numpy(), y[:, 0].numpy(), n_neighbors=k, random_state=0)[0])
    counts = []
    for rows in torch.arange(n).split(500):
        distance = [torch.cdist(t[rows], t) for t in (x, y)]
        for t in distance:
            t[torch.arange(len(rows)), rows] = torch.inf
        radius = torch.maximum(*distance).kthvalue(k, 1).values[:, None]
        counts.append(np.stack([(t < radius).sum(1).numpy() for t in distance]))
    return float(digamma(k) + digamma(n) - digamma(np.concatenate(counts, 1) + 1).mean(1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 10, 20, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--sets", type=int, default=8)
    parser.add_argument("--name", default="information")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    rows, raw = [], []
    for what in ("gaussian", "mixture", "student", "lognormal", "mutual information"):
        for d in options.dims:
            for n in options.sizes:
                if what == "mutual information" and d == 1:
                    continue
                errors: dict[str, list[float]] = {"sample": [], "DiScoFormer": [], "nearest neighbours": [], "KDE": []}
                for index in range(options.sets):
                    generator = torch.Generator().manual_seed(SEED + 10_000 * d + 100 * index + int(math.log2(n)))
                    if what == "mutual information":
                        found, exact = mutual(d, n, generator)
                    else:
                        x, exact, own = target(what, d, n, generator)
                        found = {
                            "sample": own,
                            "DiScoFormer": float(entropy(x)),
                            "nearest neighbours": nearest_neighbours(x),
                            "KDE": kernels(x),
                        }
                    for method, value in found.items():
                        errors[method].append(value - exact)
                cells = [what, str(d), str(n)]
                for method, values in errors.items():
                    square = np.square(values)
                    rms = math.sqrt(square.mean())
                    # Delta method for the root of a mean.
                    spread = square.std(ddof=1) / math.sqrt(len(values)) / (2 * rms)
                    cells.append(f"{rms:.3f} ± {spread:.3f}")
                    raw.append({"target": what, "d": d, "n": n, "method": method, "errors": values})
                rows.append(cells)
                print(" | ".join(cells), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{options.sets} sets a cell, ± standard error. Nearest neighbours: "
    about += "Kozachenko-Leonenko for entropy, KSG for mutual information, k = 3. KDE: leave-one-out plug-in."
    header = ["target", "d", "n", "sample", "DiScoFormer", "nearest neighbours", "KDE"]
    write(options.name, "Information quantities", about, header, rows, raw, started)


def mutual(d: int, n: int, generator: torch.Generator) -> tuple[dict[str, float], float]:
    """Mutual information of the first d // 2 columns of a Gaussian with the rest, by each method, and the exact one."""
    f, h = gaussian(d, generator), d // 2
    c = f.covariances[0]
    exact = 0.5 * float(torch.logdet(c[:h, :h]) + torch.logdet(c[h:, h:]) - torch.logdet(c))
    xy = f.draw(n, generator)
    x, y = xy[:, :h], xy[:, h:]
    marginal = Gaussian(f.means[0][:h], c[:h, :h]), Gaussian(f.means[0][h:], c[h:, h:])
    return {
        "sample": float((f.evaluate(xy) - marginal[0].evaluate(x) - marginal[1].evaluate(y)).mean()),
        "DiScoFormer": float(mutual_information(x, y)),
        "nearest neighbours": ksg(x, y),
        "KDE": kernels(x) + kernels(y) - kernels(xy),
    }, exact


if __name__ == "__main__":
    main()
