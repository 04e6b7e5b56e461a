"""Density and score of strongly correlated normal laws, beside normal fits and KDE.

Laws: "AR(1) rho": correlation rho^|i-j|. "regression": the posterior of intercept and slopes of a linear regression on
regressors far from zero and alike, whose correlation has a least eigenvalue of about 1e-5 (d = 2) to 1e-6. All are rows of
the law itself. "gain" is the mean over 500 independent rows of the log-density less the true one, in nats a row: a density
that integrates to one cannot have one above 0 but by chance, and a fit to n rows of d columns is about d (d + 3)/4n below.
"score" is sum |s - s*|^2 / sum |s*|^2 in %. "normal" has sample mean and covariance, "Ledoit-Wolf" shrinks the correlation of
standardised columns, "KDE" has the bandwidth of highest leave-one-out likelihood in whitened coordinates.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.pool
import time
from functools import partial
from pathlib import Path

import torch
from report import WEIGHTS, cached, spread, write
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE, Gaussian

SEED = 80_000_000
QUERIES = 500
LAWS = ("AR(1) 0.9", "AR(1) 0.99", "AR(1) 0.999", "regression")
Cell = dict[str, list[tuple[float, float]]]
"""Gain and score error of each method on each data set."""


def covariance(law: str, d: int) -> Tensor:
    """The covariance (d, d) of a law, in float64."""
    if law != "regression":
        place = torch.arange(d, dtype=torch.float64)
        return float(law.split()[1]) ** (place[:, None] - place).abs()
    generator = torch.Generator().manual_seed(SEED + d)
    common = torch.randn(200, 1, dtype=torch.float64, generator=generator)
    own = torch.randn(200, d - 1, dtype=torch.float64, generator=generator)
    design = torch.cat([torch.ones(200, 1, dtype=torch.float64), 100 + common + 0.3 * own], 1)
    inverse = torch.linalg.inv(design.T @ design)
    return (inverse + inverse.T) / 2


def normal_fit(x: Tensor) -> Gaussian:
    """Sample mean and covariance."""
    return Gaussian(x.mean(0), x.T.cov())


def shrunk_fit(x: Tensor) -> Gaussian:
    """Sample mean, and the covariance with its correlation shrunk as Ledoit and Wolf have it."""
    deviation = x.std(0)
    z = (x - x.mean(0)) / deviation
    return Gaussian(x.mean(0), torch.from_numpy(ledoit_wolf(z.numpy())[0]) * deviation[:, None] * deviation)


def one_set(law: str, d: int, n: int, index: int) -> dict[str, tuple[float, float]]:
    """Gain and score error of every method on one data set."""
    generator = torch.Generator().manual_seed(SEED + 1000 * n + 100 * d + index)
    target = Gaussian(torch.zeros(d, dtype=torch.float64), covariance(law, d))
    points = target.draw(n + QUERIES, generator)
    x, y = points[:n], points[n:]
    log_prob, score = target.evaluate(y), target.evaluate_score(y)
    made = {name: partial(DiScoFormer.from_pretrained(name).condition, x) for name in WEIGHTS}
    made |= {"normal": partial(normal_fit, x), "Ledoit-Wolf": partial(shrunk_fit, x)}
    made |= {"KDE": partial(KDE, x, "loo", whiten=True)}
    found = {}
    for name, make in made.items():
        ours, ours_score = make().log_prob_and_score(y)
        error = (ours_score - score).square().sum() / score.square().sum()
        found[name] = float((ours - log_prob).mean()), float(error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laws", nargs="+", default=LAWS, choices=LAWS)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 20, 30])
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 5, 20, 64, 200], help="a column (default: %(default)s)")
    parser.add_argument("--sets", type=int, default=8, help="data sets a cell (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished cells in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="d = 2, 5 with 20 rows a column, two sets")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.rows, options.sets = [2, 5], [20], 2
    name = "ridges_quick" if options.quick else "ridges"
    started = time.time()
    rows, raw = [], []
    methods = [*WEIGHTS, "normal", "Ledoit-Wolf", "KDE"]
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for law in options.laws:
            for d in options.dims:
                for n in sorted({max(k * d, 10) for k in options.rows}):
                    measure = partial(_cell, pool, law, d, n, options.sets)
                    cell = cached(options.cache, f"{law.replace(' ', '_')}_d{d}_n{n}_{options.sets}", measure)
                    texts = []
                    for method in methods:
                        (gain, gain_se), (error, error_se) = (spread(c) for c in zip(*cell[method], strict=True))
                        texts.append(f"{gain:+.2f} ± {gain_se:.2f} / {100 * error:.1f} ± {100 * error_se:.1f}")
                        record = {"law": law, "d": d, "n": n, "method": method, "gain": gain, "gain_se": gain_se}
                        raw.append(record | {"relative_score_error": error, "score_se": error_se})
                    rows.append([law, str(d), str(n), *texts])
                    print(*rows[-1], sep=" | ", flush=True)
    told = f"Mean ± standard error of {options.sets} sets: gain / score."
    about = f"{__doc__.split(chr(10), 1)[1].strip()}\n\n{verdict(raw)}\n\n{told}"
    write(name, "Ridges", about, ["law", "d", "n", *methods], rows, raw, started)


def _cell(pool: multiprocessing.pool.Pool, law: str, d: int, n: int, sets: int) -> Cell:
    found: Cell = {}
    for answers in pool.imap(partial(one_set, law, d, n), range(sets)):
        for name, value in answers.items():
            found.setdefault(name, []).append(value)
    return found


def verdict(raw: list[dict]) -> str:
    """What the table shows of each set of weights beside a normal fit, in words."""
    cells: dict[tuple, dict] = {}
    for r in raw:
        cells.setdefault((r["law"], r["d"], r["n"]), {})[r["method"]] = r
    parts = []
    for name in WEIGHTS:
        pairs = [(cell[name], cell["normal"]) for cell in cells.values()]
        high = sum(a["gain"] > 0.05 + 2 * a["gain_se"] for a, _ in pairs)
        low = sum(a["gain"] < b["gain"] - (a["gain_se"] + b["gain_se"]) for a, b in pairs)
        twice = sum(a["relative_score_error"] > 2 * b["relative_score_error"] for a, b in pairs)
        parts.append(
            f'"{name}": the gain is above .05 by more than two standard errors in {high} of {len(pairs)} cells, and below '
            f"a normal fit's by more than their standard errors in {low}; the score error is more than twice that in {twice}."
        )
    return " ".join(parts)


if __name__ == "__main__":
    main()
