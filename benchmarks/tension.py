"""Tension of two posteriors and the two-sample test, by simulation where the answer is known.

Normals in d dimensions, and normals against mixtures of two modes, whose differences are mixtures of known densities. Exact:
the shift of mixtures by a million draws of these, log S and the KL divergence of mixtures by a million draws, all of normals
in closed form; Q_DM, right for normals only, is held against its own value for the moments of the laws. Coverage: share of
repeats with the exact value within 1.96 reported errors. Draws are independent, or autoregressive chains (correlation .8), four
times as many, or drawn from laws of 1.5 times the width and weighted. Alarms of the two-sample test at 5 %, of independent
draws and of such chains of one law; of a shift of one column by .3 standard deviations, and of a correlation of .5 that leaves
both columns as they are.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report import cached, write
from torch import Tensor

from disco_samplers import Draws
from disco_samplers.posteriors import tension, two_sample
from disco_samplers.posteriors.shift import log_chi2, sigmas_of
from disco_samplers.reference import Gaussian, GaussianMixture

MANY = 1_000_000


def mixture(means: list[list[float]], sd: float) -> GaussianMixture:
    centers = torch.tensor(means, dtype=torch.float64)
    return GaussianMixture(torch.ones(len(means)).double(), centers, torch.diag_embed(torch.full_like(centers, sd**2)))


def moved(d: int, shift: float) -> tuple[GaussianMixture, GaussianMixture]:
    return mixture([[0.0] * d], 1.0), mixture([[shift] + [0.0] * (d - 1)], 1.0)


PAIRS = {
    "normals, d = 1, 3 sd apart": moved(1, 3.0),
    "normals, d = 3, 3 sd apart": moved(3, 3.0),
    "normals, d = 3, 7 sd apart": moved(3, 7.0),
    "normals, d = 10, 4 sd apart": moved(10, 4.0),
    "two modes against one, d = 1": (mixture([[-3.0], [3.0]], 0.7), mixture([[0.5]], 0.7)),
    "two modes against one, d = 2": (mixture([[-3.0, 0.0], [3.0, 1.0]], 0.7), mixture([[0.0, 2.0]], 1.0)),
}


QUANTITIES = ("shift, sigmas", "Q_DM, sigmas", "log suspiciousness, nats", "KL divergence, nats")


def exact(a: GaussianMixture, b: GaussianMixture) -> list[float]:
    """The quantities of two laws."""
    if len(a.weights) == len(b.weights) == 1:
        shift, total = (a.means - b.means)[0], (a.covariances + b.covariances)[0]
        q = float(shift @ torch.linalg.solve(total, shift))
        ratio = torch.linalg.solve(b.covariances[0], a.covariances[0])
        moved = float(shift @ torch.linalg.solve(b.covariances[0], shift))
        divergence = 0.5 * (float(ratio.trace() - torch.logdet(ratio)) - a.dim + moved)
        sigmas = sigmas_of(log_chi2(q, a.dim))
        return [sigmas, sigmas, 0.5 * (a.dim - q), divergence]
    means = (a.means[:, None] - b.means).flatten(0, 1)
    covariances = (a.covariances[:, None] + b.covariances).flatten(0, 1)
    law = GaussianMixture((a.weights[:, None] * b.weights).flatten(), means, covariances)
    x = law.draw(MANY, torch.Generator().manual_seed(0))
    below = law.evaluate(x) < law.evaluate(torch.zeros(1, a.dim).double())
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    q = float((mean_a - mean_b) @ torch.linalg.solve(cov_a + cov_b, mean_a - mean_b))
    own_a, own_b, joint = (f.draw(MANY, torch.Generator().manual_seed(k)) for k, f in enumerate((a, b, _product(a, b))))
    log_s = (a.evaluate(joint) + b.evaluate(joint)).mean() - a.evaluate(own_a).mean() - b.evaluate(own_b).mean()
    divergence = (a.evaluate(own_a) - b.evaluate(own_a)).mean()
    return [
        sigmas_of(math.log(float(below.double().mean()))),
        sigmas_of(log_chi2(q, a.dim)),
        float(log_s),
        float(divergence),
    ]


def _moments(law: GaussianMixture) -> tuple[Tensor, Tensor]:
    mean = law.weights @ law.means
    shifts = law.means - mean
    return mean, (law.weights[:, None, None] * (law.covariances + shifts[:, :, None] * shifts[:, None])).sum(0)


def _product(a: GaussianMixture, b: GaussianMixture) -> GaussianMixture:
    """The product of two mixtures, a mixture of the products of their components."""
    pairs = [(i, j) for i in range(len(a.weights)) for j in range(len(b.weights))]
    parts = []
    for i, j in pairs:
        precisions = [torch.linalg.inv(a.covariances[i]), torch.linalg.inv(b.covariances[j])]
        covariance = torch.linalg.inv(precisions[0] + precisions[1])
        mean = covariance @ (precisions[0] @ a.means[i] + precisions[1] @ b.means[j])
        overlap = Gaussian(a.means[i], a.covariances[i] + b.covariances[j]).evaluate(b.means[j][None]).exp()
        parts.append((a.weights[i] * b.weights[j] * overlap[0], mean, covariance))
    weights, means, covariances = (torch.stack(column) for column in zip(*parts, strict=True))
    return GaussianMixture(weights, means, covariances)


def independent(law: GaussianMixture, n: int, generator: torch.Generator) -> Draws:
    return Draws(law.sample(n, generator=generator))


def chains(law: GaussianMixture, n: int, generator: torch.Generator) -> Draws:
    """Of a normal law with unit variances."""
    return Draws(autoregressive(4 * n, law.dim, 0.8, generator) + law.means)


def weighted(law: GaussianMixture, n: int, generator: torch.Generator) -> Draws:
    """Draws of the law with its covariances 1.5^2 times as large, and their weights."""
    wide = GaussianMixture(law.weights, law.means, 2.25 * law.covariances)
    x = wide.sample(n, generator=generator)
    return Draws(x, weights=(law.evaluate(x) - wide.evaluate(x)).softmax(0))


KINDS = {
    "normals, d = 3, 3 sd apart, chains": ("normals, d = 3, 3 sd apart", chains),
    "normals, d = 3, 3 sd apart, weighted": ("normals, d = 3, 3 sd apart", weighted),
}
"""Cases of draws that are not independent, and of which pair of laws."""

CASES = {name: (name, independent) for name in PAIRS} | KINDS


def autoregressive(n: int, d: int, rho: float, generator: torch.Generator) -> Tensor:
    x = torch.randn(4, n // 4, d, dtype=torch.float64, generator=generator)
    for t in range(1, n // 4):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * x[:, t]
    return x


TESTS: dict[str, Callable[[torch.Generator, int], tuple[Draws, Draws]]] = {
    "one law, independent": lambda g, n: (Draws(torch.randn(n, 2, generator=g)), Draws(torch.randn(n, 2, generator=g))),
    "one law, chains": lambda g, n: (Draws(autoregressive(4 * n, 2, 0.8, g)), Draws(autoregressive(4 * n, 2, 0.8, g))),
    "a shift of .3": lambda g, n: (
        Draws(torch.randn(n, 2, generator=g)),
        Draws(torch.randn(n, 2, generator=g) + torch.tensor([0.3, 0.0])),
    ),
    "a correlation of .5": lambda g, n: (
        Draws(torch.randn(n, 2, generator=g)),
        Draws(torch.randn(n, 2, generator=g) @ torch.tensor([[1.0, 0.5], [0.0, 0.75**0.5]])),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=100, help="of tensions")
    parser.add_argument("--alarms", type=int, default=200, help="repeats of the two-sample test")
    parser.add_argument("--cases", nargs="+", default=[*CASES, *TESTS], choices=[*CASES, *TESTS])
    parser.add_argument("--proposal", default="mixture", choices=("auto", "mixture", "estimate"))
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []

    def all_of(name: str, once: Callable[[int], list[float]], repeats: int) -> Tensor:
        keys = [f"{name}-{options.draws}-{options.proposal}-{i}".replace(" ", "") for i in range(repeats)]
        found = [cached(options.cache, key, lambda i=i: once(i)) for i, key in enumerate(keys)]
        raw.append({"case": name, "found": found})
        return torch.tensor(found, dtype=torch.float64)

    for name in [name for name in options.cases if name in CASES]:
        pair, draw = CASES[name]

        def once(i: int, laws: tuple[GaussianMixture, GaussianMixture] = PAIRS[pair], draw: Any = draw) -> list[float]:
            g = torch.Generator().manual_seed(2000 + i)
            x, y = (draw(law, options.draws, g) for law in laws)
            found = tension(x, y, proposal=options.proposal, generator=g)
            parts = (found.shift, found.gaussian, found.log_suspiciousness, found.kl_divergence)
            return [number for part in parts for number in (part.value, part.standard_error)]

        found = all_of(name, once, options.repeats).view(-1, len(QUANTITIES), 2)
        for quantity, true, values in zip(QUANTITIES, exact(*PAIRS[pair]), found.unbind(1), strict=True):
            value, error = values.T
            inside = float(((value - true).abs() < 1.96 * error).double().mean())
            cells = [f"{value.mean():.3f} ± {value.std():.3f}", f"{error.mean():.3f}", f"{inside:.0%}"]
            rows.append([name, quantity, f"{true:.3f}", *cells])
            print(rows[-1], flush=True)
    for name in [name for name in options.cases if name in TESTS]:
        pair = TESTS[name]

        def once(i: int, pair: Callable[[torch.Generator, int], tuple[Draws, Draws]] = pair) -> list[float]:
            g = torch.Generator().manual_seed(3000 + i)
            return [two_sample(*pair(g, options.draws), proposal=options.proposal, num_permutations=199, generator=g).p_value]

        share = float((all_of(name, once, options.alarms)[:, 0] <= 0.05).double().mean())
        own = "0.050" if name.startswith("one law") else ""
        error = f"{math.sqrt(share * (1 - share) / options.alarms):.3f}"
        rows.append([f"two samples, {name}", "share of alarms", own, f"{share:.3f} ± {error}", "", ""])
        print(rows[-1], flush=True)
    header = ["case", "quantity", "exact", "found ± scatter", "reported error", "coverage"]
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    write(
        "tension",
        "Tension and two samples",
        f"{about} {options.draws:,} draws, {options.repeats} repeats, {options.alarms} of the test.",
        header,
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
