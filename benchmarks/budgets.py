"""What seconds buy: the error of an adapted estimate, of a spline flow and of sliced score matching against their time.

All see the same n = 4096 samples and answer 1000 independent queries: relative score error sum |s - s*|^2 / sum |s*|^2 in %.
"DiScoFormer" is `estimate.adapt(budget=seconds)`, by the clock, from a `condition` that is counted; "as it comes" is without
adaptation. The spline flow (zuko) and the network of sliced score matching are trained on nine tenths of the samples with Adam,
for so many seconds of the processor, and stopped by the last tenth: what was best there by then answers. Targets are those of
shapes.md, and none of them is among the training families but the Student-t law.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import torch
from methods import errors
from report import cached, curves, spread, write
from shapes import data_set
from trained import SlicedScoreMatching, SplineFlow

from disco_samplers import DiScoFormer

TARGETS = ("banana, d=2", "banana, d=10", "funnel, d=5", "Student-t 3, d=10", "anisotropic, d=2", "anisotropic, d=10")
SECONDS = (1, 3, 10, 30, 60)
OURS, FLOW, MATCHING = "DiScoFormer, adapted", "spline flow", "sliced score matching"
AS_IT_COMES = "as it comes"
METHODS = (OURS, FLOW, MATCHING)


def one_set(name: str, n: int, index: int) -> dict[str, list[float]]:
    """The score error of each method after each time, and without adaptation."""
    target, x, y = data_set(name, n, index)
    truth = target.evaluate(y), target.evaluate_score(y)

    def ours(budget: int | None) -> float:
        started = time.monotonic()
        estimate = DiScoFormer.from_pretrained().condition(x)
        if budget is not None:
            estimate = estimate.adapt(budget=max(0.0, budget - (time.monotonic() - started)))
        return errors(estimate.log_prob_and_score(y), truth)[0]

    def trained(model: SplineFlow | SlicedScoreMatching, network: torch.nn.Module) -> list[float]:
        found = []
        for seconds in SECONDS:
            by_then = [state for at, state in model.history if at <= seconds] or [model.history[0][1]]
            network.load_state_dict(by_then[-1])
            score = model.log_prob_and_score(y)[1] if isinstance(model, SplineFlow) else model.score(y)
            found.append(errors((truth[0], score), truth)[0])
        return found

    flow, matching = SplineFlow(x, steps=10_000), SlicedScoreMatching(x, steps=20_000)
    return {
        OURS: [ours(seconds) for seconds in SECONDS],
        FLOW: trained(flow, flow.flow),
        MATCHING: trained(matching, matching.net),
        AS_IT_COMES: [ours(None)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--size", type=int, default=4096, help="samples of each data set (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished sets in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="one banana of 256 samples")
    parser.add_argument("--name", default="budgets")
    options = parser.parse_args()
    targets = TARGETS
    if options.quick:
        options.name, options.sets, options.size, targets = f"{options.name}_quick", 1, 256, TARGETS[:1]
    torch.set_num_threads(1)
    started = time.time()
    rows, raw, panels, ahead = [], [], {}, 0
    for name in targets:
        found = [
            cached(options.cache, f"{name}_{index}".replace(" ", "_"), partial(one_set, name, options.size, index))
            for index in range(options.sets)
        ]
        panels[name] = {}
        for method in METHODS:
            numbers = [spread([one[method][i] for one in found]) for i in range(len(SECONDS))]
            panels[name][method] = SECONDS, *zip(*numbers, strict=True)
            before = f"{100 * spread([one[AS_IT_COMES][0] for one in found])[0]:.1f}" if method == OURS else ""
            rows.append([name, method, before, *(f"{100 * mean:.1f} ± {100 * error:.1f}" for mean, error in numbers)])
            raw.append({"target": name, "n": options.size, "method": method, "errors": [one[method] for one in found]})
            print(" | ".join(rows[-1]), flush=True)
        means = {method: panels[name][method][1] for method in METHODS}
        ahead += sum(means[OURS][i] < min(means[FLOW][i], means[MATCHING][i]) for i in range(len(SECONDS)))
    about = __doc__.split("\n", 1)[1].strip().replace("4096", str(options.size)) + (
        f"\n\n{options.sets} data sets a row, mean ± standard error. Ahead of both others at {ahead} of "
        f"{len(targets) * len(SECONDS)} times."
    )
    curves(options.name, panels, "seconds", "relative score error")
    write(
        options.name,
        "What seconds buy",
        about,
        ["target", "method", AS_IT_COMES, *(f"{s} s" for s in SECONDS)],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
