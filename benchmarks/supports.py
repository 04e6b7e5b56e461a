"""Density of columns with a support, at edges and seams and between them, beside reflected and transformed estimators.

"DiScoFormer" reads the rows with `support=`, by either set of weights; "adapted" is `estimate.adapt()` of that by "axes", on
the first three data sets of each cell. "KDE reflected" has the bandwidth of highest leave-one-out likelihood (of 2000 rows,
scaled by n^(-1/(d + 4)) for more) and is mirrored at every edge; on circles its kernels are wrapped, and simplices are
mirrored in the shares of what is left. "KDE corrected" is that of one column with kernels
corrected at edges to first order, as getdist has them. "KDE logs" and "EM logs" are of the logarithms of positive columns and
the logits of those in an interval, of angles as if they were in one, and of simplices by sticks broken; EM with the number of
components by Schwarz's criterion. "its family" is what could be had at best by who knew of what kind the law is: its own
family, of two parameters, by maximum likelihood. Angles are given from 0 to 2 pi, with that seam in the midst of the rows.
Error: integrated squared error of the density in % of the integral of its square, over the middle 99.9 % of the mass (at 1600
draws of laws of several columns). Log: mean squared error of the log-density there, in nats squared. Edge: root mean square of
the relative error, in %, at the edges where the density is finite and not zero and at points that cut off a thousandth and a
hundredth of the mass next to each edge (of the square along its middle and along its diagonal, its corners; of the simplex its
corners, and the middles of its sides); of angles at the seam and a hundredth and a thousandth of a turn to either side.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import WEIGHTS, cached, spread, write
from scipy import optimize, stats
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import StackTransform, Transform

from disco_samplers import DiScoFormer
from disco_samplers.draws import Circle, groups_of, supports_of
from disco_samplers.estimators import GroupTransform, TransformedEstimator, fit_mixture
from disco_samplers.reference import KDE

SEED = 90_000_000
GRID, MANY = 400, 1600
MOST = 2000
TURN = 2 * math.pi


@dataclass
class Law:
    """A law that is known: rows (n, d), log-density (m,), what it is told by, and where it is asked at edge or seam."""

    draw: Callable[[int, np.random.Generator], np.ndarray]
    log_prob: Callable[[np.ndarray], np.ndarray]
    support: Any
    edge: np.ndarray
    inner: np.ndarray | None = None


def columns_of(law: Any, support: Any, d: int) -> Law:
    """Independent columns of one of scipy's laws."""
    count = GRID if d == 1 else 40
    inner = law.ppf(0.0005 + 0.999 * (np.arange(count) + 0.5) / count)
    ends = [0.0, 0.001, 0.01] + ([] if support[1] is None else [0.99, 0.999, 1.0])
    edge = np.array([p for p in law.ppf(ends) if math.isfinite(law.pdf(p)) and law.pdf(p) > 0])[:, None]
    if d == 2:
        edge = np.concatenate([np.hstack([edge, edge]), np.hstack([edge, np.full_like(edge, 0.5)])])
    return Law(
        lambda n, rng: law.rvs((n, d), random_state=rng),
        lambda y: law.logpdf(y).sum(1),
        [support] * d,
        edge,
        np.stack(np.meshgrid(*[inner] * d), -1).reshape(-1, d),
    )


def seam(*others: float) -> np.ndarray:
    """Points at the seam of the first column and next to it, with the others at these values."""
    angle = np.array([0.0, 0.001, 0.01, 0.99, 0.999]) * TURN
    return np.column_stack([angle, *(np.full_like(angle, other) for other in others)])


def wrapped(draw: Callable[[int, np.random.Generator], np.ndarray]) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Draws of one angle, (n, 1), from 0 to 2 pi."""
    return lambda n, rng: (draw(n, rng) % TURN)[:, None]


def log_mixture(y: np.ndarray) -> np.ndarray:
    """Of three wrapped normal laws."""
    parts = [w * stats.norm(m, s).pdf(y + TURN * k) for w, m, s in MIXTURE for k in range(-4, 5)]
    found: np.ndarray = np.log(np.sum(parts, 0))
    return found


def draw_mixture(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of it."""
    share, mean, width = (np.array(column) for column in zip(*MIXTURE, strict=True))
    which = rng.choice(3, n, p=share)
    return rng.normal(mean[which], width[which])


def orbit(n: int, rng: np.random.Generator) -> np.ndarray:
    """Eccentricity, argument of the periastron and mean anomaly of orbits whose mean longitude is known well."""
    omega = rng.uniform(0, TURN, n)
    return np.column_stack([rng.beta(0.867, 3.03, n), omega, (1.0 + rng.vonmises(0, 20, n) - omega) % TURN])


def wave(n: int, rng: np.random.Generator) -> np.ndarray:
    """An angle, and a normal number around its cosine."""
    angle = draw_mixture(n, rng)
    return np.column_stack([angle % TURN, np.cos(angle) + 0.5 * rng.normal(size=n)])


MIXTURE = [(0.5, -0.3, 0.4), (0.3, 2.0, 0.15), (0.2, -2.0, 0.8)]
POSITIVE, UNIT = (0.0, None), (0.0, 1.0)
BENT = stats.vonmises(2), stats.vonmises(4)
LAWS = {
    "uniform": columns_of(stats.uniform(), UNIT, 1),
    "Beta(.5, .5)": columns_of(stats.beta(0.5, 0.5), UNIT, 1),
    "exponential": columns_of(stats.expon(), POSITIVE, 1),
    "half-normal": columns_of(stats.halfnorm(), POSITIVE, 1),
    "truncated normal": columns_of(stats.truncnorm(-0.5, math.inf, loc=0.5), POSITIVE, 1),
    "gamma(2)": columns_of(stats.gamma(2), POSITIVE, 1),
    "lognormal": columns_of(stats.lognorm(1.0), POSITIVE, 1),
    "uniform square": columns_of(stats.uniform(), UNIT, 2),
    **{
        "Dirichlet " + " ".join(f"{one:g}" for one in a): Law(
            lambda n, rng, a=a: rng.dirichlet(a, n),
            lambda y, a=a: stats.dirichlet(a).logpdf(np.clip(y, 1e-300, 1).T / y.sum(1)),
            {(0, 1, 2): "simplex"},
            np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
            if min(a) == 1
            else np.array([[0.6, 0.2, 0.2]]),
        )
        for a in ((1.0, 1.0, 1.0), (0.5, 1.5, 3.0))
    },
    "uniform circle": Law(
        wrapped(lambda n, rng: rng.uniform(0, TURN, n)), lambda y: np.full(len(y), -math.log(TURN)), ["circular"], seam()
    ),
    **{
        f"von Mises {k:g}": Law(
            wrapped(lambda n, rng, k=k: rng.vonmises(0, k, n)),
            lambda y, k=k: stats.vonmises(k).logpdf(y[:, 0]),
            ["circular"],
            seam(),
        )
        for k in (0.5, 4, 50)
    },
    "wrapped mixture": Law(wrapped(draw_mixture), lambda y: log_mixture(y[:, 0]), ["circular"], seam()),
    "torus": Law(
        lambda n, rng: np.cumsum(np.column_stack([rng.vonmises(0, 2, n), rng.vonmises(0, 4, n)]), 1) % TURN,
        lambda y: BENT[0].logpdf(y[:, 0]) + BENT[1].logpdf(y[:, 1] - y[:, 0]),
        ["circular"] * 2,
        np.concatenate([seam(0.0), seam(0.5), seam(0.0)[:, ::-1]]),
    ),
    "angle and line": Law(
        wave,
        lambda y: log_mixture(y[:, 0]) + stats.norm(np.cos(y[:, 0]), 0.5).logpdf(y[:, 1]),
        ["circular", "real"],
        np.concatenate([seam(0.5), seam(1.0)]),
    ),
    "orbit": Law(
        orbit,
        lambda y: stats.beta(0.867, 3.03).logpdf(y[:, 0]) - math.log(TURN) + stats.vonmises(20).logpdf(y[:, 1] + y[:, 2] - 1),
        ["unit", "circular", "circular"],
        np.column_stack([np.full(5, 0.2), seam(1.0)]),
    ),
}


def truncated(mean: float, log_sd: float) -> Any:
    """A normal law truncated at zero."""
    return stats.truncnorm(-mean / math.exp(log_sd), math.inf, loc=mean, scale=math.exp(log_sd))


ADAPTED = "DiScoFormer adapted"
FIRST = 3
"""Data sets of each cell that are adapted to."""
METHODS = [
    *(f"DiScoFormer {name}" for name in WEIGHTS),
    ADAPTED,
    "KDE reflected",
    "KDE corrected",
    "KDE logs",
    "EM logs",
    "its family",
]
FAMILIES: dict[str, Callable[[float, float], Any]] = {
    "Beta(.5, .5)": lambda a, b: stats.beta(math.exp(a), math.exp(b)),
    "half-normal": truncated,
    "truncated normal": truncated,
    "gamma(2)": lambda a, b: stats.gamma(math.exp(a), scale=math.exp(b)),
    "lognormal": lambda a, b: stats.lognorm(math.exp(a), scale=math.exp(b)),
}
"""Of laws of one column: two parameters, any numbers."""
Cell = dict[str, list[tuple[float, float, float]]]
"""Error, log and edge of each method on each data set."""


@lru_cache(maxsize=1)  # of the same rows it is asked for twice
def kernels(x: Tensor) -> KDE:
    """A kernel density estimate with the bandwidth of highest leave-one-out likelihood of at most 2000 of the rows."""
    n, d = x.shape
    some = KDE(x[:MOST], "loo")
    return some if n <= MOST else KDE(x, float(some.bandwidth) * (MOST / n) ** (1 / (d + 4)))


class Reflected:
    """A kernel density estimate mirrored at the edges of every column, and wrapped around circles."""

    def __init__(self, x: Tensor, supports: list[Any]) -> None:
        self.kde, self.supports = kernels(x), supports

    def log_prob(self, y: Tensor) -> Tensor:
        images = [y]
        for i in range(y.shape[1]):
            images = [image for one in images for image in self._images(one, i)]
        return torch.stack([self.kde.log_prob(image) for image in images]).logsumexp(0)

    def _images(self, y: Tensor, i: int) -> list[Tensor]:
        low, high = self.supports[i]
        moved = [2 * edge - y[:, i] for edge in (low, high) if edge is not None]
        if isinstance(self.supports[i], Circle):
            moved = [y[:, i] + TURN, y[:, i] - TURN]
        found = [y]
        for column in moved:
            found.append(y.clone())
            found[-1][:, i] = column
        return found


class Corrected:
    r"""Kernels of one column corrected at edges to first order, such that the density stays positive.

    With :math:`a_k = \int_{inside} K_h(u) u^k du`, :math:`f_k = \frac1n \sum_j K_h(y - x_j) (y - x_j)^k`, the estimate is
    :math:`P e^{F / P - 1}`, :math:`P = f_0 / a_0`, :math:`F = (a_2 f_0 - a_1 f_1) / (a_0 a_2 - a_1^2)`: Lewis, *GetDist*, 2019
    (https://arxiv.org/abs/1910.13970), equations 17 and 20.
    """

    def __init__(self, x: Tensor, supports: list[Any]) -> None:
        self.x, self.h = x[:, 0], float(kernels(x).bandwidth)
        self.low, self.high = (
            math.inf * sign if edge is None else edge for edge, sign in zip(supports[0], (-1, 1), strict=True)
        )

    def log_prob(self, y: Tensor) -> Tensor:
        u = (y - self.x) / self.h
        kernel = (-0.5 * u.square()).exp() / math.sqrt(TURN) / self.h
        f0, f1 = kernel.mean(1), (kernel * u).mean(1)
        normal = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
        # A row at distance u below the point lies inside where that is so.
        ends = [((y[:, 0] - edge) / self.h).clamp(-40, 40) for edge in (self.high, self.low)]
        (c0, c1), (p0, p1) = ([normal.cdf(end) for end in ends], [normal.log_prob(end).exp() for end in ends])
        a0, a1, a2 = c1 - c0, p0 - p1, c1 - c0 + ends[0] * p0 - ends[1] * p1
        plain = f0 / a0
        linear = (a2 * f0 - a1 * f1) / (a0 * a2 - a1.square())
        return plain.log() + linear / plain - 1


def lines(supports: list[Any]) -> Transform:
    """From real numbers to columns: logarithms of positive ones, logits of intervals, sticks broken of a simplex."""
    if groups_of(supports):
        return biject_to(constraints.simplex)
    ends = [(low, high) for low, high in supports]
    found = [
        constraints.real if low is None else constraints.positive if high is None else constraints.interval(low, high)
        for low, high in ends
    ]
    return StackTransform([biject_to(one) for one in found], dim=-1)


class Sticks(Transform):
    """Torch's broken sticks, to the real numbers, with the volume of the first columns of the simplex."""

    domain, codomain, bijective = constraints.real_vector, constraints.real_vector, True

    def __init__(self) -> None:
        super().__init__()
        self.base = biject_to(constraints.simplex)

    def _call(self, x: Tensor) -> Tensor:
        z: Tensor = self.base.inv(x)
        return z

    def log_abs_det_jacobian(self, x: Tensor, z: Tensor) -> Tensor:
        volume: Tensor = -self.base.log_abs_det_jacobian(z, x)
        return volume


def transformed(make: Any, x: Tensor, supports: list[Any]) -> TransformedEstimator:
    """An estimator of logarithms, logits or sticks."""
    change = Sticks() if groups_of(supports) else lines(supports).inv
    return TransformedEstimator(make(change(x)), change, validate_args=False)


class Family:
    """A law of one column's own family, of highest likelihood."""

    def __init__(self, family: Callable[[float, float], Any], x: Tensor) -> None:
        rows = x[:, 0].numpy()
        options = {"xatol": 1e-5, "fatol": 1e-10}
        found = optimize.minimize(lambda t: -family(*t).logpdf(rows).mean(), [0.0, 0.0], method="Nelder-Mead", options=options)
        self.law = family(*found.x)

    def log_prob(self, y: Tensor) -> Tensor:
        return torch.from_numpy(self.law.logpdf(y[:, 0].numpy()))


def reflected(x: Tensor, supports: list[Any]) -> Any:
    """The mirrored estimate, of a simplex in the shares of what is left."""
    groups = GroupTransform(supports)
    if not groups:
        return Reflected(x, supports)
    return TransformedEstimator(Reflected(groups(x), groups.supports), groups, validate_args=False)


def one_set(name: str, n: int, index: int, part: str) -> dict[str, tuple[float, float, float]]:
    """What the methods of a part, "ours", "adapted", "others" or "family", make of one data set."""
    law = LAWS[name]
    rng = np.random.default_rng(SEED + 100 * n + index)
    x = torch.from_numpy(law.draw(n, rng))
    inner = torch.from_numpy(law.draw(MANY, np.random.default_rng(SEED - 1)) if law.inner is None else law.inner)
    y = torch.cat([inner, torch.from_numpy(np.ascontiguousarray(law.edge, dtype=float))])
    true = torch.from_numpy(law.log_prob(y.numpy()))
    supports = supports_of(law.support, [str(i) for i in range(x.shape[1])], x)
    made: dict[str, Callable[[], Any]] = {}
    if part == "ours":
        for weights in WEIGHTS:
            model = DiScoFormer.from_pretrained(weights)
            made[f"DiScoFormer {weights}"] = partial(model.condition, x, support=law.support)
    elif part == "adapted":
        estimate = DiScoFormer.from_pretrained("axes").condition(x, support=law.support)
        made[ADAPTED] = partial(estimate.adapt, progress=False)
    elif part == "family":
        made |= {"its family": partial(Family, FAMILIES[name], x)} if name in FAMILIES else {}
    else:
        made["KDE reflected"] = partial(reflected, x, supports)
        if x.shape[1] == 1 and not isinstance(supports[0], Circle):
            made["KDE corrected"] = partial(Corrected, x, supports)
        made["KDE logs"] = partial(transformed, kernels, x, supports)
        made["EM logs"] = partial(transformed, fit_mixture, x, supports)
    found = {}
    for method, make in made.items():
        asked = y
        if method.endswith("logs"):
            asked = y.clone()
            for i, (low, high) in enumerate(supports):
                ends = (None if low is None else low + 1e-9, None if high is None else high - 1e-9)
                asked[:, i] = y[:, i] if ends == (None, None) else y[:, i].clamp(*ends)
            asked = asked / asked.sum(1, keepdim=True) if groups_of(supports) else asked
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
    parser.add_argument("--laws", nargs="+", choices=list(LAWS), default=list(LAWS), help="which (default: all)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="100 rows, one set")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.sets = [100], [1]
    started = time.time()
    torch.set_num_threads(1)
    rows, raw = [], []
    for n, sets in zip(options.rows, options.sets, strict=True):
        for law in options.laws:
            cell: Cell = {method: [] for method in METHODS}
            for index in range(sets):
                # Apart, so that what has not changed need not be measured again.
                for part, name in (("ours", "_ours"), ("adapted", "_adapted"), ("others", ""), ("family", "_family")):
                    if part == "adapted" and index >= FIRST:
                        continue
                    found = cached(
                        options.cache, f"{law.replace(' ', '_')}_{n}_{index}{name}", partial(one_set, law, n, index, part)
                    )
                    for method, value in found.items():
                        cell[method].append(value)
            texts = []
            for method in METHODS:
                if not cell[method]:
                    texts.append("")
                    continue
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
