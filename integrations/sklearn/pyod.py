"""DiscoOD: the detector with PyOD's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from disco_samplers.extras import optional

from .outlier import DiscoOutlierDetector

BaseDetector: Any = optional("pyod.models.base", "pyod").BaseDetector


class DiscoOD(BaseDetector):
    r"""PyOD's view of :class:`DiscoOutlierDetector`: scores are higher, labels 1, for outliers.

    .. math:: \text{decision\_function}(x) = -\log \hat f(x)

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.1
        Share of the training rows to be flagged.
    robust, folds, random_state :
        As in :class:`DiscoOutlierDetector`.

    Attributes
    ----------
    decision_scores_, threshold_, labels_ :
        As PyOD defines them; each training row is scored by an estimate that did not see it.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> X[0] = 9
    >>> int(DiscoOD().fit(X).decision_scores_.argmax())
    0
    """

    def __init__(
        self, contamination: float = 0.1, *, robust: bool = True, folds: int | None = None, random_state: Any = 0
    ) -> None:
        super().__init__(contamination=contamination)
        self.robust = robust
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> DiscoOD:
        """Fits the detector to a table (n_samples, n_features); ``y`` is ignored."""
        self._set_n_classes(y)
        self.detector_ = DiscoOutlierDetector(
            contamination=self.contamination, robust=self.robust, folds=self.folds, random_state=self.random_state
        ).fit(X)
        self.decision_scores_ = -self.detector_.training_scores_
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Minus the log-density of each row, up to one constant, (n_samples,)."""
        check_is_fitted(self)
        scores: np.ndarray = -self.detector_.score_samples(X)
        return scores
