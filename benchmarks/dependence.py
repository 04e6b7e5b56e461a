"""Mutual information on tasks whose value is known, beside nearest neighbours, canonical correlations and trained networks.

The kinds are those of the benchmark of Czyz, Grabowski, Vogt, Beerenwinkel and Marx (*Beyond normal*, NeurIPS 2023), with
parameters of our own: normal laws, dense and sparse, in 1 + 1 to 50 + 50 columns; Student-t laws; maps that leave the
information as it is (to uniforms, half-cubes, asinh, spirals, a Swiss roll); additive noise; mixtures; a scale that depends on
the other side. Nearest neighbours (KSG, k = 3) read columns as they come, in units of their standard deviations. Canonical
correlations: normal scores, the closed form, unbiased. MINE and InfoNCE: networks trained on half of the rows.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from information import ksg
from report import cached, write
from torch import Tensor
from torch.distributions import Categorical, Chi2, MixtureSameFamily, MultivariateNormal
from torch.special import digamma, ndtr
from trained_information import info_nce, mine

from disco_samplers.measures import mutual_information
from disco_samplers.measures.copulas import Copula
from disco_samplers.measures.ties import normal_scores

SEED = 71_000_000
Task = Callable[[int, torch.Generator], tuple[Tensor, Tensor, float]]


def factor(p: int, rho: float) -> Tensor:
    covariance = torch.full((2 * p, 2 * p), rho, dtype=torch.float64)
    return covariance.fill_diagonal_(1.0)


def pairs(p: int, count: int, rho: float) -> Tensor:
    covariance = torch.eye(2 * p, dtype=torch.float64)
    for k in range(count):
        covariance[k, p + k] = covariance[p + k, k] = rho
    return covariance


def normal(covariance: Tensor) -> Task:
    p = len(covariance) // 2
    exact = float(torch.logdet(covariance[:p, :p]) + torch.logdet(covariance[p:, p:]) - torch.logdet(covariance)) / 2

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        noise = torch.randn(n, 2 * p, generator=generator, dtype=torch.float64)
        z = noise @ torch.linalg.cholesky(covariance).T
        return z[:, :p], z[:, p:], exact

    return draw


def student(covariance: Tensor, freedom: float) -> Task:
    p = len(covariance) // 2

    def part(v: float) -> float:
        return math.lgamma(v / 2) - v / 2 * float(digamma(torch.tensor(v / 2, dtype=torch.float64)))

    extra = part(freedom) + part(freedom + 2 * p) - 2 * part(freedom + p)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        x, y, exact = normal(covariance)(n, generator)
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            scale = (freedom / Chi2(torch.tensor(freedom, dtype=torch.float64)).sample((n, 1))).sqrt()
        return x * scale, y * scale, exact + extra

    return draw


def mapped(task: Task, of_x: Callable[[Tensor], Tensor], of_y: Callable[[Tensor], Tensor]) -> Task:
    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        x, y, exact = task(n, generator)
        return of_x(x), of_y(y), exact

    return draw


def half_cube(x: Tensor) -> Tensor:
    return x * x.abs().sqrt()


def spiral(x: Tensor) -> Tensor:
    angle = 0.5 * x.norm(dim=1)
    first = angle.cos() * x[:, 0] - angle.sin() * x[:, 1]
    second = angle.sin() * x[:, 0] + angle.cos() * x[:, 1]
    return torch.cat([first[:, None], second[:, None], x[:, 2:]], 1)


def roll(x: Tensor) -> Tensor:
    angle = 3 * math.pi / 2 * (1 + 2 * ndtr(x))
    return torch.cat([angle * angle.cos(), angle * angle.sin()], 1) / 21


def additive(width: float) -> Task:
    """X uniform on (0, 1), Y = X + a uniform on (-width, width)."""
    exact = width - math.log(2 * width) if width <= 0.5 else 1 / (4 * width)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        x, noise = torch.rand(2, n, 1, generator=generator, dtype=torch.float64)
        return x, x + width * (2 * noise - 1), exact

    return draw


def mixture(p: int, seed: int) -> Task:
    """Three normal laws of equal weight; the value by 20,000 draws."""
    fixed = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(3, 2 * p, generator=fixed, dtype=torch.float64)
    a = torch.randn(3, 2 * p, 2 * p, generator=fixed, dtype=torch.float64)
    covariances = a @ a.mT / (2 * p) + 0.3 * torch.eye(2 * p, dtype=torch.float64)

    def law(first: int, last: int) -> MixtureSameFamily:
        weights = Categorical(torch.full((3,), 1 / 3, dtype=torch.float64))
        return MixtureSameFamily(weights, MultivariateNormal(means[:, first:last], covariances[:, first:last, first:last]))

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            z = law(0, 2 * p).sample((20_000,))
        x, y = z[:, :p], z[:, p:]
        exact = law(0, 2 * p).log_prob(z) - law(0, p).log_prob(x) - law(p, 2 * p).log_prob(y)
        return x[:n], y[:n], float(exact.mean())

    return draw


def scaled(p: int) -> Task:
    """The first column of y has the variance .3 + x_1^2; the value by quadrature."""
    x, y = torch.linspace(-8, 8, 4001, dtype=torch.float64), torch.linspace(-40, 40, 8001, dtype=torch.float64)
    weight = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    variance = 0.3 + x.square()
    f = weight @ (torch.exp(-y.square() / (2 * variance[:, None])) / (2 * math.pi * variance[:, None]).sqrt())
    alone = float(torch.special.entr(f).sum() * (y[1] - y[0]))
    exact = alone - 0.5 * float(weight @ (2 * math.pi * math.e * variance).log())

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
        x, noise = torch.randn(2, n, p, generator=generator, dtype=torch.float64)
        first = noise[:, :1] * (0.3 + x[:, :1].square()).sqrt()
        return x, torch.cat([first, noise[:, 1:]], 1), exact

    return draw


def same(x: Tensor) -> Tensor:
    return x


TASKS: dict[str, Task] = {
    **{f"normal, one factor, {p} + {p}": normal(factor(p, 0.3)) for p in (1, 3, 8, 20, 50)},
    **{f"normal, two pairs, {p} + {p}": normal(pairs(p, 2, 0.65)) for p in (2, 5, 10, 25, 50)},
    **{f"normal, all pairs, {p} + {p}": normal(pairs(p, p, 0.5)) for p in (3, 8, 20)},
    **{f"independent, {p} + {p}": normal(pairs(p, 0, 0.0)) for p in (2, 8, 25)},
    **{
        f"Student-t({f:g}), {p} + {p}": student(pairs(p, 1, 0.5), f)
        for f, p in ((1, 1), (2, 1), (2, 3), (3, 5), (5, 8), (5, 20))
    },
    "uniform, 1 + 1": mapped(normal(pairs(1, 1, 0.6)), ndtr, ndtr),
    "uniform, 4 + 4": mapped(normal(pairs(4, 2, 0.7)), ndtr, ndtr),
    "half-cube, 2 + 2": mapped(normal(pairs(2, 2, 0.6)), half_cube, half_cube),
    "asinh of Student-t(2), 2 + 2": mapped(student(pairs(2, 1, 0.7), 2.0), torch.asinh, torch.asinh),
    "spiral, 2 + 2": mapped(normal(pairs(2, 2, 0.6)), spiral, spiral),
    "spiral, 3 + 3": mapped(normal(pairs(3, 3, 0.6)), spiral, spiral),
    "Swiss roll, 2 + 1": mapped(normal(pairs(1, 1, 0.8)), roll, ndtr),
    "additive noise .2": additive(0.2),
    "additive noise 1": additive(1.0),
    "mixture, 1 + 1": mixture(1, 11),
    "mixture, 2 + 2": mixture(2, 12),
    "mixture, 4 + 4": mixture(4, 13),
    "scale, 1 + 1": scaled(1),
    "scale, 4 + 4": scaled(4),
}


METHODS = ("DiScoFormer", "KSG", "canonical correlations", "MINE", "InfoNCE")
PEERS = METHODS[1:]


def canonical(x: Tensor, y: Tensor) -> float:
    n = len(x)
    law = Copula.of(normal_scores(x, 0), normal_scores(y, 0), x.new_full((n,), 1 / n))
    return law.plug_in - law.bias(n)


def errors(name: str, n: int, sets: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {key: [] for key in ("exact", "covered", *METHODS)}
    for index in range(sets):
        generator = torch.Generator().manual_seed(SEED + 1000 * list(TASKS).index(name) + 100 * index + int(math.log2(n)))
        x, y, exact = TASKS[name](n, generator)
        ours = mutual_information(x, y, seed=0)
        found["exact"].append(exact)
        found["covered"].append(float(abs(ours.value - exact) < 1.96 * ours.standard_error))
        values = (ours.value, ksg(x, y), canonical(x, y), mine(x, y), info_nce(x, y))
        for method, value in zip(METHODS, values, strict=True):
            found[method].append(value - exact)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 10_000])
    parser.add_argument("--sets", type=int, nargs="+", default=[2, 1, 1], help="of each size")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 1, 4], help="of each size: every so many of the tasks")
    parser.add_argument("--cache", type=Path, help="folder in which what was measured is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    rows, raw, told = [], [], []
    for n, sets, every in zip(options.sizes, options.sets, options.every, strict=True):
        cells = []
        for name in list(TASKS)[::every]:
            key = f"{name}-{n}-{sets}".replace(" ", "_").replace("/", "_")
            found = cached(options.cache, key, lambda name=name, n=n, sets=sets: errors(name, n, sets))
            cells.append({"task": name, "n": n, **found})
            mean = [float(np.mean(np.abs(cells[-1][m]))) for m in METHODS]
            covered = f"{sum(cells[-1]['covered']):.0f} of {sets}"
            rows.append([name, str(n), f"{np.mean(cells[-1]['exact']):.3f}", *(f"{m:.3f}" for m in mean), covered])
            print(" | ".join(rows[-1]), flush=True)
        table = np.array([[np.mean(np.abs(cell[m])) for m in METHODS] for cell in cells])
        covered = f"{sum(sum(cell['covered']) for cell in cells):.0f} of {sets * len(cells)}"
        for word, of in (("mean", np.mean), ("median", np.median)):
            rows.append([f"**{word}**", str(n), "", *(f"**{value:.3f}**" for value in of(table, axis=0)), covered])
        behind = int((table[:, 0] > 1.2 * table[:, 1:].min(1)).sum())
        better = [int((table[:, 0] < table[:, k]).sum()) for k in range(1, len(METHODS))]
        told.append(
            f"n = {n:,}, {len(cells)} tasks, {sets} set(s) each: beyond 1.2 times the best of the four peers on {behind}; "
            + ", ".join(f"nearer than {peer} on {count}" for peer, count in zip(PEERS, better, strict=True))
        )
        raw += cells
    about = __doc__.split("\n", 1)[1].strip()
    about += "\n\nMean absolute error in nats over the sets; covered: how often 1.96 standard errors reach the truth."
    about += "\n\n" + ".\n\n".join(told) + "."
    header = ["task", "n", "exact", *METHODS, "covered"]
    write("dependence", "Mutual information on known tasks", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
