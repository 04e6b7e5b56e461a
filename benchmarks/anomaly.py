"""Anomaly detection on real tables bundled with scikit-learn and on made ones, beside what people use.

Real: one class of digits, wine, iris and breast cancer is usual, the others are anomalies. Injected: into
benign breast cancer, diabetes and made tables are put global anomalies (uniform in the table's box, widened by a tenth),
local ones (draws of a fitted mixture with five times its covariance), dependency ones (each column permuted on its own) and
clustered ones (a tight cluster four standard deviations out), as ADBench defines them (Han, Hu, Huang, Jiang, Zhao 2022).
Each set is taken in two ways: "clean", fitted to half of the usual rows and judged on the other half and the anomalies; and
"contaminated", where a tenth of the table is anomalies and detectors judge the very rows they are fitted to. Every other
method is given standardised columns. Nothing is tuned, one setting serves all sets: contamination 0.1 and scikit-learn's
defaults, five neighbours.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import numpy as np
import torch
from disco_samplers.integrations.sklearn import DiscoOutlierDetector
from report import write
from scipy.stats import rankdata
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from disco_samplers.reference import KDE

Judge = tuple[np.ndarray, float, float]
"""Scores, higher for anomalies, seconds to fit and seconds to score."""


def made(d: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Three correlated clusters, some columns passed through exp or a cube, one rounded."""
    parts = []
    for share in (0.5, 0.3, 0.2):
        root = rng.normal(size=(d, d)) / math.sqrt(d) + 0.3 * np.eye(d)
        parts.append(2 * rng.normal(size=d) + rng.normal(size=(round(share * n), d)) @ root)
    x = np.concatenate(parts)
    x[:, ::3] = np.exp(0.5 * x[:, ::3])
    x[:, 1::4] = x[:, 1::4] ** 3
    x[:, -1] = np.round(2 * x[:, -1])
    return rng.permutation(x)


def inject(x: np.ndarray, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Anomalies of a kind for a table of usual rows."""
    low, high = x.min(0), x.max(0)
    if kind == "global":
        return rng.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), (count, x.shape[1]))
    if kind == "dependency":
        return np.stack([rng.permutation(np.resize(rng.permutation(column), count)) for column in x.T], 1)
    mean, sd = x.mean(0), x.std(0) + 1e-9
    if kind == "clustered":
        direction = rng.choice([-1, 1], x.shape[1])
        return mean + sd * (4 * direction / math.sqrt(max(1, x.shape[1] / 4)) + 0.3 * rng.normal(size=(count, x.shape[1])))
    components = max(1, min(5, len(x) // (10 * x.shape[1])))
    mixture = GaussianMixture(components, reg_covar=1e-3, random_state=0).fit((x - mean) / sd)
    label = rng.choice(components, count, p=mixture.weights_)
    draws = [rng.multivariate_normal(mixture.means_[k], 5 * mixture.covariances_[k]) for k in label]
    return mean + sd * np.stack(draws)


def sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Usual rows and anomalies of every set."""
    found = {}
    for name, load, classes in (
        ("digits", load_digits, (0, 3, 8)),
        ("wine", load_wine, (0, 1)),
        ("iris", load_iris, (1,)),
        ("cancer", load_breast_cancer, (1,)),
    ):
        x, y = load(return_X_y=True)
        for label in classes:
            found[f"{name}, class {label}"] = x[y == label], x[y != label]
    rng = np.random.default_rng(2024)
    cancer = load_breast_cancer(return_X_y=True)
    hosts = {
        "benign": cancer[0][cancer[1] == 1],
        "diabetes": load_diabetes(scaled=False).data,
        "made, d=2": made(2, 400, rng),
        "made, d=16": made(16, 400, rng),
    }
    for name, x in hosts.items():
        for kind in ("global", "local", "dependency", "clustered"):
            found[f"{name}, {kind}"] = x, inject(x, kind, max(40, len(x) // 4), rng)
    return found


def standardised(model: object) -> object:
    """A judge made of a scikit-learn detector."""

    def judge(train: np.ndarray, test: np.ndarray) -> Judge:
        mean, sd = train.mean(0), train.std(0) + 1e-12
        started = time.perf_counter()
        fitted = model().fit((train - mean) / sd)
        middle = time.perf_counter()
        scores = -fitted.score_samples((test - mean) / sd)
        return scores, middle - started, time.perf_counter() - middle

    return judge


class Neighbours:
    """Distance to the fifth neighbour, not counting a row itself."""

    def fit(self, x: np.ndarray) -> Neighbours:
        self.x, self.search = x, NearestNeighbors(n_neighbors=5).fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        itself = x.shape == self.x.shape and np.array_equal(x, self.x)
        return -self.search.kneighbors(None if itself else x)[0][:, -1]


class LeaveOneOutKDE:
    """A KDE with leave-one-out bandwidth; the training rows are scored without their own kernel."""

    def fit(self, x: np.ndarray) -> LeaveOneOutKDE:
        self.x, self.kde = x, KDE(x, "loo")
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        log_prob = np.asarray(self.kde.log_prob(x))
        if x.shape != self.x.shape or not np.array_equal(x, self.x):
            return log_prob
        own = self.kde._log_norm(self.kde.bandwidth)
        return log_prob + np.log(np.maximum(-np.expm1(own - log_prob), 1e-300))


class LocalFactor:
    """LocalOutlierFactor, in its own way for the training rows."""

    def fit(self, x: np.ndarray) -> LocalFactor:
        self.x, self.novel, self.own = x, LocalOutlierFactor(novelty=True).fit(x), LocalOutlierFactor().fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        itself = x.shape == self.x.shape and np.array_equal(x, self.x)
        return self.own.negative_outlier_factor_ if itself else self.novel.score_samples(x)


class Mixture:
    """A Gaussian mixture with components and kind of covariance by BIC."""

    def fit(self, x: np.ndarray) -> GaussianMixture:
        fits = [
            GaussianMixture(k, covariance_type=kind, reg_covar=1e-3, random_state=0).fit(x)
            for kind in ("full", "diag")
            for k in (1, 2, 3, 5, 8)
        ]
        return min(fits, key=lambda fit: fit.bic(x))


def disco(robust: bool) -> object:
    def judge(train: np.ndarray, test: np.ndarray) -> Judge:
        started = time.perf_counter()
        detector = DiscoOutlierDetector(robust=robust).fit(train)
        middle = time.perf_counter()
        return -detector.score_samples(test), middle - started, time.perf_counter() - middle

    return judge


METHODS = {
    "DiScoFormer": disco(True),
    "DiScoFormer, not robust": disco(False),
    "IsolationForest": standardised(lambda: IsolationForest(random_state=0)),
    "LocalOutlierFactor": standardised(LocalFactor),
    "OneClassSVM": standardised(OneClassSVM),
    "EllipticEnvelope": standardised(lambda: EllipticEnvelope(random_state=0)),
    "5-NN distance": standardised(Neighbours),
    "KDE, leave-one-out": standardised(LeaveOneOutKDE),
    "GMM, BIC": standardised(Mixture),
}


def tasks(usual: np.ndarray, odd: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Training rows, rows to judge and their labels, clean and contaminated."""
    usual, odd = rng.permutation(usual), rng.permutation(odd)
    half, few = len(usual) // 2, max(2, round(len(usual) / 9))
    judged = np.concatenate([usual[half:], odd[:200]])
    table = np.concatenate([usual, odd[:few]])
    return {
        "clean": (usual[:half], judged, np.r_[np.zeros(len(usual) - half), np.ones(len(odd[:200]))]),
        "contaminated": (table, table, np.r_[np.zeros(len(usual)), np.ones(len(odd[:few]))]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1, help="random halves and anomalies of each set")
    parser.add_argument("--only", help="sets whose name holds this")
    parser.add_argument("--name", default="anomaly")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # True of digits, whose border is empty; EllipticEnvelope goes on with what rank there is.
    warnings.filterwarnings("ignore", "The covariance matrix associated to your dataset is not full rank", UserWarning)
    started = time.time()
    raw = []
    for name, (usual, odd) in sets().items():
        if options.only and options.only not in name:
            continue
        for repeat in range(options.repeats):
            for way, (train, test, label) in tasks(usual, odd, np.random.default_rng(repeat)).items():
                for method, judge in METHODS.items():
                    scores, fit, score = judge(train, test)
                    found = {"auroc": roc_auc_score(label, scores), "auprc": average_precision_score(label, scores)}
                    what = {"set": name, "d": usual.shape[1], "n": len(train), "way": way, "method": method, "repeat": repeat}
                    raw.append({**what, **found, "fit_seconds": fit, "score_seconds": score})
                print(name, way, *(f"{r['auroc']:.3f}" for r in raw[-len(METHODS) :]), flush=True)
    rows = [summary(raw, way, metric) for way in ("clean", "contaminated", "all") for metric in ("auroc", "auprc", "rank")]
    for part in ("fit_seconds", "score_seconds"):
        mean = {method: np.mean([r[part] for r in raw if r["method"] == method]) for method in METHODS}
        rows.append([f"{part.split('_')[0]} time, DiScoFormer = 1", *(f"{t / mean['DiScoFormer']:.3f}" for t in mean.values())])
    rows += [by_set(raw, name) for name in dict.fromkeys(r["set"] for r in raw)]
    count = len({r["set"] for r in raw})
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\n{count} sets, {options.repeats} repeat(s). Means ± standard error over the sets; rank by AUROC, 1 is best. "
        "Below: mean AUROC of each set over both ways."
    )
    write(options.name, "Anomaly detection", about, ["", *METHODS], rows, raw, started)


def table(raw: list[dict], way: str, metric: str) -> np.ndarray:
    """(sets, methods) of a metric, averaged over repeats, and over ways for "all"."""
    names = list(dict.fromkeys(r["set"] for r in raw))
    cells: dict[tuple[str, str], list[float]] = {}
    for r in raw:
        if way in ("all", r["way"]):
            cells.setdefault((r["set"], r["method"]), []).append(r[metric])
    return np.array([[np.mean(cells[name, method]) for method in METHODS] for name in names])


def summary(raw: list[dict], way: str, metric: str) -> list[str]:
    values = table(raw, way, "auroc" if metric == "rank" else metric)
    if metric == "rank":
        return [f"{way}, mean rank", *(f"{rank:.2f}" for rank in rankdata(-values, axis=1).mean(0))]
    errors = values.std(0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.zeros(len(METHODS))
    return [f"{way}, {metric.upper()}", *(f"{a:.3f} ± {b:.3f}" for a, b in zip(values.mean(0), errors, strict=True))]


def by_set(raw: list[dict], name: str) -> list[str]:
    mine = [r for r in raw if r["set"] == name]
    return [f"{name} (d = {mine[0]['d']})", *(f"{value:.3f}" for value in table(mine, "all", "auroc")[0])]


if __name__ == "__main__":
    main()
