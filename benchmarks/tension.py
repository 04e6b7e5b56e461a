"""Tension of two posteriors and the two-sample test, by simulation where the answer is known.

Two normals in d dimensions, and normals against mixtures of two modes, whose differences are mixtures of known densities; the
exact number of sigmas by a million draws of those. Coverage: share of repeats with the truth within 1.96 reported errors.
Q_DM is the normal approximation, right for normals only. False alarms of the two-sample test at 5 %, of independent draws and
of autoregressive chains (correlation .8), and its power against a shift of one column by .3 standard deviations and against a
correlation of .5 that leaves both columns as they are.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import cached, write
from torch import Tensor

from disco_samplers import Draws
from disco_samplers.posteriors import tension, two_sample
from disco_samplers.posteriors.shift import log_chi2, sigmas_of
from disco_samplers.reference import GaussianMixture


def mixture(means: list[list[float]], sd: float) -> GaussianMixture:
    centers = torch.tensor(means, dtype=torch.float64)
    return GaussianMixture(torch.ones(len(means)).double(), centers, torch.full_like(centers, sd**2))


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


def exact(a: GaussianMixture, b: GaussianMixture) -> float:
    """Sigmas of the mixture of differences, by its own draws; of normals in closed form."""
    if len(a.weights) == len(b.weights) == 1:
        q = float(((a.means - b.means).square() / (a.covariances + b.covariances)).sum())
        return sigmas_of(log_chi2(q, a.dim))
    means = (a.means[:, None] - b.means).flatten(0, 1)
    covariances = (a.covariances[:, None] + b.covariances).flatten(0, 1)
    law = GaussianMixture((a.weights[:, None] * b.weights).flatten(), means, covariances)
    x = law.draw(1_000_000, torch.Generator().manual_seed(0))
    below = law.evaluate(x) < law.evaluate(torch.zeros(1, a.dim).double())
    return sigmas_of(math.log(float(below.double().mean())))


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
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--cases", nargs="+", default=[*PAIRS, *TESTS], choices=[*PAIRS, *TESTS])
    parser.add_argument("--proposal", default="mixture", choices=("auto", "mixture", "estimate"))
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []

    def all_of(name: str, once: Callable[[int], list[float]]) -> Tensor:
        keys = [f"{name}-{options.draws}-{options.proposal}-{i}".replace(" ", "") for i in range(options.repeats)]
        found = [cached(options.cache, key, lambda i=i: once(i)) for i, key in enumerate(keys)]
        raw.append({"case": name, "found": found})
        return torch.tensor(found, dtype=torch.float64)

    for name in [name for name in options.cases if name in PAIRS]:
        laws = PAIRS[name]

        def once(i: int, laws: tuple[GaussianMixture, GaussianMixture] = laws) -> list[float]:
            g = torch.Generator().manual_seed(2000 + i)
            x, y = (law.sample(options.draws, generator=g) for law in laws)
            found = tension(x, y, proposal=options.proposal, generator=g)
            return [found.shift.value, found.shift.standard_error, found.gaussian.value, found.gaussian.standard_error]

        true, found = exact(*laws), all_of(name, once)
        cells = [name, f"{true:.3f}"]
        for value, error in ((found[:, 0], found[:, 1]), (found[:, 2], found[:, 3])):
            inside = float(((value - true).abs() < 1.96 * error).double().mean())
            cells += [f"{value.mean():.3f} ± {value.std():.3f}", f"{error.mean():.3f}", f"{inside:.0%}"]
        rows.append(cells)
        print(cells, flush=True)
    for name in [name for name in options.cases if name in TESTS]:
        pair = TESTS[name]

        def once(i: int, pair: Callable[[torch.Generator, int], tuple[Draws, Draws]] = pair) -> list[float]:
            g = torch.Generator().manual_seed(3000 + i)
            return [two_sample(*pair(g, options.draws), proposal=options.proposal, num_permutations=199, generator=g).p_value]

        share = float((all_of(name, once)[:, 0] <= 0.05).double().mean())
        rows.append(
            [f"two-sample test, {name}", "", f"{share:.0%} ± {math.sqrt(share * (1 - share) / options.repeats):.0%} alarms"]
        )
        rows[-1] += [""] * 5
        print(rows[-1], flush=True)
    header = ["case", "exact", "sigmas ± scatter", "reported error", "coverage", "Q_DM ± scatter", "its error", "its coverage"]
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    write(
        "tension",
        "Tension and two samples",
        f"{about} {options.draws:,} draws, {options.repeats} repeats.",
        header,
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
