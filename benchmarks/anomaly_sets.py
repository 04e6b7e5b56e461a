"""Tables of usual rows and anomalies: bundled with scikit-learn, with anomalies put in, and made ones of every kind.

One half is for development, the other is judged: a setting is chosen by the first and shown by the second. Kinds of made tables
have other parameters in either half, and some kinds are in one half only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_sample_image, load_wine
from sklearn.mixture import GaussianMixture

Rng = np.random.Generator
Set = tuple[np.ndarray, np.ndarray]
"""Usual rows and anomalies."""

LOADERS = {"digits": load_digits, "wine": load_wine, "iris": load_iris, "cancer": load_breast_cancer}
KINDS = ("global", "local", "dependency", "clustered")


def made(d: int, n: int, rng: Rng) -> np.ndarray:
    """Three correlated clusters, some columns passed through exp or a cube, one rounded."""
    parts = []
    for share in (0.5, 0.3, 0.2):
        root = rng.normal(size=(d, d)) / math.sqrt(d) + 0.3 * np.eye(d)
        parts.append(2 * rng.normal(size=d) + rng.normal(size=(round(share * n), d)) @ root)
    x = np.concatenate(parts)
    x[:, ::3] = np.exp(0.5 * x[:, ::3])
    x[:, 1::4] = x[:, 1::4] ** 3
    x[:, -1] = np.round(2 * x[:, -1])
    return rng.permutation(x)


def inject(x: np.ndarray, kind: str, count: int, rng: Rng) -> np.ndarray:
    """Anomalies of a kind for a table of usual rows."""
    low, high = x.min(0), x.max(0)
    if kind == "global":
        return rng.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), (count, x.shape[1]))
    if kind == "dependency":
        return np.stack([rng.permutation(np.resize(rng.permutation(column), count)) for column in x.T], 1)
    mean, sd = x.mean(0), x.std(0) + 1e-9
    if kind == "clustered":
        direction = rng.choice([-1, 1], x.shape[1])
        return mean + sd * (4 * direction / math.sqrt(max(1, x.shape[1] / 4)) + 0.3 * rng.normal(size=(count, x.shape[1])))
    components = max(1, min(5, len(x) // (10 * x.shape[1])))
    mixture = GaussianMixture(components, reg_covar=1e-3, random_state=0).fit((x - mean) / sd)
    label = rng.choice(components, count, p=mixture.weights_)
    draws = [rng.multivariate_normal(mixture.means_[k], 5 * mixture.covariances_[k]) for k in label]
    return mean + sd * np.stack(draws)


def bundled(name: str, label: int) -> Set:
    """One class of a data set of scikit-learn's is usual, the others are anomalies."""
    x, y = LOADERS[name](return_X_y=True)
    return x[y == label], x[y != label]


def injected() -> dict[str, Set]:
    """Four kinds of anomalies in each of four tables."""
    rng, found = np.random.default_rng(2024), {}
    hosts = {
        "benign": bundled("cancer", 1)[0],
        "diabetes": load_diabetes(scaled=False).data,
        "made, d=2": made(2, 400, rng),
        "made, d=16": made(16, 400, rng),
    }
    for name, x in hosts.items():
        for kind in KINDS:
            found[f"{name}, {kind}"] = x, inject(x, kind, max(40, len(x) // 4), rng)
    return found


def _scales(d: int, rng: Rng) -> np.ndarray:
    """Units (d,) over three decades."""
    return 10 ** rng.uniform(-1.5, 1.5, d)


def _factors(n: int, d: int, rng: Rng, noise: float = 0.4, latent: int | None = None) -> np.ndarray:
    """Standard columns (n, d) of few common factors."""
    latent = latent or max(1, d // 4)
    loads = rng.normal(size=(latent, d)) / math.sqrt(latent)
    return rng.normal(size=(n, latent)) @ loads + noise * rng.normal(size=(n, d))


def spiked(
    n: int, d: int, rng: Rng, *, share: float, columns: float, odd: str, law: str = "exponential", place: float = 0.0
) -> Set:
    """In part of the columns a share of the values is one and the same; anomalies are larger, or have fewer of them."""
    m, some = n // 3, math.ceil(columns * d)
    draw = {
        "exponential": lambda size: rng.exponential(size=size),
        "lognormal": lambda size: np.exp(rng.normal(size=size)),
        "normal": lambda size: rng.normal(size=size),
    }[law]

    def rows(size: int, share: float, times: float, everywhere: bool) -> np.ndarray:
        x = draw((size, d))
        x[:, : d if everywhere else some] *= times
        x[:, :some] = np.where(rng.uniform(size=(size, some)) < share, place, x[:, :some])
        return x

    odd_share = share - 0.3 if odd == "fewer" else share
    return rows(n, share, 1.0, True), rows(m, odd_share, 1.0 if odd == "fewer" else 3.0, odd == "all")


def counts(n: int, d: int, rng: Rng, *, zeros: float, mean: float, times: float) -> Set:
    """Overdispersed counts of one common rate with more zeros than that gives; of anomalies a third of columns is higher."""
    own = mean * np.exp(0.7 * rng.normal(size=d))

    def rows(size: int, factor: np.ndarray) -> np.ndarray:
        rate = own * factor * rng.gamma(2.0, 0.5, (size, 1))
        return np.where(rng.uniform(size=(size, d)) < zeros, 0.0, rng.poisson(rate))

    chosen = rng.permuted(np.tile(np.arange(d) < max(1, d // 3), (n // 3, 1)), axis=1)
    return rows(n, np.ones(d)), rows(n // 3, np.where(chosen, times, 1.0))


def rounded(n: int, d: int, rng: Rng, *, step: float, odd: str) -> Set:
    """Correlated measurements in coarse steps; anomalies lack the correlation or are shifted in a few columns."""
    x = _factors(n + n // 3, d, rng)
    usual, other = x[:n], x[n:]
    if odd == "dependency":
        other = rng.permuted(other, axis=0)
    else:
        other = other + 2.0 * rng.choice([-1, 0, 1], other.shape, p=[0.15, 0.7, 0.15])
    scale = _scales(d, rng)
    return scale * np.round(usual / step) * step, scale * np.round(other / step) * step


def mixed(n: int, d: int, rng: Rng, *, classes: int) -> Set:
    """Codes of a class, one of them unreliable, and measurements that depend on it; an anomaly has another's codes."""
    centres = 1.5 * rng.normal(size=(classes, d - 2))
    weights = rng.dirichlet(2 * np.ones(classes))

    def rows(size: int, wrong: bool) -> np.ndarray:
        label = rng.choice(classes, size, p=weights)
        x = centres[label] + rng.normal(size=(size, d - 2))
        x[:, ::2] = np.exp(0.6 * x[:, ::2])
        code = (label + rng.integers(1, classes, size)) % classes if wrong else label
        second = np.where(rng.uniform(size=size) < 0.1, rng.integers(0, classes, size), code // 2)
        return np.column_stack([code, second, x])

    return rows(n, False), rows(n // 3, True)


def heavy(n: int, d: int, rng: Rng, *, degrees: float, odd: str) -> Set:
    """Student-t rows of common factors; anomalies lack the dependence or are several times as far out."""
    x = _factors(n + n // 3, d, rng) / np.sqrt(rng.chisquare(degrees, (n + n // 3, 1)) / degrees)
    usual, other, scale = x[:n], x[n:], _scales(d, rng)
    return scale * usual, scale * (rng.permuted(other, axis=0) if odd == "dependency" else 3.0 * other)


def sensors(n: int, d: int, rng: Rng, *, odd: str, noise: float = 0.3) -> Set:
    """Sensors that follow few common causes; of an anomaly three are decoupled, are stuck at a usual value, or drift."""
    x = _factors(n + n // 3, d, rng, noise)
    usual, other = x[:n], x[n:].copy()
    for row in other:
        few = rng.choice(d, min(3, d), replace=False)
        if odd == "decoupled":
            row[few] = usual[rng.integers(n), few][rng.permutation(len(few))]
        elif odd == "stuck":
            row[few] = usual[:, few].mean(0)
        else:
            row[few] += rng.choice([-1, 1]) * 4 * noise
    scale = _scales(d, rng)
    return scale * usual, scale * other


def censored(n: int, d: int, rng: Rng, *, low: float, high: float, odd: str) -> Set:
    """Common factors cut at a limit of detection and where sensors saturate; anomalies are shifted or lack the dependence."""
    x = _factors(n + n // 3, d, rng)
    usual, other = x[:n], x[n:]
    ends = np.quantile(usual, [low, high], axis=0)
    if odd == "dependency":
        other = rng.permuted(other, axis=0)
    else:
        other = other + 1.2 * rng.choice([-1, 1], other.shape) * (rng.uniform(size=other.shape) < 0.4)
    scale = _scales(d, rng)
    return scale * np.clip(usual, *ends), scale * np.clip(other, *ends)


def few_columns(n: int, d: int, rng: Rng, *, some: int, shift: float) -> Set:
    """Correlated columns, of which some are off in an anomaly."""
    x = _factors(n + n // 3, d, rng, noise=0.7)
    other = x[n:].copy()
    for row in other:
        chosen = rng.choice(d, some, replace=False)
        row[chosen] += shift * rng.choice([-1, 1], some)
    return x[:n], other


def curved(n: int, d: int, rng: Rng, *, thick: float) -> Set:
    """A thin spiral sheet, turned into d columns; anomalies are in the same box."""

    def sheet(size: int) -> np.ndarray:
        t = 1.5 * math.pi * (1 + 2 * rng.uniform(size=size))
        return np.stack([t * np.cos(t), 10 * rng.uniform(size=size), t * np.sin(t)], 1)

    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(d, 3)))[0].T
    usual, box = sheet(n), sheet(n)
    other = rng.uniform(box.min(0), box.max(0), (n // 3, 3))
    return usual @ turn + thick * rng.normal(size=(n, d)), other @ turn + thick * rng.normal(size=(len(other), d))


def codes(n: int, d: int, rng: Rng, *, levels: int) -> Set:
    """Codes alone, each a noisy function of the one before; of anomalies they are permuted, column by column."""
    maps = np.stack([rng.permutation(levels) for _ in range(d)])

    def rows(size: int) -> np.ndarray:
        x = np.empty((size, d))
        x[:, 0] = np.minimum(rng.geometric(0.4, size) - 1, levels - 1)
        for k in range(1, d):
            fresh = np.minimum(rng.geometric(0.4, size) - 1, levels - 1)
            x[:, k] = np.where(rng.uniform(size=size) < 0.2, fresh, maps[k][x[:, k - 1].astype(int)])
        return x

    return rows(n), rng.permuted(rows(n // 3), axis=0)


def shares(n: int, d: int, rng: Rng) -> Set:
    """Shares between 0 and 1, many near the ends; anomalies are drawn to the middle."""
    a = rng.uniform(0.3, 1.0, (2, d))
    return rng.beta(a[0], a[1], (n, d)), rng.beta(2.5 * a[0], 2.5 * a[1], (n // 3, d))


def magnitudes(n: int, d: int, rng: Rng, *, spread: float) -> Set:
    """Lognormal columns over decades that follow one size, as money does; anomalies have two columns that do not fit it."""

    def rows(size: int) -> np.ndarray:
        return spread * rng.normal(size=(size, 1)) + 0.5 * rng.normal(size=(size, d))

    other = rows(n // 3)
    for row in other:
        row[rng.choice(d, 2, replace=False)] += rng.choice([-1, 1], 2) * 2.0
    return np.exp(rows(n)), np.exp(other)


def patches(size: int, n: int, rng: Rng, *, usual: str, odd: str) -> Set:
    """Squares of pixels, in whole numbers, cut from one photograph are usual, from another are anomalies."""

    def cut(name: str, count: int) -> np.ndarray:
        image = load_sample_image(name).astype(float)
        top, left = (rng.integers(0, k - 8, count) for k in image.shape[:2])
        return np.stack([image[i : i + 8 : 8 // size, j : j + 8 : 8 // size].ravel() for i, j in zip(top, left, strict=True)])

    return cut(usual, n), cut(odd, n // 3)


def hosted(kind: str, n: int, d: int, rng: Rng) -> Set:
    """Anomalies of a kind put into three clusters."""
    x = made(d, n, rng)
    return x, inject(x, kind, max(40, n // 4), rng)


Maker = Callable[[Rng], Set]


def _of(function: Callable[..., Set], *sizes: int, **options: object) -> Maker:
    return lambda rng: function(*sizes, rng, **options)


DEVELOPMENT: dict[str, Maker] = {
    "spiked, all larger, d=10": _of(spiked, 800, 10, share=0.8, columns=0.5, odd="all"),
    "spiked, some larger, d=10": _of(spiked, 800, 10, share=0.8, columns=0.5, odd="some"),
    "spiked, fewer zeros, d=10": _of(spiked, 800, 10, share=0.8, columns=0.5, odd="fewer"),
    "spiked in the middle, d=6": _of(spiked, 500, 6, share=0.5, columns=1.0, odd="all", law="normal"),
    "counts, d=8": _of(counts, 600, 8, zeros=0.5, mean=3.0, times=2.5),
    "rounded, shifted, d=5": _of(rounded, 300, 5, step=0.5, odd="shifted"),
    "rounded, dependency, d=12": _of(rounded, 1000, 12, step=1.0, odd="dependency"),
    "mixed, d=8": _of(mixed, 1000, 8, classes=4),
    "heavy, scale, d=5": _of(heavy, 400, 5, degrees=2.0, odd="scale"),
    "sensors, decoupled, d=20": _of(sensors, 1500, 20, odd="decoupled"),
    "sensors, stuck, d=10": _of(sensors, 200, 10, odd="stuck"),
    "censored, shifted, d=8": _of(censored, 800, 8, low=0.3, high=1.0, odd="shifted"),
    "few columns, d=60": _of(few_columns, 1000, 60, some=3, shift=3.0),
    "curved, d=3": _of(curved, 2000, 3, thick=0.3),
    "magnitudes, d=6": _of(magnitudes, 300, 6, spread=1.5),
    "codes, d=6": _of(codes, 500, 6, levels=4),
    "three clusters, local, n=40": _of(partial(hosted, "local"), 40, 4),
    "three clusters, dependency, n=10,000": _of(partial(hosted, "dependency"), 10000, 8),
}
JUDGED: dict[str, Maker] = {
    "spiked, all larger, d=16": _of(spiked, 1000, 16, share=0.6, columns=0.75, odd="all", law="lognormal"),
    "spiked, some larger, d=6": _of(spiked, 600, 6, share=0.7, columns=0.5, odd="some", law="lognormal"),
    "spiked, fewer, d=8": _of(spiked, 700, 8, share=0.6, columns=0.75, odd="fewer", law="lognormal"),
    "spiked off the middle, d=10": _of(spiked, 800, 10, share=0.4, columns=0.6, odd="some", law="normal", place=0.7),
    "counts, d=15": _of(counts, 1200, 15, zeros=0.3, mean=1.5, times=3.0),
    "counts, large, d=5": _of(counts, 400, 5, zeros=0.6, mean=20.0, times=2.5),
    "rounded, shifted, d=9": _of(rounded, 700, 9, step=0.8, odd="shifted"),
    "rounded, dependency, d=6": _of(rounded, 250, 6, step=0.3, odd="dependency"),
    "mixed, d=12": _of(mixed, 1500, 12, classes=6),
    "mixed, d=5": _of(mixed, 200, 5, classes=3),
    "heavy, scale, d=8": _of(heavy, 800, 8, degrees=3.0, odd="scale"),
    "heavy, dependency, d=10": _of(heavy, 600, 10, degrees=1.5, odd="dependency"),
    "sensors, decoupled, d=40": _of(sensors, 2000, 40, odd="decoupled"),
    "sensors, stuck, d=12": _of(sensors, 500, 12, odd="stuck", noise=0.2),
    "sensors, drifting, d=8": _of(sensors, 300, 8, odd="drifting"),
    "censored, shifted, d=5": _of(censored, 400, 5, low=0.15, high=0.85, odd="shifted"),
    "censored, dependency, d=10": _of(censored, 900, 10, low=0.4, high=1.0, odd="dependency"),
    "few columns, d=30": _of(few_columns, 600, 30, some=2, shift=3.5),
    "curved, d=5": _of(curved, 1500, 5, thick=0.2),
    "magnitudes, d=12": _of(magnitudes, 800, 12, spread=1.0),
    "shares, d=6": _of(shares, 500, 6),
    "three clusters, global, n=60": _of(partial(hosted, "global"), 60, 6),
    "three clusters, clustered, d=10": _of(partial(hosted, "clustered"), 1000, 10),
    "three clusters, local, d=5": _of(partial(hosted, "local"), 3000, 5),
    "three clusters, local, n=50,000": _of(partial(hosted, "local"), 50000, 4),
    "patches, china, d=12": _of(patches, 2, 2000, usual="china.jpg", odd="flower.jpg"),
    "patches, flower, d=48": _of(patches, 4, 1000, usual="flower.jpg", odd="china.jpg"),
}
REAL = {
    "development": {"digits": (0, 3, 8), "wine": (0, 1), "iris": (1,), "cancer": (1,)},
    "judged": {"digits": (1, 5, 9), "wine": (2,), "iris": (0, 2), "cancer": (0,)},
}


def sets(half: str, repeat: int = 0) -> dict[str, Callable[[], Set]]:
    """What makes the sets of a half, "development" or "judged"; made ones are new in each repeat."""
    found: dict[str, Callable[[], Set]] = {}
    for name, classes in REAL[half].items():
        for label in classes:
            found[f"{name}, class {label}"] = partial(bundled, name, label)
    if half == "development":
        for name, pair in injected().items():
            found[name] = partial(tuple, pair)
    makers = DEVELOPMENT if half == "development" else JUDGED
    for index, (name, maker) in enumerate(makers.items()):
        seed = [half == "judged", index, repeat]
        found[name] = partial(lambda maker, seed: maker(np.random.default_rng(seed)), maker, seed)
    return found


def tasks(usual: np.ndarray, odd: np.ndarray, rng: Rng, shares: dict[str, float]) -> dict[str, tuple[np.ndarray, ...]]:
    """Training rows, rows to judge and their labels: clean, and with shares of the table that are anomalies, by name.

    Clean training rows are half of the usual ones, the others and the anomalies are judged. A contaminated table is judged
    itself.
    """
    usual, odd = rng.permutation(usual), rng.permutation(odd)
    half, most = len(usual) // 2, max(200, len(usual) // 4)
    judged = np.concatenate([usual[half:], odd[:most]])
    found = {"clean": (usual[:half], judged, np.r_[np.zeros(len(usual) - half), np.ones(len(odd[:most]))])}
    for name, share in shares.items():
        few = min(len(odd), max(2, round(len(usual) * share / (1 - share))))
        table = np.concatenate([usual, odd[:few]])
        found[name] = table, table, np.r_[np.zeros(len(usual)), np.ones(few)]
    return found
