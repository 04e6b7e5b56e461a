"""How estimates are made of samples whose information is asked, and what their log-densities are off by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from disco_samplers.draws import Draws, Support
from disco_samplers.estimate import DiScoFormer, check_model
from disco_samplers.estimators import DEFAULTS, MAX_DIM, JohnsonTransform, crossfit
from disco_samplers.measures.quantity import Rows, row_mean

Marginals = Literal["auto", "johnson", "linear"]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How estimates are made from rows; every function's options beyond its samples."""

    model: DiScoFormer | None = None
    marginals: Marginals = "auto"
    folds: int = 5
    calibrate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.marginals not in ("auto", "johnson", "linear"):
            raise ValueError(f'marginals must be "auto", "johnson" or "linear", got {self.marginals!r}')

    def settled(self, samples: Rows) -> Fit:
        """The same with the marginals in which these samples are likelier, as far as integrals can tell."""
        if self.marginals != "auto":
            return self
        if not self.calibrate or samples.values.shape[1] > MAX_DIM:
            return dataclasses.replace(self, marginals="johnson")
        return self.read(samples).fit

    def read(self, samples: Rows) -> Read:
        """The estimate of samples with its integral, in the marginals in which they are likelier."""
        x, counts = samples.values, samples.counts
        if self.marginals == "auto" and all(samples.supports or [False]):  # no column is left to be tamed
            return dataclasses.replace(self, marginals="linear").read(samples)
        if self.marginals == "auto":
            johnson, linear = (dataclasses.replace(self, marginals=kind) for kind in ("johnson", "linear"))
            if not self.calibrate or x.shape[1] > MAX_DIM:
                return johnson.read(samples)
            reads = (johnson.read(samples), linear.read(samples))
            return max(reads, key=lambda read: row_mean("log-density", read.log_prob(x), counts=counts).value)
        estimate = self.condition(x, counts, samples.supports)
        if not self.calibrate or x.shape[1] > MAX_DIM:
            return Read(self, estimate, 0.0, 0.0)
        integral = estimate.log_normalizer(seed=self.seed)
        return Read(self, estimate, integral.value, integral.standard_error**2)

    def condition(self, rows: Tensor, counts: Tensor | None = None, supports: list[Support] | None = None) -> Any:
        assert self.model is not None
        transform = None if self.marginals == "linear" else JohnsonTransform.fit(rows, counts)
        if counts is None:
            return self.model.condition(rows, transform=transform, support=supports)
        draws = Draws(rows, weights=counts)
        size = max(1.0, min(float(counts.sum()), draws.num_distinct))
        return self.model.condition(draws, effective_size=size, transform=transform, support=supports)

    def crossfit(self, x: Rows, evaluate: Callable[[Any, Tensor], Tensor]) -> Tensor:
        return crossfit(x.values, self.condition, evaluate, folds=self.folds, seed=self.seed, counts=x.counts, blocks=x.blocks)


@dataclasses.dataclass(frozen=True)
class Read:
    """An estimate of rows, the log of its integral, and that log's variance."""

    fit: Fit
    estimate: Any
    log_z: float
    variance: float

    def log_prob(self, rows: Tensor) -> Tensor:
        log_prob: Tensor = self.estimate.log_prob(rows) - self.log_z
        return log_prob


def plug_in_error(rows: Rows) -> float:
    r"""What the entropy of a normal law fitted to so many draws is off by, in nats: :math:`p / 2n`.

    With fewer draws than columns its covariance has rank n, and p is d + n d - n (n - 1) / 2.
    """
    d = rows.values.shape[1]
    worth = float(len(rows.values)) if rows.counts is None else float(rows.counts.sum())
    rank = min(worth, float(d))
    return (d + rank * d - rank * (rank - 1) / 2) / (2 * worth)


def fit_of(options: dict[str, Any], x: Rows, seed: int, *, crossfitted: bool) -> Fit:
    """The options, with the shipped model where none is given."""
    check_options(options, crossfitted=crossfitted)
    fit = Fit(seed=seed, **options)
    if fit.model is not None:
        check_model(fit.model)
        return fit
    return dataclasses.replace(
        fit, model=DiScoFormer.from_pretrained(DEFAULTS["information"], map_location=str(x.values.device))
    )


def check_options(options: dict[str, Any], *, crossfitted: bool) -> None:
    """Raises TypeError where an option is unknown, ValueError where it would be ignored."""
    known = [field.name for field in dataclasses.fields(Fit) if field.name != "seed"]
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: the options are {', '.join(known)}")
    if "folds" in options and not crossfitted:
        raise ValueError("folds= is ignored here: only the quantities made of scores are cross-fitted")
