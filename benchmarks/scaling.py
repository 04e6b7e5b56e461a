"""Error against the number of samples up to 2^17, and what encoding the context in groups of keys costs.

Mixtures of the published family (as in gmm.md), a few of them and 250 queries each; a longer context has the shorter ones as
its beginning. `condition` deals a context of more than 2048 rows into groups, each encoded by itself; "all keys" lets every row
attend to every other, in quadratic time. The loss is the mean error with groups over the mean error with all keys, less one.
Training saw no context longer than 2^12.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from functools import partial
from pathlib import Path

import torch
from gmm import data_set
from methods import errors
from report import WEIGHTS, cached, curves, spread, summary, write

from disco_samplers import DiScoFormer
from disco_samplers.estimate import MAX_KEYS

Found = dict[str, tuple[float, float]]


def one_set(sizes: list[int], longest_whole: int, task: tuple[int, int]) -> dict[str, Found]:
    """Errors of both weights by n, with keys in groups and, where it is affordable and differs, with all."""
    d, index = task
    target, x, y = data_set(d, sizes[-1], index, 250)
    truth = target.evaluate(y), target.evaluate_score(y)
    found: dict[str, Found] = {}
    for n in sizes:
        found[str(n)] = {}
        for weights in WEIGHTS:
            disco = DiScoFormer.from_pretrained(weights)
            found[str(n)][weights] = errors(disco.condition(x[:n]).log_prob_and_score(y), truth)
            if MAX_KEYS < n <= longest_whole:
                whole = disco.condition(x[:n], keys=None)
                found[str(n)][f"{weights}, all keys"] = errors(whole.log_prob_and_score(y), truth)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--largest", type=int, default=17, help="largest n as a power of two (default: %(default)s)")
    parser.add_argument("--sets", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished dimensions in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="d = 2, n up to 2^12, two sets")
    parser.add_argument("--name", default="scaling")
    options = parser.parse_args()
    if options.quick:
        options.name, options.dims, options.largest, options.sets = f"{options.name}_quick", [2], 12, 2
    started = time.time()
    sizes = [2**k for k in range(10, options.largest + 1)]
    methods = [*WEIGHTS, *(f"{name}, all keys" for name in WEIGHTS)]
    rows, raw, panels = [], [], {}
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for d in options.dims:
            tasks = [(d, index) for index in range(options.sets)]
            found = cached(options.cache, f"d{d}", partial(pool.map, partial(one_set, sizes, 2**13), tasks, 1))
            lines: dict[str, tuple[list[float], list[float], list[float]]] = {}
            for n in sizes:
                values = {m: [one[str(n)][m] for one in found] for m in methods if m in found[0][str(n)]}
                texts, losses = {}, []
                for method, errs in values.items():
                    texts[method], record = summary(errs)
                    raw.append({"d": d, "n": n, "method": method} | record)
                    line = lines.setdefault(f"DiScoFormer, {method}", ([], [], []))
                    for column, value in zip(line, (n, record["relative_score_error"], record["score_se"]), strict=True):
                        column.append(value)
                for name in WEIGHTS:
                    whole = values.get(f"{name}, all keys")
                    means = [[spread(c)[0] for c in zip(*e, strict=True)] for e in (values[name], whole or [])]
                    losses.append(" / ".join(f"{100 * (a / b - 1):+.1f}" for a, b in zip(*means, strict=True)) if whole else "")
                rows.append([str(d), str(n), *(texts.get(m, "") for m in methods), *losses])
                print(" | ".join(rows[-1]), flush=True)
            panels[f"d = {d}"] = lines
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\n{options.sets} data sets, mean ± standard error: score error in % / log-density MSE; losses in % of each."
    )
    curves(options.name, panels, "number of samples", "relative score error", base=2)
    header = ["d", "n", *methods, *(f"loss by groups, {name}" for name in WEIGHTS)]
    write(options.name, "Error against the number of samples", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
