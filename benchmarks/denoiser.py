"""Noise of a known level taken off, from clean samples: the network that is told it beside what else reads samples.

Mixtures of the published family and rotated ones, of seeds that no training used. Noise is in units of the data's standard
deviation. The figure is the excess of the mean squared error of the denoised point over the best possible one, in parts of the
latter's distance from the noised point, |s - s*|^2 / |s*|^2 of the blurred law's score; geometric mean over sets. "told" is
``DiscoDenoiser``; "noised" is DiScoFormer on the samples with noise added, mean of two copies; "exact" the mean of the samples
weighted by the noise's density; "kernels" the same with normal kernels of the samples' shape, of the width that is best for
other rows (leave one out); "linear" the best linear answer (Wiener); "mixture" EM with BIC, the noise added to its covariances.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from report import write
from sklearn.mixture import GaussianMixture as Fitted
from torch import Tensor

from disco_samplers import DiscoDenoiser, DiScoFormer
from disco_samplers.reference import GaussianMixture, OptimalDenoiser
from disco_samplers.training import FAMILIES

CELLS = [(d, n) for d in (2, 5, 10, 25) for n in (256, 1024)]
NOISES = (0.15, 0.5, 1.5)
METHODS = ("told", "noised", "exact", "kernels", "linear", "mixture")
QUERIES = 300


def law(family: str, d: int, seed: int) -> tuple[GaussianMixture, torch.Generator]:
    """One mixture."""
    generator = torch.Generator().manual_seed(77_000 + seed)
    drawn = FAMILIES[family](1, d, generator)
    full = torch.diag_embed(drawn.covariances[0]) if drawn.diagonal else drawn.covariances[0]
    return GaussianMixture(drawn.weights[0].double(), drawn.means[0].double(), full.double()), generator


def blurred(f: GaussianMixture, sigma: float) -> GaussianMixture:
    return GaussianMixture(f.weights, f.means, f.covariances + sigma**2 * torch.eye(f.means.shape[1]).double())


def kernels(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """The score of a kernel estimate of the samples' shape, blurred."""
    covariance, center = torch.cov(x.T), x.mean(0)
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, (x - center).T, upper=False).T
    gaps = torch.cdist(white, white).square().fill_diagonal_(math.inf)
    widths = torch.logspace(-1.5, 0.3, 12, dtype=torch.float64)
    likely = [float((-gaps / (2 * h**2)).logsumexp(1).mean() - x.shape[1] * h.log()) for h in widths]
    width = float(widths[likely.index(max(likely))])
    own = width**2 * covariance + sigma**2 * torch.eye(x.shape[1]).double()
    return GaussianMixture(torch.ones(len(x)).double(), x, own.expand(len(x), -1, -1)).score(y)


def mixture(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    fits = [Fitted(k, random_state=0, reg_covar=1e-4).fit(x.numpy()) for k in (1, 2, 3, 5, 8, 12) if k * 4 < len(x)]
    best = min(fits, key=lambda fit: fit.bic(x.numpy()))
    parts = (torch.from_numpy(part) for part in (best.weights_, best.means_, best.covariances_))
    return blurred(GaussianMixture(*parts), sigma).score(y)


def scores(x: Tensor, y: Tensor, sigma: float, told: DiscoDenoiser, reader: DiScoFormer, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    covariance = torch.cov(x.T) + sigma**2 * torch.eye(x.shape[1]).double()
    return {
        "told": told.condition(x, sigma).score(y),
        "noised": sum(reader.condition(x + sign * noise).score(y) for sign in (1, -1)) / 2,
        "exact": OptimalDenoiser(x).score(y, sigma),
        "kernels": kernels(x, y, sigma),
        "linear": -torch.linalg.solve(covariance, (y - x.mean(0)).T).T,
        "mixture": mixture(x, y, sigma),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=6, help="of each kind (default: %(default)s)")
    options = parser.parse_args()
    started, rows, raw = time.time(), [], []
    told, reader = DiscoDenoiser.from_pretrained(), DiScoFormer.from_pretrained("rotations")
    for family in ("paper", "rotated"):
        for d, n in CELLS:
            for relative in NOISES:
                errors: dict[str, list[float]] = {name: [] for name in METHODS}
                for seed in range(options.sets):
                    f, generator = law(family, d, seed)
                    x = f.sample(n, generator=generator)
                    sigma = relative * float(x.var(0).mean().sqrt())
                    clean = f.sample(QUERIES, generator=generator)
                    y = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
                    best = blurred(f, sigma).score(y)
                    for name, score in scores(x, y, sigma, told, reader, seed).items():
                        errors[name].append(float((score - best).square().sum() / best.square().sum()))
                means = {name: math.exp(sum(map(math.log, found)) / len(found)) for name, found in errors.items()}
                rows.append([family, str(d), str(n), f"{relative:g}", *(f"{100 * means[name]:.3g} %" for name in METHODS)])
                raw.append({"family": family, "d": d, "n": n, "noise": relative, "errors": errors})
                print(" | ".join(rows[-1]), flush=True)
    write(
        "denoiser",
        "Noise of a known level",
        __doc__.split("\n", 1)[1].strip() + f"\n\n{options.sets} sets a cell.",
        ["law", "d", "n", "noise", *METHODS],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
