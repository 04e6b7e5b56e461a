"""Anomaly detection in tables with missing cells, beside filling them in first and dropping rows.

The bundled tables of the anomaly benchmark's half for development and those with anomalies put in, of which 5 or 20 % of all
cells are dropped at random, in the rows that a detector is fitted to and in those that it judges. "DiScoFormer" is given the
table as it is. The others are the same detector with what people do first: each missing cell becomes its column's median; or
the mean of it in the five nearest rows, by the columns that two rows share (scikit-learn's KNNImputer, on standardised
columns); or rows with missing cells are dropped, and one that is to be judged is taken for as usual as the median row. "all
cells" is the detector on the table before cells were dropped. Nothing is tuned.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from anomaly_sets import DEVELOPMENT, Set, sets, tasks
from disco_samplers.integrations.sklearn import DiscoOutlierDetector
from report import cached, write
from sklearn.impute import KNNImputer
from sklearn.metrics import roc_auc_score

SHARES = (0.05, 0.2)
WAYS = ("clean", "contaminated")
CLOSE = 0.02
"""Loss of AUROC that counts as none."""


def as_they_are(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return -DiscoOutlierDetector().fit(train).score_samples(test)


def medians(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    middle = np.nanmedian(train, 0)
    return as_they_are(*(np.where(np.isnan(rows), middle, rows) for rows in (train, test)))


def neighbours(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    mean, sd = np.nanmean(train, 0), np.nanstd(train, 0) + 1e-12
    imputer = KNNImputer().fit((train - mean) / sd)
    return as_they_are(*(mean + sd * imputer.transform((rows - mean) / sd) for rows in (train, test)))


def dropped(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    whole, judged = (rows[~np.isnan(rows).any(1)] for rows in (train, test))
    scores = np.zeros(len(test))
    if len(np.unique(whole, axis=0)) >= 3:
        detector = DiscoOutlierDetector().fit(whole)
        scores[:] = -np.median(detector.training_scores_)
        if len(judged):
            scores[~np.isnan(test).any(1)] = -detector.score_samples(judged)
    return scores


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "DiScoFormer": as_they_are,
    "medians": medians,
    "nearest rows": neighbours,
    "rows dropped": dropped,
}


def tables() -> dict[str, Callable[[], Set]]:
    return {name: make for name, make in sets("development").items() if name not in DEVELOPMENT}


def judged(name: str, repeat: int, way: str) -> list[dict]:
    """AUROC of every method on a set with all cells and with a share of them dropped."""
    usual, odd = tables()[name]()
    train, test, label = tasks(usual, odd, np.random.default_rng(repeat), {"contaminated": 0.1})[way]
    what = {"set": name, "d": usual.shape[1], "n": len(train), "way": way, "repeat": repeat}
    found = [what | {"share": 0.0, "method": "all cells"} | timed(as_they_are, train, test, label)]
    rng = np.random.default_rng([repeat, 1])
    for share in SHARES:
        lost = {id(rows): np.where(rng.uniform(size=rows.shape) < share, np.nan, rows) for rows in (train, test)}
        # Where the rows that are judged are those of the fit they lack the same cells.
        given = (lost[id(train)], lost[id(test)])
        kept = ~np.isnan(given[0]).all(0)  # a column may have lost all
        for method, judge in METHODS.items():
            rows = (rows[:, kept] for rows in given)
            found.append(what | {"share": share, "method": method} | timed(judge, *rows, label))
    return found


def timed(judge: Callable, train: np.ndarray, test: np.ndarray, label: np.ndarray) -> dict[str, float]:
    started = time.process_time()
    scores = judge(train, test)
    return {"auroc": float(roc_auc_score(label, scores)), "seconds": time.process_time() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1, help="random halves, anomalies and dropped cells of each set")
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps what is finished here")
    parser.add_argument("--name", default="missing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Of digits, whose border is empty.
    warnings.filterwarnings("ignore", message="All-NaN slice", category=RuntimeWarning)
    started, raw = time.time(), []
    as_they_are(*np.random.default_rng(0).normal(size=(2, 50, 2)))  # what is done once in a process
    for name in (name for name in tables() if options.only in name):
        for repeat in range(options.repeats):
            for way in WAYS:
                part = cached(options.cache, f"{name}-{repeat}-{way}", lambda: judged(name, repeat, way))  # noqa: B023  # called at once
                print(name, way, *(f"{r['share']:g} {r['method']} {r['auroc']:.3f}" for r in part), sep=" | ", flush=True)
                raw += part
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\n{len({r['set'] for r in raw})} sets, {options.repeats} repeat(s), each clean and contaminated. Means ± standard "
        f"error over the sets; a loss is that of AUROC to the table with all cells. Below: mean loss of each set."
    )
    header = ["", "all cells", *(f"{method}, {100 * share:g} %" for share in SHARES for method in METHODS)]
    write(options.name, "Missing cells", about, header, summary(raw), raw, started)


def summary(raw: list[dict]) -> list[list[str]]:
    """Lines of the table."""
    names = list(dict.fromkeys(r["set"] for r in raw))
    columns = [(share, method) for share in SHARES for method in METHODS]

    def mean(name: str, share: float, method: str, ways: tuple[str, ...] = WAYS, key: str = "auroc") -> float:
        of = (name, share, method)
        return float(np.mean([r[key] for r in raw if (r["set"], r["share"], r["method"]) == of and r["way"] in ways]))

    rows = []
    for way in (*((way,) for way in WAYS), WAYS):
        said = way[0] if len(way) == 1 else "all"
        full = np.array([mean(name, 0.0, "all cells", way) for name in names])
        found = [np.array([mean(name, *column, way) for name in names]) for column in columns]
        rows.append([f"{said}, AUROC", *(with_error(values) for values in (full, *found))])
        rows.append([f"{said}, loss", "", *(with_error(full - values) for values in found)])
        within = [int((full - values <= CLOSE).sum()) for values in found]
        rows.append([f"{said}, sets with a loss up to {CLOSE:g}", "", *(f"{count} of {len(names)}" for count in within)])
    seconds = [np.mean([mean(name, *column, key="seconds") for name in names]) for column in ((0.0, "all cells"), *columns)]
    rows.append(["time, all cells = 1", *(f"{value / seconds[0]:.2f}" for value in seconds)])
    for name in names:
        full = mean(name, 0.0, "all cells")
        d = next(r["d"] for r in raw if r["set"] == name)
        rows.append([f"{name} (d = {d})", f"{full:.3f}", *(f"{full - mean(name, *column):+.3f}" for column in columns)])
    return rows


def with_error(values: np.ndarray) -> str:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{values.mean():.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
