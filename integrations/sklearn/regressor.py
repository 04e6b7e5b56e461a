"""DiscoRegressor: the conditional density of targets given features, with scikit-learn's interface of a regressor."""

from __future__ import annotations

from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from disco_samplers import DiScoFormer
from disco_samplers.arrays import check_double
from disco_samplers.draws import Draws
from disco_samplers.estimate import MAX_KEYS, ConditionalEstimate
from disco_samplers.estimators import Slices

from .density import weights
from .far import Reach
from .reading import READINGS, best_reading, read_as
from .table import checked, checked_targets, dequantized, resolutions, weighed

_FEWEST, _JUDGED = 50, 1024
"""Draws that rows must be worth to choose a reading and a power by them, and most rows that are taken for it."""


class DiscoRegressor(RegressorMixin, BaseEstimator):
    r"""The law of one or several targets given features, by one pretrained transformer: nothing is trained on the table.

    .. math:: \hat f(y \mid x) = \hat f(x, y) / \int \hat f(x, y')\,dy'

    The density of features and targets together is read off the fitted rows, and its slices are integrated on grids, many rows
    at once. So a prediction is a whole law: of any shape, with a width that may depend on the features, and in several parts
    where the targets are. With several targets each one's law is read from the table without the others; ``log_prob`` and
    ``sample`` are of all together.

    Integers and ties are dequantised as in :class:`DiscoDensity`. Far from the fitted rows a prediction is
    that of a tail which goes on as it began, however narrow; a :class:`FarFeaturesWarning` says so.

    Parameters
    ----------
    model : DiScoFormer, str or path, default=None
        The weights; those in the package if None.
    reading : {"auto", "johnson", "linear", "parts"}, default="auto"
        How the model sees the rows: through :class:`~disco_samplers.estimators.JohnsonTransform`, as they are, or in parts by
        :class:`~disco_samplers.estimators.PartsEstimator`. "auto" takes that in which targets are likeliest given features, of
        up to 1024 rows held out in five folds.
    calibrate : bool, default=True
        Whether laws are made narrower or wider, by a power of their density, such that the same held-out rows are likely, and
        the middle 90 % of their laws hold about 90 % of them.
    context_size : int, default=8192
        Most rows that an estimate is made of: of a longer table a random subset.
    keys : int, default=2048
        Rows that a row attends to while a longer context is encoded.
    device : str, default="cpu"
        Where the model works, for instance "cuda".
    random_state : int, RandomState instance or None, default=0
        Of dequantisation and subsets.

    Attributes
    ----------
    reading_ : str
        How the rows are read; "johnson" where there are fewer than 50 to tell by.
    power_ : float
        Of the density; above 1 where held-out targets lie closer than the laws say, below 1 where farther, 1 if not calibrated.
    estimates_ : list of DensityEstimate
        Of the features with each target, the target last; of several targets also one of the features with all of them.
    effective_size_ : float
        How many independent rows of equal weight the estimates' rows are worth.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they have any.

    References
    ----------
    DiScoFormer (https://arxiv.org/abs/2511.05924).

    Examples
    --------
    >>> import numpy as np
    >>> from disco_samplers.integrations.sklearn import DiscoRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(300, 1))
    >>> y = X[:, 0] + (0.1 + 0.4 * (X[:, 0] > 0)) * rng.normal(size=300)
    >>> mean, std = DiscoRegressor().fit(X, y).predict([[-0.5], [0.5]], return_std=True)
    >>> bool(std[1] > 2 * std[0])
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # the name and form that scikit-learn reads
        "model": [DiScoFormer, str, PathLike, None],
        "reading": [StrOptions({"auto", "johnson", "linear", "parts"})],
        "calibrate": ["boolean"],
        "context_size": [Interval(Integral, 16, None, closed="left")],
        "keys": [Interval(Integral, 16, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        model: Any = None,
        reading: str = "auto",
        calibrate: bool = True,
        context_size: int = 8192,
        keys: int = MAX_KEYS,
        device: str = "cpu",
        random_state: Any = 0,
    ) -> None:
        self.model = model
        self.reading = reading
        self.calibrate = calibrate
        self.context_size = context_size
        self.keys = keys
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DiscoRegressor:
        """Conditions the model on features (n_samples, n_features) and targets (n_samples,) or (n_samples, n_targets).

        Rows of weight w count as w rows that are the same do.

        Raises
        ------
        ValueError
            If a table holds strings, NaN or infinite values, has fewer than two rows or no variance, or not as many rows as
            there are targets; or if sample weights are negative, not one a row, or zero but for one row.
        """
        check_double(self.device, "device")
        X, targets = checked_targets(self, X, y)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(X), -1)
        self._targets = targets.shape[1]
        table, weight, _ = weighed(np.concatenate([X, targets], 1), sample_weight)
        rng = check_random_state(self.random_state)
        table = dequantized(table, resolutions(table), rng)
        if len(table) > self.context_size:
            kept = rng.permutation(len(table))[: self.context_size]
            table, weight = table[kept], None if weight is None else weight[kept]
        model = weights(self.model, self.device, double=len(table) <= self.keys)
        d = X.shape[1]
        columns = [[*range(d), d + j] for j in range(self._targets)]
        if self._targets > 1:
            columns.append([*range(d + self._targets)])
        rows = torch.from_numpy(table).to(model.device)
        counts = None if weight is None else Draws(rows, weights=torch.from_numpy(weight).to(model.device)).counts()[1]
        # A choice needs no more than float32.
        self._choose(weights(self.model, self.device, double=False).network, rows, counts, d, rng)
        keys = self.keys if len(rows) > self.keys else None
        self.estimates_ = [read_as(self.reading_, model, rows[:, some], counts, keys, self.power_) for some in columns]
        self.effective_size_ = self.estimates_[0].effective_size
        self._reach = Reach(table[:, :d], getattr(self, "feature_names_in_", None))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Means of the targets given each row of X, (n_samples,) or (n_samples, n_targets); with their standard deviations."""
        laws = self._laws(X)
        means = self._shaped([law.mean()[:, 0] for law in laws])
        return (means, self._shaped([law.std()[:, 0] for law in laws])) if return_std else means

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of each target given each row of X, (n_samples, n_quantiles) or (n_samples, n_quantiles, n_targets).

        Raises
        ------
        ValueError
            If a quantile is not in (0, 1).
        """
        levels = np.atleast_1d(np.asarray(quantiles, dtype=float))
        if levels.ndim > 1 or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles must be numbers in (0, 1), got {quantiles}")
        return self._shaped([law.quantile(levels) for law in self._laws(X)])

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-density in nats of the targets y given the features X, row by row: (n_samples,).

        Raises
        ------
        ValueError
            If y has not a row for each of X, or other columns than in fit.
        """
        law = self._laws(X, all_targets=True)[-1]
        targets, n = np.asarray(y, dtype=float), len(law.slices.values)
        if targets.size != n * self._targets or targets.ndim > 2:
            said = f"{self._targets} value{'s' * (self._targets > 1)}"
            raise ValueError(f"y must have {said} for each of the {n} rows of X, as in fit, got shape {targets.shape}")
        found: np.ndarray = law.log_prob(targets.reshape(n, 1, -1))[:, 0]
        return found

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws of the targets given each row of X: (n_samples_X, n_samples), or (n_samples_X, n_samples, n_targets)."""
        law = self._laws(X, all_targets=True)[-1]
        generator = torch.Generator(law.device).manual_seed(int(check_random_state(random_state).randint(2**31)))
        draws: np.ndarray = law.sample(n_samples, generator=generator)
        return draws[..., 0] if self._flat else draws

    def _choose(self, network: Any, rows: torch.Tensor, counts: torch.Tensor | None, d: int, rng: Any) -> None:
        """Sets the reading and the power: by the first target, for all."""
        self.reading_, self.power_ = "johnson" if self.reading == "auto" else self.reading, 1.0
        worth = len(rows) if counts is None else float(counts.sum())
        if worth < _FEWEST or not (self.calibrate or self.reading == "auto"):
            return
        order = torch.from_numpy(rng.permutation(len(rows))[:_JUDGED]).to(rows.device)
        some, their = rows[order, : d + 1], None if counts is None else counts[order]
        readings = READINGS if self.reading == "auto" else [self.reading]
        self.reading_, power = best_reading(network, some, their, readings, int(rng.randint(2**31)))
        self.power_ = power if self.calibrate else 1.0

    def _laws(self, X: Any, *, all_targets: bool = False) -> list[ConditionalEstimate]:
        """The laws of each target given the rows of X, or of all targets together."""
        check_is_fitted(self)
        table = checked(self, X, reset=False)
        self._reach.warn(table)
        values = torch.from_numpy(table).to(self.estimates_[0].device)
        given = list(range(self.n_features_in_))
        asked = self.estimates_[-1:] if all_targets else self.estimates_[: self._targets]
        return [ConditionalEstimate(e, Slices(e.estimator, given, values, e.dim), batched=True, numpy=True) for e in asked]

    def _shaped(self, columns: list[np.ndarray]) -> np.ndarray:
        return columns[0] if self._flat else np.stack(columns, -1)
