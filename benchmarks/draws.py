"""Score error from draws that are not independent: weighted, repeated, correlated, beside independent draws of equal worth.

All targets have exact scores; errors are relative, sum |s - s*|^2 / sum |s*|^2, over 1000 independent queries.
"importance": 2000 draws of the target stretched by 1.2 (1.1 from d = 10 on), with the weights that this takes.
"Metropolis": 4 chains of 500 by random-walk Metropolis of acceptance .25. "stretch": 40 walkers of 50 by affine-invariant
moves. "AR(1)": 4 chains of 500 of that autocorrelation. "nested": 2800 (d = 2) to 8000 (d = 20) dead points of nested sampling
in a normal prior, 400 live ones. All are started in the target. "worth" is `Draws.effective_size`; "equal" are as many
independent draws.
"as an array" takes every row for a draw of its own (weights: resampled to as many rows), "thinned" and "resampled" are what
`Draws` gives by these names, "KDE" has the weights and the better of Scott's rule (at the effective size) and leave-one-out
likelihood, known only afterwards; "EM + BIC" is fitted to the resampled or thinned rows. "entropy" is the share of sets whose
entropy, of `Draws`, is within three of its own standard errors of the exact one (by 200,000 draws where there is no formula).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from methods import em
from report import cached, spread, write
from targets import Funnel
from torch import Tensor

from disco_samplers import DiScoFormer, Draws
from disco_samplers.draws import DrawsWarning
from disco_samplers.measures import entropy
from disco_samplers.reference import Gaussian, ReferenceDensity, StudentT
from disco_samplers.training.families import paper_mixture

SEED = 60_000_000
ROWS, CHAINS, WALKERS, LIVE = 2000, 4, 40, 400
METHODS = ("Draws", "equal", "as an array", "thinned", "resampled", "KDE", "EM + BIC")
LogDensity = Callable[[Tensor], Tensor]


def target_of(name: str, d: int, generator: torch.Generator) -> ReferenceDensity:
    zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    if name == "mixture":
        drawn = paper_mixture(1, d, generator)
        parts = (drawn.weights[0], drawn.means[0], drawn.covariances[0])
        return type(drawn)(*(part.double() for part in parts))
    return {"normal": Gaussian(zero, eye), "Student-t 5": StudentT(zero, eye, 5.0), "funnel": Funnel(d)}[name]


def importance(target: ReferenceDensity, d: int, generator: torch.Generator) -> Draws:
    stretch = 1.2 if d < 10 else 1.1
    z = target.draw(ROWS, generator)
    x = stretch * z
    log_weights = target.evaluate(x) - target.evaluate(z)
    return Draws(x, weights=(log_weights - log_weights.max()).exp())


def metropolis(target: ReferenceDensity, d: int, generator: torch.Generator) -> Draws:
    x, step = target.draw(CHAINS, generator), 2.4 / math.sqrt(d)
    kept: list[Tensor] = []
    for i in range(ROWS // CHAINS + 500):
        new = x + step * torch.randn(x.shape, dtype=x.dtype, generator=generator)
        accepted = torch.rand(CHAINS, dtype=x.dtype, generator=generator).log() < target.evaluate(new) - target.evaluate(x)
        x = torch.where(accepted[:, None], new, x)
        if i < 500:
            step *= math.exp((float(accepted.double().mean()) - 0.25) / math.sqrt(i + 1))
        else:
            kept.append(x)
    return Draws(torch.stack(kept, 1))


def stretch_moves(target: ReferenceDensity, d: int, generator: torch.Generator) -> Draws:
    """Goodman and Weare's ensemble of walkers, of which one half moves along lines to the other."""
    x, half = target.draw(WALKERS, generator), WALKERS // 2
    kept = []
    for _ in range(ROWS // WALKERS):
        for here in (slice(0, half), slice(half, None)):
            there = x[half:] if here.start == 0 else x[:half]
            partner = there[torch.randint(half, (half,), generator=generator)]
            z = (1 + torch.rand(half, dtype=x.dtype, generator=generator)).square() / 2
            new = partner + z[:, None] * (x[here] - partner)
            gain = (d - 1) * z.log() + target.evaluate(new) - target.evaluate(x[here])
            accepted = torch.rand(half, dtype=x.dtype, generator=generator).log() < gain
            x[here] = torch.where(accepted[:, None], new, x[here])
        kept.append(x.clone())
    return Draws(torch.stack(kept, 1))


def autoregression(rho: float, target: ReferenceDensity, d: int, generator: torch.Generator) -> Draws:
    x = target.draw(CHAINS, generator)
    kept = []
    for _ in range(ROWS // CHAINS):
        x = rho * x + math.sqrt(1 - rho**2) * target.draw(CHAINS, generator)
        kept.append(x)
    return Draws(torch.stack(kept, 1))


def nested(target: ReferenceDensity, d: int, generator: torch.Generator) -> Draws:
    """Exact nested sampling of a standard normal law in a normal prior of deviation 2: the likelihood falls with the radius."""
    prior = Gaussian(torch.zeros(d, dtype=torch.float64), 4 * torch.eye(d, dtype=torch.float64))
    # Prior mass inside a radius is uniform, so that dead points are drawn by their mass, outside in.
    dead = LIVE * (6 + 7 * d // 10)  # what is left of the prior's mass when they are dead holds .4 % of the posterior at most
    shrink = torch.rand(dead, dtype=torch.float64, generator=generator).log() / LIVE
    mass = shrink.cumsum(0).exp()
    chi2 = torch.distributions.Gamma(torch.tensor(d / 2.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    grid = torch.linspace(0, 6 * d + 60, 200_001, dtype=torch.float64)
    cumulative = torch.cumulative_trapezoid(chi2.log_prob(grid.clamp_min(1e-9)).exp(), grid)
    radius = 2 * grid[1:][torch.searchsorted(cumulative / cumulative[-1], mass).clamp_max(len(grid) - 2)].sqrt()
    direction = torch.randn(dead, d, dtype=torch.float64, generator=generator)
    x = radius[:, None] * direction / direction.norm(dim=1, keepdim=True)
    widths = torch.cat([1 - mass[:1], mass[:-1] - mass[1:]])
    log_weights = target.evaluate(x) - prior.evaluate(x) + widths.log()
    return Draws(x, weights=(log_weights - log_weights.max()).exp())


KINDS: dict[str, tuple[Callable[..., Draws], tuple[str, ...]]] = {
    "importance": (importance, ("normal", "mixture", "Student-t 5", "funnel")),
    "Metropolis": (metropolis, ("normal", "mixture", "Student-t 5", "funnel")),
    "stretch": (stretch_moves, ("normal", "mixture")),
    "AR(1) .5": (partial(autoregression, 0.5), ("normal",)),
    "AR(1) .9": (partial(autoregression, 0.9), ("normal",)),
    "AR(1) .99": (partial(autoregression, 0.99), ("normal",)),
    "nested": (nested, ("normal",)),
}


def weighted_kde(x: Tensor, share: Tensor, y: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Log-density and score at y of a KDE with weights, in standardised columns."""
    logits = share.log() - 0.5 * torch.cdist(y, x).square() / h**2
    p = logits.softmax(1)
    return logits.logsumexp(1) - x.shape[1] * math.log(h), (p @ x - y) / h**2


def kde(draws: Draws, y: Tensor, true: Tensor) -> float:
    rows, counts = draws.counts()
    share = torch.full((len(rows),), 1 / len(rows), dtype=rows.dtype) if counts is None else counts / counts.sum()
    mean = (share[:, None] * rows).sum(0)
    deviation = (share[:, None] * (rows - mean).square()).sum(0).sqrt()
    x, z = (rows - mean) / deviation, (y - mean) / deviation
    scott = draws.effective_size ** (-1 / (draws.dim + 4))
    # Distances once, and in single precision: it chooses the same of nine bandwidths.
    squared, leave_one_out = torch.cdist(x, x).square_().fill_diagonal_(math.inf).float(), []
    for h in (scott * torch.logspace(-0.7, 0.3, 9)).tolist():
        logits = (squared * (-0.5 / h**2)).add_(share.log().float())
        likelihood = logits.logsumexp(1) - (1 - share).log() - draws.dim * math.log(h)
        leave_one_out.append((float((share * likelihood).sum()), h))
    return min(relative(weighted_kde(x, share, z, h)[1] / deviation, true) for h in (scott, max(leave_one_out)[1]))


def relative(score: Tensor, true: Tensor) -> float:
    return float((score - true).square().sum() / true.square().sum())


def one_set(task: tuple[str, str, int, int]) -> dict[str, float]:
    kind, name, d, index = task
    cell = 1000 * (100 * list(KINDS).index(kind) + 20 * ("normal", "mixture", "Student-t 5", "funnel").index(name)) + d
    generator = torch.Generator().manual_seed(SEED + 100 * cell + index)
    target = target_of(name, d, generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DrawsWarning)
        draws = KINDS[kind][0](target, d, generator)
        y = target.draw(1000, generator)
        true, disco = target.evaluate_score(y), DiScoFormer.from_pretrained()
        worth = max(2, round(draws.effective_size))
        found = {"worth": draws.effective_size, "Draws": relative(disco.condition(draws).score(y), true)}
        found["equal"] = relative(disco.condition(target.draw(worth, generator)).score(y), true)
        if draws.weights is None:
            bare, fewer = draws.values, draws.thin()
            found["thinned"] = relative(disco.condition(fewer.values).score(y), true)
        else:
            bare, fewer = draws.resample(ROWS, generator=generator).values, draws.resample(generator=generator)
            found["resampled"] = relative(disco.condition(fewer.values).score(y), true)
        # Every row taken for a draw of its own, as it was before rows were told apart.
        found["as an array"] = relative(disco.condition(bare[None]).score(y[None])[0], true)
        found["KDE"] = kde(draws, y, true)
        found["EM + BIC"] = relative(em(fewer.values.double()).score(y), true)
        told = entropy(draws)
        found["entropy off"] = (told.value - exact_entropy(target, generator)) / told.standard_error
    return found


def kept(cache: Path | None, task: tuple[str, str, int, int]) -> dict[str, float]:
    return cached(cache, "_".join(map(str, task)).replace(" ", "_"), partial(one_set, task))


def exact_entropy(target: ReferenceDensity, generator: torch.Generator) -> float:
    if isinstance(target, Gaussian):
        return 0.5 * (target.dim * math.log(2 * math.pi * math.e) + float(target.covariances[0].logdet()))
    return -float(target.evaluate(target.draw(200_000, generator)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished sets in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="importance weights of a normal law in the plane, one set")
    options = parser.parse_args()
    name = "draws"
    cells = [(kind, target, d) for kind, (_, names) in KINDS.items() for target in names for d in options.dims]
    if options.quick:
        cells, options.sets, name = [("importance", "normal", 2)], 1, "draws_quick"
    started, rows, raw, ratios, covered = time.time(), [], [], [], []
    # All cells of one set, then the next: a run that is stopped leaves as many sets of each cell.
    tasks = [(*cell, index) for index in range(options.sets) for cell in cells]
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        found = dict(zip(tasks, pool.map(partial(kept, options.cache), tasks, 1), strict=True))
    for kind, target, d in cells:
        answers = [found[kind, target, d, index] for index in range(options.sets)]
        cell = [kind, target, str(d), f"{spread([a['worth'] for a in answers])[0]:.0f}"]
        for method in METHODS:
            values = [a[method] for a in answers if method in a]
            mean, error = spread(values) if values else (math.nan, math.nan)
            cell.append(f"{100 * mean:.3g} ± {100 * error:.1g}" if values else "")
            raw.append({"kind": kind, "target": target, "d": d, "method": method, "errors": values})
        ratio = spread([a["Draws"] for a in answers])[0] / spread([a["equal"] for a in answers])[0]
        ratios.append(ratio)
        inside = [abs(a["entropy off"]) <= 3 for a in answers]
        covered += inside
        raw.append({"kind": kind, "target": target, "d": d, "entropy off": [a["entropy off"] for a in answers]})
        rows.append([*cell, f"{ratio:.2f}", f"{sum(inside) / len(inside):.0%}"])
        print(" | ".join(rows[-1]), flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    about = (
        __doc__.split("\n", 1)[1].strip()
        + f"\n\n{options.sets} sets a cell, mean ± standard error, in %. Draws to equal independent draws: geometric mean "
        f"{mean:.2f}, largest {max(ratios):.2f}; above 1.5 in {sum(ratio > 1.5 for ratio in ratios)} of {len(ratios)} cells. "
        f"Entropy within three standard errors: {sum(covered) / len(covered):.1%} of {len(covered)} sets."
    )
    header = ["draws", "target", "d", "worth", *METHODS, "Draws / equal", "entropy"]
    write(name, "Draws that are not independent", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
