"""Do chains from an estimate mix: jumps between all its parts beside local moves, on posteriors that chains get stuck in."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import cached, write
from targets import Banana, Funnel
from torch import Tensor

from disco_samplers import DensityEstimate, DiScoFormer, LangevinSampler, SamplerResult
from disco_samplers.convergence import diagnostic
from disco_samplers.estimators import DEFAULTS
from disco_samplers.files import read_table
from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import StudentT

ROWS = 2000
DOUBLE = {"dtype": torch.float64}
SCHOOLS = Path(__file__).parents[1] / "notebooks" / "data" / "eight_schools.csv"


def two_modes(n: int, generator: torch.Generator) -> Tensor:
    """Ten standard deviations apart, .3 and .7 of the mass."""
    x = torch.randn(n, 2, generator=generator, **DOUBLE)
    x[:, 0] += 10 * (torch.rand(n, generator=generator, **DOUBLE) < 0.3)
    return x


def switched_labels(n: int, generator: torch.Generator) -> Tensor:
    """Three means of a mixture in any order: six modes."""
    modes = torch.tensor(list(itertools.permutations([-3.0, 0.0, 3.0])), **DOUBLE)
    return modes[torch.randint(6, (n,), generator=generator)] + 0.4 * torch.randn(n, 3, generator=generator, **DOUBLE)


def ridge(n: int, generator: torch.Generator) -> Tensor:
    """A normal of five dimensions, eigenvalues from 1 to 1e-5, turned."""
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(98), **DOUBLE))[0]
    return torch.randn(n, 5, generator=generator, **DOUBLE) * torch.logspace(-5, 0, 5, **DOUBLE).sqrt() @ turn.T


def regression(n: int, generator: torch.Generator) -> Tensor:
    """24 coefficients and the logarithm of the noise, of a linear regression on correlated columns; exact draws."""
    fixed = torch.Generator().manual_seed(99)
    columns = torch.randn(60, 24, generator=fixed, **DOUBLE)
    columns[:, 1:] += 0.7 * columns[:, :1]
    y = columns @ torch.randn(24, generator=fixed, **DOUBLE) + torch.randn(60, generator=fixed, **DOUBLE)
    precision = columns.T @ columns + torch.eye(24, **DOUBLE)
    mean = torch.linalg.solve(precision, columns.T @ y)
    rate = 1 + 0.5 * float(y @ y - mean @ precision @ mean)
    variance = rate / gamma(31, n, 1, generator)
    root = torch.linalg.cholesky(torch.linalg.inv(precision))
    return torch.cat(
        [mean + variance.sqrt() * torch.randn(n, 24, generator=generator, **DOUBLE) @ root.T, variance.log() / 2], 1
    )


def positive(n: int, generator: torch.Generator) -> Tensor:
    """Three gamma variables of shape two and a common one."""
    return gamma(2, n, 3, generator) + 0.5 * gamma(2, n, 1, generator)


def gamma(shape: int, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Gamma variables of whole shape, as sums of exponential ones."""
    return -torch.rand(shape, n, d, generator=generator, **DOUBLE).log().sum(0)


TARGETS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "eight schools, d = 10": lambda n, g: torch.from_numpy(read_table(str(SCHOOLS)).values)[torch.randperm(2000, generator=g)],
    "funnel, d = 10": Funnel(10).draw,
    "funnel, d = 2": Funnel(2).draw,
    "banana, d = 2": Banana(2).draw,
    "two modes, d = 2": two_modes,
    "six modes, d = 3": switched_labels,
    "Student-t(3), d = 5": lambda n, g: StudentT(torch.zeros(5, **DOUBLE), torch.eye(5, **DOUBLE), 3.0).sample(n, generator=g),
    "ridge 1e-5, d = 5": ridge,
    "regression, d = 25": regression,
    "positive, d = 3": positive,
}


def copied(x: Tensor, rows: Tensor) -> tuple[float, float]:
    """Share of points less than a third as far from the nearest row as from the next one, and the median distance."""
    near = torch.cdist(x / rows.std(0), rows / rows.std(0)).topk(2, largest=False).values
    return float((near[:, 0] < near[:, 1] / 3).double().mean()), float(near[:, 0].median())


def longest_run(result: SamplerResult) -> int:
    """Most draws in a row of a chain that are all the same."""
    still = (result.draws[:, 1:] == result.draws[:, :-1]).all(-1).cpu().numpy()
    return 1 + max(len(part) for chain in still for part in "".join(map(str, chain.astype(int))).split("0"))


def told(result: SamplerResult, seconds: float) -> dict[str, Any]:
    """Of a run: the worst of its variables, and effective draws a second."""
    ess = float(min(result.ess.min(), diagnostic("ess_tail", result.numpy()).min()))
    worst = float(np.max(result.rhat))
    return {"r_hat": worst, "ess": ess, "seconds": seconds, "ess a second": ess / seconds, "longest run": longest_run(result)}


def run(estimate: DensityEstimate, seed: int, num_samples: int, **options: Any) -> tuple[SamplerResult, float]:
    """A run and its processor time, of which other work on the machine takes nothing."""
    warmup = options.pop("num_warmup", None)
    started = time.process_time()
    result = LangevinSampler(estimate, **options).run(num_samples, num_warmup=warmup, seed=seed, progress=False)
    return result, time.process_time() - started


def one(name: str, seed: int, model: DiScoFormer) -> dict[str, Any]:
    """A target's draws in three parts: the context, what new draws are held against, and independent ones beside them."""
    rows = TARGETS[name](3 * ROWS, torch.Generator().manual_seed(1000 + seed))
    context, held, fresh = rows[: 3 * (len(rows) // 3)].chunk(3)
    estimate = model.condition(context)
    result, seconds = run(estimate, seed, 1000)
    # A quarter as long: of effective draws a second that tells as much.
    local, local_seconds = run(estimate, seed, 250, method="mala", num_warmup=125)
    new = result.flat[torch.linspace(0, len(result.flat) - 1, len(fresh)).round().long()]
    copies, near = copied(new, context)
    fresh_copies, fresh_near = copied(fresh, context)
    redrawn = context[torch.randint(len(context), (10, len(context)), generator=torch.Generator().manual_seed(seed))]
    return {
        "jumps": told(result, seconds) | {"pareto_k": result.pareto_k, "unmixed": result.unmixed},
        "mala": told(local, local_seconds),
        "distance": sliced_wasserstein(new, held),
        "distance of independent rows": sliced_wasserstein(fresh, held),
        "distance of rows drawn again": float(np.mean([sliced_wasserstein(again, held) for again in redrawn])),
        "copied": copies,
        "copied of independent rows": fresh_copies,
        "nearest row": near / fresh_near,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    started, model = time.time(), DiScoFormer.from_pretrained(DEFAULTS["posterior"])
    raw: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for name in options.targets:
        plain = "".join(c if c.isalnum() else "_" for c in name)
        raw[name] = []
        for seed in range(options.seeds):
            raw[name].append(cached(options.cache, f"{plain}-{seed}", lambda name=name, seed=seed: one(name, seed, model)))
            print(name, seed, raw[name][-1], flush=True)
        jumps, mala = ([part[method] for part in raw[name]] for method in ("jumps", "mala"))

        def mean(key: str, parts: list[dict[str, Any]] = raw[name]) -> float:
            return float(np.mean([part[key] for part in parts]))

        rows.append(
            [
                name,
                f"{max(part['r_hat'] for part in jumps):.3f}",
                f"{min(part['ess'] for part in jumps):.0f}",
                f"{np.mean([part['seconds'] for part in jumps]):.0f}",
                f"{max(part['r_hat'] for part in mala):.2f}",
                f"{np.mean([a['ess a second'] / b['ess a second'] for a, b in zip(jumps, mala, strict=True)]):.0f}",
                f"{max(part['pareto_k'] for part in jumps):.2f}",
                f"{max(part['longest run'] for part in jumps)} / {max(part['longest run'] for part in mala)}",
                f"{mean('distance') / mean('distance of independent rows'):.2f}",
                f"{mean('distance of rows drawn again') / mean('distance of independent rows'):.2f}",
                f"{mean('copied'):.3f} / {mean('copied of independent rows'):.3f}",
                f"{mean('nearest row'):.2f}",
            ]
        )
    write(
        "mixing",
        "Chains that mix",
        f"Draws from the estimate of {ROWS} rows (of eight schools 666), weights {DEFAULTS['posterior']}, by "
        "`LangevinSampler(estimate).run(1000)`: four chains of 1000 draws. R-hat is the largest, ESS the smallest of bulk and "
        "tails, of all variables, over seeds; s is processor time. Gain: effective draws a second of it, over those of the "
        'method "mala" (250 draws after 125 steps of warm-up). Longest: most draws in a row that are all the same, of it / of '
        '"mala". Distance: sliced Wasserstein distance of new draws to rows held out, over that of as many independent rows. '
        "Again: the same of the context's rows drawn with replacement, 1.22 in expectation: new draws are no farther from the "
        "rows held out if the estimate errs no more than its rows do. Copied: share of draws less than a third as far from the "
        "nearest row of the context as from the next, of new draws / of independent rows. Nearest: median distance to the "
        "nearest row over that of independent rows, 1 for draws that know no row.",
        ["target", "R-hat", "ESS", "s", "R-hat, mala", "gain", "Pareto k", "longest", "distance", "again", "copied", "nearest"],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
