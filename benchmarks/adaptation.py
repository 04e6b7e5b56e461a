"""What on-the-fly adaptation gains: error against steps, with consistency alone and with the held-out criterion.

"steps" columns: gradient steps of the consistency loss alone on the whole context, the last step kept, as published.
"adapt()" is `estimate.adapt`, which takes columns as independent, takes the rows in parts or chooses coordinates for heavy
tails where held-out rows speak for it, and lets a mixture share; "adapt(8)" makes eight gradient steps, too, with a fifth of
the rows kept out, and keeps the best only if it is better there by more than two standard errors: "chosen" is how many it kept
on the mean. "seconds" are those of "adapt()".
Out of family: relative score error in %
and its ratio to the error before (below 1 is a gain; mean ± standard error of the paired ratios). Real tables (columns
standardised by the training rows, 80:20 splits): held-out log-likelihood in nats per row and column, the normaliser taken
off by importance sampling, as a difference to that before.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import shapes
import torch
from report import cached, curves, spread, write
from tables import tables

from disco_samplers import DiScoFormer
from disco_samplers.estimate import DensityEstimate
from disco_samplers.estimators import NetworkEstimator, consistency

STEPS = (0, 1, 2, 4, 8, 16, 32)
ASKED = (0, 8)
REAL = ("iris", "diabetes", "wine", "cancer, means")


def consistency_alone(estimate: DensityEstimate, queries: int = 256) -> Iterator[DensityEstimate]:
    """The estimate after each of STEPS gradient steps on the consistency loss, without any criterion."""
    model = copy.deepcopy(estimate.model)
    optimizer = torch.optim.Adam([p.requires_grad_() for p in model.network.heads.parameters()], 1e-4)
    follows = NetworkEstimator(model.network, estimate.samples, None, estimate.keys)
    working = DensityEstimate(model, estimate.samples, follows)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            yield working
        rows = torch.randperm(len(estimate.samples), generator=generator)[:queries]
        loss = consistency(working.estimator, working.samples[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def curve(estimate: DensityEstimate, judge: Callable[[DensityEstimate], float]) -> dict[str, list[float]]:
    """The judge's value along the steps of consistency alone, and adapted without and with steps; the steps chosen, seconds."""
    plain = [judge(working) for working in consistency_alone(estimate)]
    adapted = [estimate.adapt(num_steps=steps) for steps in ASKED]
    told = [float(adapted[-1].report.chosen), adapted[0].report.seconds]
    return {"steps": plain, "adapt": [judge(one) for one in adapted], "told": told}


def score_errors(task: tuple[str, str, int, int]) -> dict[str, list[float]]:
    """Relative score errors on a target out of family."""
    weights, name, n, index = task
    target, x, y = shapes.data_set(name, n, index)
    true = target.evaluate_score(y)

    def judge(estimate: DensityEstimate) -> float:
        return float((estimate.score(y).detach() - true).square().sum() / true.square().sum())

    return curve(DiScoFormer.from_pretrained(weights).condition(x), judge)


def log_likelihoods(task: tuple[str, str, int, int]) -> dict[str, list[float]]:
    """Held-out log-likelihoods per row and column of a real table, normalised."""
    weights, name, _, split = task
    table = torch.from_numpy(tables()[name])
    order = np.random.default_rng(split).permutation(len(table))
    train, test = (table[part] for part in np.split(order, [round(0.8 * len(table))]))
    train, test = ((part - train.mean(0)) / train.std(0) for part in (train, test))

    def judge(estimate: DensityEstimate) -> float:
        log_z = estimate.log_normalizer(generator=torch.Generator().manual_seed(0)).value
        return (float(estimate.log_prob(test).detach().mean()) - log_z) / test.shape[1]

    return curve(DiScoFormer.from_pretrained(weights).condition(train), judge)


def gains(found: list[dict[str, list[float]]], real: bool) -> tuple[list[str], list[tuple[float, float]]]:
    """Cells of one target, and for every column of it mean and standard error of the gain (ratio, or difference)."""
    values = torch.tensor([one["steps"] + one["adapt"] for one in found], dtype=torch.float64)
    change = values - values[:, :1] if real else values / values[:, :1]
    pairs = [spread(column.tolist()) for column in change.T]
    start, error = spread(values[:, 0].tolist())
    first = f"{start:.3f} ± {error:.3f}" if real else f"{100 * start:.1f} ± {100 * error:.1f}"
    form = "{:+.3f} ± {:.3f}" if real else "{:.3f} ± {:.3f}"
    told = [
        f"{spread(column)[0]:.{digits}f}"
        for column, digits in zip(zip(*(one["told"] for one in found), strict=True), (0, 1), strict=True)
    ]
    return [first, *(form.format(*pair) for pair in pairs[1:]), *told], pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument(
        "--targets", nargs="+", default=[*shapes.TARGETS, *REAL], choices=[*shapes.TARGETS, *REAL], metavar="TARGET"
    )
    parser.add_argument("--size", type=int, default=512, help="samples of each data set out of family (default: %(default)s)")
    parser.add_argument("--model", default="axes", help="a shipped name, folder or file (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished targets in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="Laplace in the plane, two sets of 128 samples")
    parser.add_argument("--name", default="adaptation")
    options = parser.parse_args()
    targets = options.targets
    if options.quick:
        options.name, options.sets, options.size, targets = f"{options.name}_quick", 2, 128, ["Laplace, d=2"]
    started = time.time()
    rows, raw, panels, counts = [], [], {}, {"better": 0, "equal": 0, "worse": 0}
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for name in targets:
            real = name in REAL
            tasks = [(options.model, name, options.size, index) for index in range(options.sets)]
            measure = log_likelihoods if real else score_errors
            found = cached(options.cache, name.replace(" ", "_"), partial(pool.map, measure, tasks, 1))
            cells, pairs = gains(found, real)
            rows.append([name, *cells])
            raw.append({"target": name, "sets": found})
            print(" | ".join(rows[-1]), flush=True)
            mean, error = pairs[len(STEPS)]
            gain = mean if real else 1 - mean
            counts["better" if gain > error else "worse" if gain < -error else "equal"] += 1
            if not real:
                steps = [max(0.5, step) for step in STEPS]  # 0 has no place on a logarithmic axis
                panels[name] = {
                    "consistency alone": (steps, [p[0] for p in pairs[: len(STEPS)]], [p[1] for p in pairs[: len(STEPS)]]),
                    "DiScoFormer.adapt": (
                        [max(0.5, step) for step in ASKED],
                        [p[0] for p in pairs[len(STEPS) :]],
                        [p[1] for p in pairs[len(STEPS) :]],
                    ),
                }
    about = __doc__.split("\n", 1)[1].strip() + (
        f'\n\nWeights "{options.model}", n = {options.size} (real tables: all rows), {options.sets} data sets or splits. '
        f"adapt(), against no adaptation: better by more than a standard error on {counts['better']} of {len(targets)}, "
        f"within one on {counts['equal']}, worse on {counts['worse']}. In the picture 0 steps are drawn at 0.5."
    )
    curves(options.name, panels, "steps", "score error / before", base=2)
    header = [
        "target",
        "before",
        *(f"{step} steps" for step in STEPS[1:]),
        "adapt()",
        f"adapt({ASKED[1]})",
        "chosen",
        "seconds",
    ]
    write(options.name, "Adaptation", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
