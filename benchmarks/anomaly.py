"""Anomaly detection on real tables bundled with scikit-learn and on made ones, beside what people use.

Real: one class of digits, wine, iris or breast cancer is usual, the others are anomalies; squares of pixels of one photograph
and of another. Injected, as ADBench defines them (Han, Hu, Huang, Jiang, Zhao 2022): into benign breast cancer, diabetes and
three made clusters are put global anomalies (uniform in the table's box, widened by a tenth), local ones (draws of a fitted
mixture with five times its covariance), dependency ones (each column permuted on its own) and clustered ones (a tight cluster
four standard deviations out). Made: columns with spikes, counts with too many zeros, coarse rounding, codes mixed with
measurements, heavy tails, sensors that are decoupled, stuck or drift, limits of detection, few columns of many that are off,
curved sheets, magnitudes over decades; 40 to 50,000 rows of 2 to 64 columns.

The sets of one half were used in development, those of the other half are judged: nothing was chosen by them. Each is taken in
three ways: "clean", fitted to half of the usual rows and judged on the other half and the anomalies; and with 5 and 20 % of the
table anomalies, where detectors judge the very rows they are fitted to. Every other method is given standardised columns. One
setting serves all sets: the libraries' defaults, contamination 0.1, five neighbours. Methods whose time grows with the square
of the rows are fitted to a random 5,000 of longer tables.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomaly_sets import sets, tasks
from disco_samplers.integrations.sklearn import DiscoOutlierDetector
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from report import cached, write
from scipy.stats import rankdata
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from disco_samplers.reference import KDE

SHARES = {"5 %": 0.05, "20 %": 0.2}
WAYS = ("clean", *SHARES)
LONGEST = 5000
TIMED = (5, 10, 30)
"""Columns of the tables of 2,000 rows whose fits are timed."""

Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Scores of test rows, higher for anomalies, of a method fitted to training rows."""


def standardised(model: Callable[[], Any], longest: int | None = None) -> Scores:
    """Scores of a scikit-learn detector."""

    def scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        mean, sd = train.mean(0), train.std(0) + 1e-12
        if longest is not None and len(train) > longest:
            train = np.random.default_rng(0).permutation(train)[:longest]
        found: np.ndarray = -model().fit((train - mean) / sd).score_samples((test - mean) / sd)
        return found

    return scores


def itself(fitted: np.ndarray, x: np.ndarray) -> bool:
    """Whether the rows that are judged are those that were fitted."""
    return fitted.shape == x.shape and np.array_equal(fitted, x)


class Neighbours:
    """Distance to the fifth neighbour, not counting a row itself."""

    def fit(self, x: np.ndarray) -> Neighbours:
        self.x, self.search = x, NearestNeighbors(n_neighbors=5).fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = -self.search.kneighbors(None if itself(self.x, x) else x)[0][:, -1]
        return found


class LeaveOneOutKDE:
    """A KDE with leave-one-out bandwidth; the training rows are scored without their own kernel."""

    def fit(self, x: np.ndarray) -> LeaveOneOutKDE:
        self.x, self.kde = x, KDE(x, "loo")
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        log_prob = np.asarray(self.kde.log_prob(x))
        if not itself(self.x, x):
            return log_prob
        own = self.kde._log_norm(self.kde.bandwidth)
        return log_prob + np.log(np.maximum(-np.expm1(own - log_prob), 1e-300))


class LocalFactor:
    """LocalOutlierFactor, in its own way for the training rows."""

    def fit(self, x: np.ndarray) -> LocalFactor:
        self.x, self.novel, self.own = x, LocalOutlierFactor(novelty=True).fit(x), LocalOutlierFactor().fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.own.negative_outlier_factor_ if itself(self.x, x) else self.novel.score_samples(x)
        return found


class Mixture:
    """A Gaussian mixture with components and kind of covariance by BIC."""

    def fit(self, x: np.ndarray) -> GaussianMixture:
        fits = [
            GaussianMixture(k, covariance_type=kind, reg_covar=1e-3, random_state=0).fit(x)
            for kind in ("full", "diag")
            for k in (1, 2, 3, 5, 8)
            if k <= len(x)
        ]
        return min(fits, key=lambda fit: fit.bic(x))


class OfPyOD:
    """A detector of PyOD's, made for so many rows."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def fit(self, x: np.ndarray) -> OfPyOD:
        self.model = self.make(len(x)).fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = -self.model.decision_function(x)
        return found


def autoencoder(rows: int) -> AutoEncoder:
    """With PyOD's settings, which assume that there is a full batch."""
    return AutoEncoder(preprocessing=False, device="cpu", verbose=0, random_state=0, batch_size=min(32, rows))


def disco(train: np.ndarray, test: np.ndarray, **options: Any) -> np.ndarray:
    found: np.ndarray = -DiscoOutlierDetector(**options).fit(train).score_samples(test)
    return found


METHODS: dict[str, Scores] = {
    "DiScoFormer": disco,
    "IsolationForest": standardised(lambda: IsolationForest(random_state=0)),
    "LocalOutlierFactor": standardised(LocalFactor),
    "OneClassSVM": standardised(OneClassSVM, LONGEST),
    "EllipticEnvelope": standardised(lambda: EllipticEnvelope(random_state=0)),
    "5-NN distance": standardised(Neighbours),
    "KDE, leave-one-out": standardised(LeaveOneOutKDE, LONGEST),
    "GMM, BIC": standardised(Mixture),
    "ECOD": standardised(lambda: OfPyOD(lambda _: ECOD())),
    "COPOD": standardised(lambda: OfPyOD(lambda _: COPOD())),
    "autoencoder": standardised(lambda: OfPyOD(autoencoder), LONGEST),
}


def cell(half: str, name: str, method: str, repeat: int) -> list[dict[str, Any]]:
    """What a method finds in a set, in each way."""
    usual, odd = sets(half, repeat)[name]()
    found = []
    for way, (train, test, label) in tasks(usual, odd, np.random.default_rng(repeat), SHARES).items():
        scores = METHODS[method](train, test)
        what = {"half": half, "set": name, "d": usual.shape[1], "n": len(train), "way": way, "method": method, "repeat": repeat}
        auroc, auprc = roc_auc_score(label, scores), average_precision_score(label, scores)
        found.append({**what, "auroc": auroc, "auprc": auprc})
    return found


def fit_times() -> dict[str, list[float]]:
    """Seconds of one core, best of three, to fit 2,000 rows, clean and with anomalies."""
    found: dict[str, list[float]] = {}
    for d in TIMED:
        rng = np.random.default_rng(d)
        usual = rng.normal(size=(2000, d)) @ rng.normal(size=(d, d))
        odd = usual.copy()
        odd[:200] = 4 * rng.permuted(odd[:200], axis=0)
        for what, x in (("clean", usual), ("10 % anomalies", odd)):
            for method, model in (("DiScoFormer", DiscoOutlierDetector), ("IsolationForest", IsolationForest)):
                seconds = []
                for _ in range(3):
                    started = time.process_time()
                    model(random_state=0).fit(x)
                    seconds.append(time.process_time() - started)
                found.setdefault(f"{method}, {what}", []).append(min(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=["development", "judged", "both"], default="both")
    parser.add_argument("--repeats", type=int, default=1, help="random halves and anomalies of each set")
    parser.add_argument("--only", help="sets whose name holds this")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="NAME")
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in, see CONTRIBUTING.md")
    parser.add_argument("--name", default="anomaly")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # True of digits, whose border is empty; EllipticEnvelope goes on with what rank there is.
    warnings.filterwarnings("ignore", "The covariance matrix associated to your dataset is not full rank", UserWarning)
    warnings.filterwarnings("ignore", "Number of distinct clusters", UserWarning)
    warnings.filterwarnings("ignore", "Determinant has increased", RuntimeWarning)
    started = time.time()
    raw: list[dict[str, Any]] = []
    for half in ("development", "judged") if options.half == "both" else (options.half,):
        for name in sets(half):
            if options.only and options.only not in name:
                continue
            for method in options.methods:
                for repeat in range(options.repeats):
                    key = f"{half}, {name}, {method}, {repeat}"
                    raw += cached(options.cache, key, partial(cell, half, name, method, repeat))
            print(half, name, *(f"{r['auroc']:.3f}" for r in raw if (r["half"], r["set"]) == (half, name)), flush=True)
    times = cached(options.cache, "times", fit_times)
    rows: list[list[str]] = []
    for half in dict.fromkeys(r["half"] for r in raw):
        mine = [r for r in raw if r["half"] == half]
        for way in (*WAYS, "all"):
            rows += [summary(mine, way, metric, options.methods, half) for metric in ("auroc", "auprc", "rank")]
    for name in dict.fromkeys((r["half"], r["set"]) for r in raw):
        rows.append(by_set([r for r in raw if (r["half"], r["set"]) == name], options.methods))
    counts = {half: len({r["set"] for r in raw if r["half"] == half}) for half in dict.fromkeys(r["half"] for r in raw)}
    sizes = " and ".join(f"{count} sets ({half})" for half, count in counts.items())
    ratios = "; ".join(f"{what}: {ratio(times, what)}" for what in ("clean", "10 % anomalies"))
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\n{sizes}, {options.repeats} repeat(s). Means ± standard error over the sets; rank by AUROC, 1 is best. "
        "Below: mean AUROC of each set over the three ways.\n\n"
        f"Time to fit 2,000 rows in units of an IsolationForest's, {ratios}."
    )
    write(options.name, "Anomaly detection", about, ["", *options.methods], rows, {"cells": raw, "times": times}, started)


def ratio(times: dict[str, list[float]], what: str) -> str:
    both = zip(TIMED, times[f"DiScoFormer, {what}"], times[f"IsolationForest, {what}"], strict=True)
    return ", ".join(f"d = {d} {ours / theirs:.1f}" for d, ours, theirs in both)


def table(raw: list[dict[str, Any]], way: str, metric: str, methods: list[str]) -> np.ndarray:
    """(sets, methods) of a metric, averaged over repeats, and over ways for "all"."""
    names = list(dict.fromkeys(r["set"] for r in raw))
    cells: dict[tuple[str, str], list[float]] = {}
    for r in raw:
        if way in ("all", r["way"]):
            cells.setdefault((r["set"], r["method"]), []).append(r[metric])
    return np.array([[np.mean(cells[name, method]) for method in methods] for name in names])


def summary(raw: list[dict[str, Any]], way: str, metric: str, methods: list[str], half: str) -> list[str]:
    values = table(raw, way, "auroc" if metric == "rank" else metric, methods)
    if metric == "rank":
        return [f"{half}, {way}, mean rank", *(f"{rank:.2f}" for rank in rankdata(-values, axis=1).mean(0))]
    errors = values.std(0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.zeros(len(methods))
    means = zip(values.mean(0), errors, strict=True)
    return [f"{half}, {way}, {metric.upper()}", *(f"{a:.3f} ± {b:.3f}" for a, b in means)]


def by_set(raw: list[dict[str, Any]], methods: list[str]) -> list[str]:
    one = raw[0]
    values = table(raw, "all", "auroc", methods)[0]
    return [f"{one['half']}: {one['set']} (n = {one['n']}, d = {one['d']})", *(f"{value:.3f}" for value in values)]


if __name__ == "__main__":
    main()
