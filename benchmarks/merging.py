"""Posteriors sampled in shards and merged, beside consensus Monte Carlo, diffusion, and products of three kinds of densities.

IAD: integrated absolute distance of the marginals, half the mean over parameters of the integral of |p - q|, to 10,000 draws
of the posterior given all data; "all data": other 10,000 such draws, the noise. 10,000 draws of each shard. Posteriors:
logistic (9 parameters) and rare (5, one feature rare), logistic regressions; labels (6), centres of three clusters, whose
labels make six modes; rates (2 to 10), log-gamma laws of a skewness of .4, with exact draws. Shards: of equal shares of the
data and the prior to the power 1/K; "prior": each has all of the prior, which is told to the merge; "unequal": one has half
of the data; "apart": log-rates differ by up to .5 either way; "chains": autocorrelated by .8; "weighted": draws of a wider
law. Consensus and semiparametric merges know of no prior. The Gaussian process is told the shards' log-densities, has a
quadratic mean, and the library's sampler. Diffusion: small score networks of the shards, added (two cases, for what they
cost); it and the semiparametric merge, which is left out of 64 shards for its time, give 4,000 draws. Seconds of the CPU, one
thread: of the merge, fitting included, and of sampling the shards (nothing, where draws are exact), on a machine with other
work. Overlap: the smallest effective overlap of a shard. Mean ± standard error over splits of the data.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusion_merge import diffusion
from merges import consensus, gaussian_product, integrated_distance, process, semiparametric
from report import write
from subposteriors import Rates, cached, data, log_density, log_prior, parts_of, prior_gaussian
from torch import Tensor

from disco_samplers import Draws
from disco_samplers.posteriors import MergedPosterior, merged_posterior
from disco_samplers.scores import from_log_prob

DRAWS = 10_000
NAMES = ("disco merge", "Gaussian process", "Gaussian product")
OF_NO_PRIOR = ("consensus Monte Carlo", "semiparametric KDE product")
DIFFUSED = (("labels", 4, ""), ("logistic", 4, ""))
"""Cases in which diffusion is tried."""


class Case(NamedTuple):
    """A posterior, its shards, what is special about them, and how many splits of the data."""

    problem: str
    shards: int
    kind: str = ""
    splits: int = 1


CASES = (
    Case("labels", 4, splits=2),
    Case("labels", 4, "prior"),
    Case("labels", 16, splits=2),
    Case("rare", 15),
    Case("logistic", 4),
    Case("rates 2", 4, splits=3),
    Case("rates 10", 4, splits=3),
    Case("rates 10", 4, "chains", splits=3),
    Case("rates 10", 4, "weighted", splits=3),
    Case("rates 20", 4, splits=2),
    Case("rates 10", 16, splits=2),
    Case("rates 10", 16, "unequal", splits=2),
    Case("rates 5", 16, "apart", splits=2),
    Case("rates 5", 64),
)


class Shards(NamedTuple):
    """Shards as they are given, as plain rows, their log-densities, the prior that each used, and what sampling took."""

    given: list[Any]
    rows: list[Tensor]
    log_densities: list[Callable[[Tensor], Tensor]]
    prior: str | None
    seconds: float
    reference: tuple[Tensor, Tensor]


def shards_of(case: Case, split: int, cache: Path | None) -> Shards:
    """The shards of a case, and two halves of draws of its posterior."""
    count = case.shards
    if case.problem.startswith("rates"):
        law = Rates.of(int(case.problem[6:]), count, split, apart=0.5 * (case.kind == "apart"), unequal=case.kind == "unequal")
        begun = time.process_time()
        rows = [law.shard(k, DRAWS, 1000 * split + k) for k in range(count)]
        given: list[Any] = rows
        if case.kind == "chains":
            given = [Draws(law.chain(k, DRAWS, 1000 * split + k)) for k in range(count)]
            rows = [x.values for x in given]
        if case.kind == "weighted":
            given = [Draws(x, weights=w) for x, w in (law.weighted(k, DRAWS, 1000 * split + k) for k in range(count))]
            rows = [x.resample(DRAWS, seed=split).values for x in given]
        seconds = time.process_time() - begun
        densities = [law.log_density(k) for k in range(count)]
        return Shards(given, rows, densities, None, seconds, (law.whole(DRAWS, 900 + split), law.whole(DRAWS, 800 + split)))
    whole = cached(cache, case.problem, 1, 0, 2 * DRAWS)[0][0]
    power = 1.0 if case.kind == "prior" else None
    unequal = case.kind == "unequal"
    rows, seconds = cached(cache, case.problem, count, split, DRAWS, prior_power=power, unequal=unequal)
    parts = parts_of(data(case.problem, split), count, unequal=unequal)
    densities = [log_density(case.problem, part, power or 1 / count) for part in parts]
    prior = case.problem if power else None
    return Shards(rows, rows, densities, prior, seconds, (whole[:DRAWS], whole[DRAWS:]))


def merges(case: Case, shards: Shards, generator: torch.Generator, overlaps: list[float]) -> dict[str, Callable[[], Tensor]]:
    """The merges that there are for a case; that of the library adds the smallest overlap of a shard to a list."""
    prior = None if shards.prior is None else log_prior(shards.prior)
    fitted: list[MergedPosterior] = []

    def fit() -> MergedPosterior:
        fitted.append(merged_posterior(shards.given, prior=prior, generator=generator))
        return fitted[0]

    def disco() -> Tensor:
        x = fit().sample(generator=generator, progress=False).flat
        overlaps.append(float(fitted[0].overlap(x).min()))
        return x

    def by_processes() -> Tensor:
        score = process(shards.rows, shards.log_densities, generator)
        if prior is not None:
            score = score - (len(shards.rows) - 1) * from_log_prob(prior)
        where = fitted[0] if fitted else fit()  # its mixtures say where to start
        return MergedPosterior(score, where.shards, where.draws).sample(generator=generator, progress=False).flat

    removed = None if shards.prior is None else prior_gaussian(shards.prior)
    found: dict[str, Callable[[], Tensor]] = {
        "disco merge": disco,
        "Gaussian process": by_processes,
        "Gaussian product": lambda: gaussian_product(shards.rows, DRAWS, generator, removed),
    }
    if prior is None:
        found["consensus Monte Carlo"] = lambda: consensus(shards.rows, DRAWS, generator)
        found["semiparametric KDE product"] = lambda: semiparametric(shards.rows, 4000, generator)
    if case[:3] in DIFFUSED:
        found["diffusion merge"] = lambda: diffusion(shards.rows, 4000, generator)
    return found


def names_of(case: Case) -> tuple[str, ...]:
    """The merges that there are for a case."""
    names = NAMES if case.kind == "prior" else NAMES + OF_NO_PRIOR[: 2 if case.shards < 64 else 1]
    return (*names, "diffusion merge") if case[:3] in DIFFUSED else names


def cell(values: list[float]) -> str:
    v = torch.tensor(values, dtype=torch.float64)
    return f"{v.mean():.3f}" + (f" ± {v.std() / len(v) ** 0.5:.3f}" if len(v) > 1 else "")


def measured(case: Case, split: int, cache: Path | None) -> dict[str, Any]:
    """IAD and seconds of each merge, the seconds of sampling, and the smallest overlap; with ``cache`` each is kept there."""
    path = cache / f"{'-'.join(map(str, case[:3]))}-{split}.json".replace(" ", "") if cache else None
    kept = json.loads(path.read_text()) if path is not None and path.is_file() else {"found": {}}
    names = names_of(case)
    if not set(kept["found"]).issuperset(["all data", *names]):
        shards = shards_of(case, split, cache)
        overlaps: list[float] = []
        kept["sampling"] = shards.seconds
        kept["found"]["all data"] = (integrated_distance(shards.reference[1], shards.reference[0]), 0.0)
        generator = torch.Generator().manual_seed(split)
        for name, merge in merges(case, shards, generator, overlaps).items():
            if name in kept["found"]:
                continue
            begun = time.process_time()
            merged = merge()
            seconds = time.process_time() - begun
            kept["found"][name] = (integrated_distance(merged, shards.reference[0]), seconds)
            print(case, split, name, kept["found"][name], flush=True)
            if overlaps:
                kept["overlap"] = overlaps[0]
            if path is not None:
                path.write_text(json.dumps(kept))
    return kept | {"found": {name: kept["found"][name] for name in ("all data", *names)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep the shards' draws and what each merge gave in")
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    for case in CASES:
        splits = [measured(case, split, options.cache) for split in range(case.splits)]
        raw += [case._asdict() | {"split": i} | result for i, result in enumerate(splits)]
        for name in splits[0]["found"]:
            values, seconds = zip(*(result["found"][name] for result in splits), strict=True)
            row = [case.problem, str(case.shards), case.kind, name, cell(list(values))]
            row.append("" if name == "all data" else f"{sum(seconds) / len(seconds):.1f}")
            ours = name == "disco merge"
            row.append(f"{sum(r['sampling'] for r in splits) / len(splits):.0f}" if ours else "")
            row.append(f"{min(r['overlap'] for r in splits):.3f}" if ours else "")
            rows.append(row)
    header = ["posterior", "shards", "kind", "merge", "IAD", "seconds", "sampling", "overlap"]
    write("merging", "Merging subposteriors", " ".join(__doc__.split("\n\n")[1].split()), header, rows, raw, started)


if __name__ == "__main__":
    main()
