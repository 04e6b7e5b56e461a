"""Held-out log-likelihood of tables bundled with scikit-learn, beside the density estimators people use.

Every table is dequantised once, for all methods alike (a uniform draw in each recorded cell; see
`disco_samplers.integrations.sklearn.table`), and columns without any variation are dropped, so that a density exists and no
method can win by an infinite one at a tie. Columns are standardised by the training rows, for all methods; the log-likelihood
is per row, in nats, and so up to a constant that is the same for all. Rows are split 80:20 at random, several times.

DiScoFormer's density need not integrate to one, so its normaliser is taken off: by importance sampling up to 20 columns, by
annealed importance sampling (Neal 2001) through Metropolis-adjusted Langevin steps beyond. There it is run both ways: forward,
from a Gaussian, its error makes the normaliser too small, in reverse, from draws of the estimate, too large (as long as the
draws are good); the larger of the two is taken, so that the error makes this method look worse.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import warnings
from functools import cache

import numpy as np
import torch
from disco_samplers.integrations.sklearn import DiscoDensity
from disco_samplers.integrations.sklearn.table import dequantized, resolutions
from report import write
from scipy.stats import multivariate_normal, rankdata
from sklearn.covariance import OAS
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from disco_samplers.reference import KDE


@cache
def tables() -> dict[str, np.ndarray]:
    """The bundled tables, dequantised; of some also one class, or the first columns."""
    wine, cancer, digits = (load(return_X_y=True) for load in (load_wine, load_breast_cancer, load_digits))
    raw = {
        "iris": load_iris().data,
        "linnerud": np.concatenate([load_linnerud().data, load_linnerud().target], 1),
        "diabetes": load_diabetes(scaled=False).data,
        "wine": wine[0],
        "wine, class 1": wine[0][wine[1] == 1],
        "cancer, means": cancer[0][:, :10],
        "cancer, benign": cancer[0][cancer[1] == 1],
        "cancer": cancer[0],
        "digits, class 3": digits[0][digits[1] == 3],
    }
    rng = np.random.RandomState(0)
    found = {}
    for name, x in raw.items():
        kept = x[:, x.std(0) > 0]
        found[name] = dequantized(kept, resolutions(kept), rng)
    return found


def gmm(x: np.ndarray) -> GaussianMixture:
    """A mixture by EM, components and kind of covariance by BIC."""
    fits = []
    for kind in ("full", "diag"):
        for k in (1, 2, 3, 4, 6, 8):
            if 5 * k <= len(x):
                fits.append(GaussianMixture(k, covariance_type=kind, reg_covar=1e-4, random_state=0).fit(x))
    return min(fits, key=lambda fit: fit.bic(x))


def disco(x: np.ndarray, y: np.ndarray, marginals: str = "johnson") -> tuple[np.ndarray, float]:
    """Log-density at y and the standard error of its normaliser. No dequantisation: the tables have it already."""
    density = DiscoDensity(marginals=marginals, normalize=False).fit(x)
    inner = density.estimate_
    if x.shape[1] <= 20:
        log_z, error = inner.log_normalizer(num_samples=4096, generator=torch.Generator().manual_seed(0))
    else:
        log_z, error = max(annealed(inner, reverse=reverse) for reverse in (False, True))
    return density.score_samples(y) - log_z, error


def annealed(estimate: object, *, reverse: bool, chains: int = 48, temperatures: int = 200) -> tuple[float, float]:
    """log Z and its standard error by annealed importance sampling from a standard normal, or to it, in whitened coordinates.

    The transitions are Metropolis-adjusted Langevin steps whose step size follows the acceptance.
    """
    generator = torch.Generator().manual_seed(0)
    d = estimate.whiten(estimate.samples[None]).shape[-1]
    z = torch.randn(chains, d, generator=generator, dtype=torch.float64)
    if reverse:
        z = estimate.whiten(estimate.sample(chains, generator=generator, num_steps=300)[None])[0]

    def parts(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        log_f, score = estimate.estimator.core.white(at[None])
        return -0.5 * (at.square().sum(-1) + d * math.log(2 * math.pi)), log_f[0], score[0]

    with torch.no_grad():
        log_q, log_f, score = parts(z)
        log_w, step = torch.zeros(chains, dtype=torch.float64), 0.2 * d ** (-1 / 3)
        path = np.linspace(0, 1, temperatures + 1)
        for before, t in itertools.pairwise(path[::-1] if reverse else path):
            log_w += (t - before) * (log_f - log_q)
            drift = (1 - t) * -z + t * score
            new = z + step * drift + math.sqrt(2 * step) * torch.randn(z.shape, generator=generator, dtype=z.dtype)
            new_q, new_f, new_score = parts(new)
            back = (1 - t) * -new + t * new_score
            ratio = (1 - t) * (new_q - log_q) + t * (new_f - log_f)
            ratio += ((new - z - step * drift).square() - (z - new - step * back).square()).sum(-1) / (4 * step)
            accepted = torch.rand(chains, generator=generator, dtype=z.dtype).log() < ratio
            z, score = (torch.where(accepted[:, None], a, b) for a, b in ((new, z), (new_score, score)))
            log_q, log_f = torch.where(accepted, new_q, log_q), torch.where(accepted, new_f, log_f)
            step *= math.exp(0.3 * (float(accepted.double().mean()) - 0.6))
    log_mean = float(log_w.logsumexp(0)) - math.log(chains)
    error = float((log_w - log_mean).exp().std()) / math.sqrt(chains)
    return -log_mean if reverse else log_mean, error


def gaussian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    fit = OAS().fit(x)
    return multivariate_normal(fit.location_, fit.covariance_, allow_singular=True).logpdf(y)


METHODS = {
    "DiscoDensity": disco,
    "GMM, BIC": lambda x, y: (gmm(x).score_samples(y), 0.0),
    "KDE, leave-one-out": lambda x, y: (KDE(x, "loo").log_prob(y), 0.0),
    "KDE, Scott": lambda x, y: (KDE(x, "scott").log_prob(y), 0.0),
    "Gaussian, shrunk": lambda x, y: (gaussian(x, y), 0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--name", default="tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    started = time.time()
    rows, raw, ranks = [], [], []
    for name, table in tables().items():
        found: dict[str, list[float]] = {method: [] for method in METHODS}
        errors, seconds = [], dict.fromkeys(METHODS, 0.0)
        for split in range(options.splits):
            order = np.random.default_rng(split).permutation(len(table))
            cut = round(0.8 * len(table))
            train, test = table[order[:cut]], table[order[cut:]]
            mean, sd = train.mean(0), train.std(0)
            for method, f in METHODS.items():
                clock = time.perf_counter()
                values, error = f((train - mean) / sd, (test - mean) / sd)
                seconds[method] += time.perf_counter() - clock
                found[method].append(float(np.asarray(values).mean()))
                if method == "DiscoDensity":
                    errors.append(error)
        means = {method: float(np.mean(values)) for method, values in found.items()}
        ranks.append(rankdata([-value for value in means.values()]))
        cells = [name, f"{len(table)} x {table.shape[1]}"]
        for method, values in found.items():
            cells.append(f"{means[method]:.2f} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.2f}")
            raw.append({"table": name, "method": method, "values": values, "seconds": seconds[method]})
        rows.append([*cells, f"{np.mean(errors):.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    rows.append(["**mean rank**", "", *(f"{rank:.2f}" for rank in np.mean(ranks, 0)), ""])
    time_of = {m: sum(r["seconds"] for r in raw if r["method"] == m) for m in METHODS}
    rows.append(["time, DiscoDensity = 1", "", *(f"{t / time_of['DiscoDensity']:.2f}" for t in time_of.values()), ""])
    about = __doc__.split("\n", 1)[1].strip() + f"\n\nMean of {options.splits} splits ± standard error over them."
    header = ["table", "rows x columns", *METHODS, "s.e. of log Z"]
    write(options.name, "Held-out log-likelihood", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
