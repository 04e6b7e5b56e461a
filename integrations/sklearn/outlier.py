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
from .table import check_filled, checked, distinct


class DiscoOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Outliers are the rows of lowest log-density; one setting for every table, in one forward pass for each fold.

    .. math:: \text{decision}(x) = \log \hat f(x) - \text{offset}, \qquad
        \text{offset} = \text{quantile}_{\,\text{contamination}} \{\log \hat f_{-k(i)}(x_i)\}

    A row of the training table never vouches for itself: wherever it is scored, in ``fit_predict`` or later, it is by the
    estimate of the folds it is not in. Mixed tables are treated as in :class:`DiscoDensity`.

    Cells may be missing (NaN). A row is judged by those that it has, on the scale of whole rows: by their log-density and what
    its missing cells would have on average (``whole=True`` of :meth:`DiscoDensity.score_samples`). One without any cell is as
    usual as rows are on average.

    Time grows linearly with the rows: ``fit`` of 100,000 in five columns takes 71 s of one core, ``score_samples`` of as many
    new ones 31 s. A row with missing cells takes as long as 32 whole ones.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.1
        Share of the training rows to be flagged.
    robust : bool, default=True
        Robust whitening: the ``contamination`` share of least dense rows is kept out of the context, so that outliers in the
        training table do not shape the estimate they are judged by. See ``trim`` of :class:`DiscoDensity`.
    folds : int, default=5
        Folds in which the training rows are scored.
    context_size : int, default=8192
        Most rows that the estimate of a fold is made of. Less than for :class:`DiscoDensity`, for ``fit`` has to answer each
        of its rows once, and with ``robust`` twice.
    model, marginals, keys, device, random_state, verbose :
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
        "robust": ["boolean"],
        "folds": [Interval(Integral, 2, None, closed="left")],
        "model": [DiScoFormer, str, PathLike, None],
        "marginals": [StrOptions({"johnson", "linear"})],
        "context_size": [Interval(Integral, 16, None, closed="left")],
        "keys": [Interval(Integral, 16, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.1,
        robust: bool = True,
        folds: int = 5,
        context_size: int = 8192,
        model: Any = None,
        marginals: str = "johnson",
        keys: int = MAX_KEYS,
        device: str = "cpu",
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.contamination = contamination
        self.robust = robust
        self.folds = folds
        self.context_size = context_size
        self.model = model
        self.marginals = marginals
        self.keys = keys
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DiscoOutlierDetector:
        """Conditions the model on a table (n_samples, n_features), NaN where a cell is missing, and scores its rows.

        Rows of weight w count as w rows that are the same do, in the estimate and in the share that is flagged. ``y`` is
        ignored.

        Raises
        ------
        ValueError
            If the table holds strings or infinite values, has fewer than three rows, a column without a value, or no
            variance; or if sample weights are negative, not one a row, or zero but for one row.
        """
        X = checked(self, X, reset=True, least=3, missing=True)
        check_filled(self, X)
        self.density_ = DiscoDensity(
            model=self.model,
            marginals=self.marginals,
            trim=min(self.contamination, 0.49) if self.robust else 0.0,
            normalize=False,
            context_size=self.context_size,
            keys=self.keys,
            device=self.device,
            random_state=self.random_state,
            verbose=self.verbose,
        ).fit(X, sample_weight=sample_weight)
        scores = self.density_.score_training_samples(self.folds, whole=True)
        # Rows that are the same share a score, whatever folds they fell into.
        rows, group = distinct(X)
        shared = np.bincount(group, scores) / np.bincount(group)
        self.training_scores_ = shared[group]
        self._known = {row.tobytes(): float(score) for row, score in zip(rows, shared, strict=True)}
        if self.density_.counts_ is None:
            self.offset_ = float(np.quantile(self.training_scores_, self.contamination))
        else:
            weight = (
                np.ones(len(X)) if sample_weight is None else np.broadcast_to(np.asarray(sample_weight, np.float64), len(X))
            )
            column, level = torch.from_numpy(self.training_scores_)[:, None], torch.tensor([self.contamination]).double()
            self.offset_ = float(quantile(column, torch.from_numpy(weight.copy()), level))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each row, up to one constant, (n_samples,); the lower, the more unusual, whatever cells it lacks."""
        check_is_fitted(self)
        X = checked(self, X, reset=False, missing=True)
        scores = np.asarray([self._known.get(row.tobytes(), np.nan) for row in X])
        if (new := np.isnan(scores)).any():
            scores[new] = self.density_.score_samples(X[new], whole=True)
        return scores

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples`` less ``offset_``, (n_samples,); negative for outliers."""
        return self.score_samples(X) - self.offset_

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
