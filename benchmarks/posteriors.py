"""Which density estimate knows a posterior best? Eleven posteriors drawn by NUTS, held-out log-likelihood beside the peers.

Each estimate sees n draws of four chains, taken at random, and is judged by the mean log-density of 1200 draws of a fifth
chain, in nats, all in the same coordinates without bounds. "DiScoFormer" is `condition(x).normalized()`, "adapted" is
`condition(x).adapt().normalized()`. "EM + BIC" chooses full or diagonal covariances and up to 12 components; "KDE" has the
leave-one-out bandwidth; "flow" is a neural spline flow trained on the draws, stopped by a tenth of them.
Numbers are nats above the normal law with the draws' mean and covariance, ± the standard error of the difference; higher is
better. "best" marks methods within a standard error (of the paired difference) of the best one.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from methods import em, loo_kde
from posterior_models import MODELS, nuts
from report import cached, write
from torch import Tensor
from trained import SplineFlow

from disco_samplers import DiScoFormer, Draws
from disco_samplers.reference import Gaussian

SEED = 60_000_000
ADAPTED = "adapted"
METHODS = ("DiScoFormer", ADAPTED, "normal", "EM + BIC", "KDE", "flow")


def log_densities(method: str, x: Tensor, y: Tensor) -> list[float]:
    """The log-density at y (m, d) by one method that saw x (n, d)."""
    if method in ("DiScoFormer", ADAPTED):
        estimate = DiScoFormer.from_pretrained().condition(x)
        estimate = estimate.adapt() if method == ADAPTED else estimate
        return estimate.normalized(seed=0).log_prob(y).tolist()
    if method == "flow":
        return SplineFlow(x).log_prob_and_score(y)[0].tolist()
    make: dict[str, Callable[[Tensor], object]] = {
        "normal": lambda rows: Gaussian(rows.mean(0), rows.T.cov()),
        "EM + BIC": em,
        "KDE": loo_kde,
    }
    return make[method](x).log_prob(y).tolist()


def drawn(name: str) -> dict[str, object]:
    """Chains of one posterior, as they are shown, with their diagnostics."""
    model, index = MODELS[name](), list(MODELS).index(name)
    generator = torch.Generator().manual_seed(SEED + index)
    chains = torch.stack([model.shown(chain, generator) for chain in nuts(model, index)])
    known = Draws(chains)
    return {"chains": chains.tolist(), "rhat": max(known.rhat.tolist()), "effective size": known.effective_size}


def one(name: str, chains: list[list[list[float]]], n: int, method: str) -> dict[str, object]:
    """The log-densities of the last chain's draws by one method that saw n draws of the others, and its seconds."""
    draws = torch.tensor(chains, dtype=torch.float64)
    generator = torch.Generator().manual_seed(SEED + 1000 + list(MODELS).index(name))
    seen = draws[:-1].flatten(0, 1)
    x = seen[torch.randperm(len(seen), generator=generator)[:n]]
    started = time.time()
    values = log_densities(method, x, draws[-1])
    return {"log_prob": values, "seconds": time.time() - started}


def compared(found: dict[str, Tensor]) -> tuple[list[str], dict[str, tuple[float, float]], list[str]]:
    """Cells of a row, gains over the normal law with their standard errors, and the methods within an error of the best."""

    def difference(a: Tensor, b: Tensor) -> tuple[float, float]:
        gap = a - b
        return float(gap.mean()), float(gap.std() / math.sqrt(len(gap)))

    best = max(found, key=lambda method: float(found[method].mean()))
    level = []
    for method, values in found.items():
        behind, error = difference(found[best], values)
        if method == best or behind <= error:
            level.append(method)
    gains = {method: difference(values, found["normal"]) for method, values in found.items()}
    cells = [f"{gain:+.3f} ± {error:.3f}" + (" **best**" if method in level else "") for method, (gain, error) in gains.items()]
    return cells, gains, level


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 4000])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--cache", type=Path, help="folder to keep chains and finished cells in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="one posterior, 500 draws")
    parser.add_argument("--name", default="posteriors")
    options = parser.parse_args()
    if options.quick:
        options.models, options.sizes, options.name = ["survival"], [500], f"{options.name}_quick"
    torch.set_num_threads(1)
    started = time.time()
    rows, raw, ours = [], [], {"DiScoFormer": 0, ADAPTED: 0}
    for name in options.models:
        key = "".join(letter if letter.isalnum() else "_" for letter in name)
        source = cached(options.cache, f"{key}_chains", partial(drawn, name))
        for n in options.sizes:
            found, seconds = {}, {}
            for method in METHODS:
                cell = f"{key}_{n}_{method}".replace(" ", "_")
                answer = cached(options.cache, cell, partial(one, name, source["chains"], n, method))
                found[method], seconds[method] = torch.tensor(answer["log_prob"], dtype=torch.float64), answer["seconds"]
            cells, gains, level = compared(found)
            for method in ours:
                # Against the peers alone: the other one of ours is no rival.
                ours[method] += method in compared({other: found[other] for other in (method, *METHODS[2:])})[2]
            rows.append([name, str(MODELS[name]().dim), str(n), *cells])
            raw.append({"posterior": name, "n": n, "rhat": source["rhat"], "gains": gains, "best": level, "seconds": seconds})
            print(" | ".join(rows[-1]), flush=True)
    chains = f"Chains: R-hat at most {max(float(row['rhat']) for row in raw):.3f}."
    verdict = f"Best of the peers or within a standard error of it, of {len(rows)} cells: " + ", ".join(
        f"{method} in {count}" for method, count in ours.items()
    )
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{chains} {verdict}."
    write(options.name, "Posteriors", about, ["posterior", "d", "n", *METHODS], rows, raw, started)


if __name__ == "__main__":
    main()
