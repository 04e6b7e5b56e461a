"""DiscoOutlierDetector: the rows of lowest density, by an estimate that did not see them."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from disco_samplers import DiScoFormer
from disco_samplers.estimate import MAX_KEYS
from disco_samplers.estimators import quantile

from .density import DiscoDensity
from .table import check_filled, checked, distinct, ends_of, unsummarised

_DRAWN = 20
"""Most rows of a picture of explanations."""


class DiscoOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Outliers are the rows of lowest log-density; one setting for every table, in one forward pass for each fold.

    .. math:: \text{decision}(x) = \log \hat f(x) - \text{offset}, \qquad
        \text{offset} = \text{quantile}_{\,\text{contamination}} \{\log \hat f_{-k(i)}(x_i)\}

    A row of the training table never vouches for itself: wherever it is scored, in ``fit_predict`` or later, it is by the
    estimate of the folds it is not in. Mixed tables are treated as in :class:`DiscoDensity`.

    Rows are compared by a density of columns in units halfway between their own and those in which they are normal
    (``scaled=True`` of :meth:`DiscoDensity.score_samples`), so that no column whose values crowd at one place decides alone. A
    value that many rows share counts with its own probability, as if it were a cell as wide as the column's other rows spread.

    Cells may be missing (NaN). A row is judged by those that it has, on the scale of whole rows: by their log-density and what
    its missing cells would have on average (``whole=True`` of :meth:`DiscoDensity.score_samples`). One without any cell is as
    usual as rows are on average.

    Time grows linearly with the rows. A row with missing cells takes as long as 32 whole ones.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.1
        Share of the training rows to be flagged.
    threshold : {"auto"} or None, default=None
        "auto" needs no contamination: a row is flagged if its conformal p-value is at most ``false_alarms``, so that of rows
        like those of the training table, and not among them, no larger share is flagged on average, whatever their law.
        Anomalies in the training table make it flag less.
    false_alarms : float in (0, 0.5], default=0.01
        Share of usual rows that may be flagged with ``threshold="auto"``. At least 1 / (n_samples + 1).
    robust : bool, default=True
        Robust whitening: training rows that stand out are kept out of the context, so that outliers in the training table do
        not shape the estimate they are judged by. See ``trim="auto"`` of :class:`DiscoDensity`.
    folds : int or None, default=None
        Folds in which the training rows are scored: if None five, of more than 1,000 rows two.
    context_size : int, default=4096
        Most rows that the estimate of a fold is made of. Less than for :class:`DiscoDensity`, for ``fit`` has to answer each
        of its rows once, and where rows stand out twice.
    model, marginals, keys, device, support, random_state, verbose :
        As in :class:`DiscoDensity`.

    Attributes
    ----------
    offset_ : float
        Threshold of ``score_samples``.
    training_scores_ : ndarray of shape (n_samples,)
        ``score_samples`` of the training rows.
    density_ : DiscoDensity
        The density behind it.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they have any.

    References
    ----------
    Vovk, Gammerman, Shafer, *Algorithmic learning in a random world*, Springer 2005, and Bates, Candes, Lei, Romano, Sesia,
    *Testing for outliers with conformal p-values*, Ann. Stat. 2023, for ``threshold="auto"``.

    Examples
    --------
    >>> import numpy as np
    >>> from disco_samplers.integrations.sklearn import DiscoOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> X[:5] += 8
    >>> DiscoOutlierDetector(contamination=0.025).fit_predict(X)[:8].tolist()
    [-1, -1, -1, -1, -1, 1, 1, 1]
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # the name and form that scikit-learn reads
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "threshold": [StrOptions({"auto"}), None],
        "false_alarms": [Interval(Real, 0, 0.5, closed="right")],
        "robust": ["boolean"],
        "folds": [Interval(Integral, 2, None, closed="left"), None],
        "model": [DiScoFormer, str, PathLike, None],
        "marginals": [StrOptions({"johnson", "linear"})],
        "context_size": [Interval(Integral, 16, None, closed="left")],
        "keys": [Interval(Integral, 16, None, closed="left")],
        "device": [str],
        "support": [dict, list, tuple, StrOptions({"auto"}), None],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.1,
        threshold: str | None = None,
        false_alarms: float = 0.01,
        robust: bool = True,
        folds: int | None = None,
        context_size: int = 4096,
        model: Any = None,
        marginals: str = "johnson",
        keys: int = MAX_KEYS,
        device: str = "cpu",
        support: Any = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.contamination = contamination
        self.threshold = threshold
        self.false_alarms = false_alarms
        self.robust = robust
        self.folds = folds
        self.context_size = context_size
        self.model = model
        self.marginals = marginals
        self.keys = keys
        self.device = device
        self.support = support
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DiscoOutlierDetector:
        """Conditions the model on a table (n_samples, n_features), NaN where a cell is missing, and scores its rows.

        Rows of weight w count as w rows that are the same do, in the estimate and in the share that is flagged. ``y`` is
        ignored. Of a table larger than memory ``X`` is its :class:`~disco_samplers.summaries.TableSummary`.

        Raises
        ------
        ValueError
            If the table holds strings or infinite values, has fewer than three rows, a column without a value, or no
            variance; if cells lie outside a support; if it has too few rows for ``false_alarms``; or if sample weights are
            negative, not one a row, or zero but for one row.
        """
        X, sample_weight = unsummarised(X, sample_weight)
        X = checked(self, X, reset=True, least=3, missing=True)
        check_filled(self, X)
        self.density_ = DiscoDensity(
            model=self.model,
            marginals=self.marginals,
            trim="auto" if self.robust else 0.0,
            normalize=False,
            context_size=self.context_size,
            keys=self.keys,
            device=self.device,
            support=ends_of(self, X),
            random_state=self.random_state,
            verbose=self.verbose,
        ).fit(X, sample_weight=sample_weight)
        self._folds = self.density_.folds() if self.folds is None else self.folds
        scores = self.density_.score_training_samples(self._folds, whole=True, scaled=True)
        # Rows that are the same share a score, whatever folds they fell into.
        rows, group = distinct(X)
        shared = np.bincount(group, scores) / np.bincount(group)
        self.training_scores_ = shared[group]
        self._known = {row.tobytes(): float(score) for row, score in zip(rows, shared, strict=True)}
        self._row = {row.tobytes(): number for number, row in enumerate(X)}
        weight = None
        if sample_weight is not None or self.density_.counts_ is not None:
            weight = np.broadcast_to(np.asarray(1.0 if sample_weight is None else sample_weight, np.float64), len(X))
        self._ranked = _Ranked(self.training_scores_, weight)
        if self.threshold == "auto":
            self.offset_ = self._ranked.offset(self.false_alarms)
        elif weight is None:
            self.offset_ = float(np.quantile(self.training_scores_, self.contamination))
        else:
            column, level = torch.from_numpy(self.training_scores_)[:, None], torch.tensor([self.contamination]).double()
            self.offset_ = float(quantile(column, torch.from_numpy(weight.copy()), level))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each row, up to one constant, (n_samples,); the lower, the more unusual, whatever cells it lacks."""
        check_is_fitted(self)
        X = checked(self, X, reset=False, missing=True)
        scores = np.asarray([self._known.get(row.tobytes(), np.nan) for row in X])
        if (new := np.isnan(scores)).any():
            scores[new] = self.density_.score_samples(X[new], whole=True, scaled=True)
        return scores

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples`` less ``offset_``, (n_samples,); negative for outliers."""
        return self.score_samples(X) - self.offset_

    def p_values(self, X: Any) -> np.ndarray:
        r"""Conformal p-value of each row, (n_samples,): how often a usual row would score as low.

        .. math:: p(x) = \frac{1 + \#\{i : \text{score}_i \le \text{score}(x)\}}{n + 1}

        by the training rows, each scored by an estimate that did not see it. Rows with weights count with them.
        """
        return self._ranked.p_values(self.score_samples(X))

    def explain(self, X: Any) -> Any:
        """Why each row is unusual: by how many nats each cell is less likely than is usual, given its row's others.

        About zero or less for a cell as its row's others suggest; the row would score as many nats more if the cell were what
        they suggest, on average. Training rows are explained by an estimate that did not see them. A row takes as long as 32
        for each column.

        Returns
        -------
        surprises : ndarray or data frame of shape (n_samples, n_features)
            NaN in missing cells; a data frame, with its index, if X is one of pandas.
        """
        check_is_fitted(self)
        table = checked(self, X, reset=False, missing=True)
        known = np.asarray([self._row.get(row.tobytes(), -1) for row in table])
        found = np.empty(table.shape)
        if (new := known < 0).any():
            found[new] = self.density_.surprise_samples(table[new])
        if not new.all():
            found[~new] = self.density_.surprise_training_samples(known[~new], self._folds)
        return type(X)(found, index=X.index, columns=X.columns) if hasattr(X, "iloc") else found

    def plot_explanation(self, X: Any, *, labels: Any = None, path: str | None = None) -> Any:
        """Draws :meth:`explain` of the rows of X, at most twenty, the most unusual first, as a map of rows and columns.

        Arguments:
            X: (n_samples, n_features).
            labels: what to call the rows; their numbers, or a data frame's index, if not given.
            path: where to save the picture, if anywhere.
        """
        from disco_samplers.pictures import plot_surprises

        check_is_fitted(self)
        table = checked(self, X, reset=False, missing=True)
        scores = self.decision_function(X)
        order = scores.argsort(kind="stable")[:_DRAWN]
        labels = getattr(X, "index", range(len(table))) if labels is None else labels
        some = X.iloc[order] if hasattr(X, "iloc") else table[order]
        names = getattr(self, "feature_names_in_", [f"x{k}" for k in range(table.shape[1])])
        return plot_surprises(
            np.asarray(self.explain(some)),
            table[order],
            [str(name) for name in names],
            [str(list(labels)[k]) for k in order],
            -scores[order],
            path=path,
        )

    def score_gradient(self, X: Any) -> np.ndarray:
        """Gradient of the log-density in each row, (n_samples, n_features): where it would have to go to be usual.

        NaN in missing cells.
        """
        check_is_fitted(self)
        gradient: np.ndarray = self.density_.score_gradient(checked(self, X, reset=False, missing=True))
        return gradient

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def predict(self, X: Any) -> np.ndarray:
        """-1 for outliers, 1 for the others, (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)


class _Ranked:
    """Training scores (n,) in order, with weights (n,) where they have some, of which p-values are read off."""

    def __init__(self, scores: np.ndarray, weight: np.ndarray | None) -> None:
        order = scores.argsort(kind="stable")
        self._scores = scores[order]
        # Weights are in rows: their mean is one.
        share = np.ones(len(scores)) if weight is None else weight[order] * len(scores) / weight.sum()
        self._reached = np.r_[0.0, share.cumsum()]

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        n = len(self._scores)
        found: np.ndarray = (1 + self._reached[np.searchsorted(self._scores, scores, side="right")]) / (n + 1)
        return found.clip(max=1.0)

    def offset(self, level: float) -> float:
        """Score below which p-values are at most the level."""
        n = len(self._scores)
        if level * (n + 1) < 1 - 1e-9:
            raise ValueError(
                f"false_alarms must be at least {1 / (n + 1):.2g} with {n} training rows, got {level}: they cannot tell fewer"
            )
        enough = self._reached[1:] > level * (n + 1) - 1 + 1e-9
        return float(self._scores[enough.argmax()])
