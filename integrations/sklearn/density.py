"""DiscoDensity: the interface of scikit-learn's KernelDensity on the pretrained model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.distributions.transforms import ComposeTransform, Transform

from disco_samplers import DiScoFormer
from disco_samplers.arrays import check_double
from disco_samplers.draws import Draws, Support, mirrored, rounded_inside
from disco_samplers.estimate import MAX_KEYS
from disco_samplers.estimators import DEFAULTS, MAX_DIM, AtomTransform, JohnsonTransform, crossfit, quantile

from .missing import MissingCells
from .standing import standing_out
from .table import check_filled, checked, dequantized, ends_of, resolutions, unsummarised, weighed
from .units import log_units

_LONG = 4096
"""Rows from which on scoring takes long enough for a progress bar."""

_EXACT = 256
"""Rows up to which estimates of folds, which nobody asks twice, are computed in float64."""

_FEW = 1000
"""Rows from which on two folds are as good as five."""


class DiscoDensity(TransformerMixin, BaseEstimator):
    r"""Density of a table of numbers by one pretrained transformer: nothing is trained and no bandwidth is chosen.

    .. math:: \log \hat f(x) = \log \hat f_z(z(x)) + \sum_k \log \frac{dz_k}{dx_k} - \log Z

    Columns pass through :class:`~disco_samplers.estimators.JohnsonTransform`, which tame heavy and skewed tails, before the
    model sees them. Columns of integers or with ties are dequantised in ``fit``: each value is drawn uniformly from the
    cell around it, as wide as the column's smallest gap (1 for integers without ties), so that the density at a value is
    the probability of its cell over the cell's width. So it is at a value that many rows share while those about it differ
    (no rain, a limit of detection), which the model sees through :class:`~disco_samplers.estimators.AtomTransform`. A
    constant column of other numbers has a Gaussian of 1e-3 of the table's scale. Rows that were fitted are scored too high,
    as with any density estimate; :meth:`score_training_samples` does not.

    Cells may be missing (NaN), in ``fit`` and elsewhere, in any pattern. A row's log-density is that of the cells it has,

    .. math:: \log \hat f(x_o) = \log \int \hat f(x_o, x_m)\,dx_m,

    by importance sampling; it is 0 for a row without any cell. Rows that lack different cells are compared with
    ``whole=True``. In ``fit`` missing cells are drawn given the row's others: once by a normal law in the columns' coordinates,
    then anew by the estimate of these rows. A row with missing cells takes as long as 32 whole ones, one that
    lacks more than half of them as 256.

    Parameters
    ----------
    model : DiScoFormer, str or path, default=None
        The weights; those in the package if None.
    marginals : {"johnson", "linear"}, default="johnson"
        "linear" leaves columns as they are, atoms too, so that the estimate commutes with rotations of the table.
    trim : float in [0, 0.5) or "auto", default=0.0
        Robust whitening: this share of the rows, those least dense by an estimate that did not see them, is kept out of
        marginals, whitening and context: a concentration step, as in the fast MCD algorithm, by density. With "auto" the rows
        that stand out are kept out, few of a clean table: those far beyond the others by their density, or by their distance
        from the bulk, as a cluster of anomalies does that make each other look usual.
    normalize : bool, default=True
        Whether to bring the density's integral to one, by importance sampling; up to 20 columns, beyond that it is left
        as it is.
    context_size : int, default=32768
        Most rows that an estimate is made of: of a longer table a random subset, so that time grows linearly with its rows.
    keys : int, default=2048
        Rows that a row attends to while a longer context is encoded. A longer table is computed in float32.
    device : str, default="cpu"
        Where the model works, for instance "cuda".
    support : mapping, sequence, "auto" or None, default=None
        Where columns end, as ``DiScoFormer.condition`` takes it: {"age": "positive", 3: "unit", "angle": "circular:360"}. The
        others pass through ``marginals``. Cells of what is recorded in steps end where their column does. "auto" only tells, by
        a warning, which columns look as if they ended.
    random_state : int, RandomState instance or None, default=0
        Of dequantisation, subsets, folds and the normaliser.
    verbose : bool, default=False
        Whether to show a progress bar where a table of more than a few thousand rows is scored by its folds, a row that lacks
        cells counting 32 times, and where so many cells are filled in.

    Attributes
    ----------
    estimate_ : DensityEstimate
        The estimate behind it, of torch tensors.
    log_normalizer_ : float
        Log Z in nats, which was taken off; 0 where it was not estimated.
    resolution_ : ndarray of shape (n_features_in_,)
        Width of each column's cells; 0 where there are none.
    effective_size_ : float
        How many independent rows of equal weight the estimate's rows are worth.
    counts_ : Tensor or None
        How many independent rows each row of the table, equal rows taken together, is worth; None where each is one.
    support_ : ndarray of shape (n_samples,)
        False for the rows that ``trim``, or a weight of zero, kept out.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they have any.

    References
    ----------
    DiScoFormer (https://arxiv.org/abs/2511.05924); Theis, van den Oord, Bethge, *A note on the evaluation of generative
    models*, ICLR 2016, section 3.1, for dequantisation; Rousseeuw, Van Driessen, *A fast algorithm for the minimum
    covariance determinant estimator*, Technometrics 1999, for concentration steps.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from disco_samplers.integrations.sklearn import DiscoDensity
    >>> X = load_iris().data
    >>> density = DiscoDensity().fit(X[:100])
    >>> density.score_samples(X[:3]).shape, density.score_gradient(X[:3]).shape
    ((3,), (3, 4))
    >>> bool(density.score_samples(X[:100]).mean() > density.score_samples(X[100:]).mean())
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # the name and form that scikit-learn reads
        "model": [DiScoFormer, str, PathLike, None],
        "marginals": [StrOptions({"johnson", "linear"})],
        "trim": [Interval(Real, 0, 0.5, closed="left"), StrOptions({"auto"})],
        "normalize": ["boolean"],
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
        model: Any = None,
        marginals: str = "johnson",
        trim: float | str = 0.0,
        normalize: bool = True,
        context_size: int = 32768,
        keys: int = MAX_KEYS,
        device: str = "cpu",
        support: Any = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.marginals = marginals
        self.trim = trim
        self.normalize = normalize
        self.context_size = context_size
        self.keys = keys
        self.device = device
        self.support = support
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DiscoDensity:
        """Conditions the model on a table (n_samples, n_features), NaN where a cell is missing; ``y`` is ignored.

        Rows of weight w count as w rows that are the same do; all are worth ``effective_size_`` independent rows. Of a table
        larger than memory ``X`` is its :class:`~disco_samplers.summaries.TableSummary`, with the weights of the rows kept.

        Raises
        ------
        ValueError
            If the table holds strings or infinite values, has fewer than two rows with values, a column without one, or no
            variance; if cells lie outside a support; or if sample weights are negative, not one a
            row, or zero but for one row.
        """
        check_double(self.device, "device")
        X, sample_weight = unsummarised(X, sample_weight)
        table = checked(self, X, reset=True, least=2, missing=True)
        X, weight, self._own = weighed(table, sample_weight)
        check_filled(self, X)
        rng = check_random_state(self.random_state)
        self.resolution_ = resolutions(X)
        self._seed = int(rng.randint(2**31))
        rows = dequantized(X, self.resolution_, rng)
        self._supports = ends_of(self, X)
        if self._supports is not None:
            rows = mirrored(torch.from_numpy(rows), self._supports).numpy()
        self._rows, self._unseen = (torch.from_numpy(rows).to(self.device) for rows in (X, table[self._own < 0]))
        context = torch.from_numpy(rows).to(self.device)
        self.counts_ = None if weight is None else torch.from_numpy(weight).to(self.device)
        self._quick = weights(self.model, self.device, double=len(X) <= _EXACT)
        counts = [] if self.counts_ is None else [self.counts_]
        generator = self._generator()
        self._atoms = self._found_atoms(self._rows)
        self._cells = MissingCells(context, self.counts_, generator, self._atoms, self._supports)
        self._cells.warn(self.context_size)
        self._context = self._cells.filled(
            lambda rows: self._condition(self._quick, rows, *counts), generator, progress=self.verbose
        )
        self._judged: dict[Any, Tensor] = {}
        self._keep = torch.ones(len(X), dtype=torch.bool, device=self._rows.device)
        if self.trim:
            keep = self._kept(*counts)
            if not keep.all():
                self._keep, self._judged = keep, {}
        self.support_ = (self._own >= 0) & self._keep.cpu().numpy()[self._own]
        self._encoded: list[Any] = []
        self.log_normalizer_ = 0.0
        if self.normalize and X.shape[1] <= MAX_DIM:
            generator = torch.Generator(self._rows.device).manual_seed(int(rng.randint(2**31)))
            self.log_normalizer_ = self.estimate_.log_normalizer(generator=generator).value
        return self

    @property
    def estimate_(self) -> Any:
        """The estimate behind it, of torch tensors; made when it is first asked for."""
        check_is_fitted(self, "log_normalizer_")
        if not self._encoded:
            counts = [] if self.counts_ is None else [self.counts_[self._keep]]
            # In float64 answers do not depend on which rows are asked together.
            exact = _EXACT < len(self._rows) <= self.keys
            model = weights(self.model, str(self._rows.device), double=True) if exact else self._quick
            self._encoded.append(self._condition(model, self._context[self._keep], *counts))
        return self._encoded[0]

    @property
    def effective_size_(self) -> float:
        """How many independent rows of equal weight the estimate's rows are worth."""
        return float(self.estimate_.effective_size)

    def folds(self) -> int:
        """Folds in which the rows are judged where nothing else is said: five, of more than 1,000 rows two."""
        return 5 if len(self._rows) <= _FEW else 2

    def score_samples(self, X: Any, *, whole: bool = False, scaled: bool = False) -> np.ndarray:
        """Log-density in nats of what each row of X has, (n_samples,); of fitted rows see :meth:`score_training_samples`.

        Those find themselves among the rows of the estimate, and come out too likely. With ``whole`` rows are on one scale,
        whatever they lack: to the log-density of what a row has is added what its missing cells, given those, have on average,
        by the estimate. Rows that lack nothing stay as they are. With ``scaled`` the density is one of columns in the units in
        which a detector compares rows, halfway between the columns' own and those in which they are normal; of rows that
        lack cells ``whole`` is needed, too.
        """
        points = self._points(X)
        return self._normalised(self._log_prob(self.estimate_, points, whole=whole, scaled=scaled), points)

    def score(self, X: Any, y: Any = None) -> float:
        """Total log-likelihood of the rows of X; ``y`` is ignored."""
        return float(self.score_samples(X).sum())

    def score_gradient(self, X: Any) -> np.ndarray:
        """Gradient of the log-density in each row of X, (n_samples, n_features): where a row would have to go to be usual.

        NaN in missing cells.
        """
        points = self._points(X)
        gradient: np.ndarray = self._cells.log_prob_and_score(self.estimate_, points)[1].cpu().numpy()
        return gradient

    def score_training_samples(self, folds: int = 5, *, whole: bool = False, scaled: bool = False) -> np.ndarray:
        """Log-density of each fitted row by an estimate of the other folds' rows, (n_samples,).

        Not normalised: one constant is missing, that of the estimates of the folds. ``whole`` and ``scaled`` as in
        :meth:`score_samples`.
        """
        check_is_fitted(self)
        scores: np.ndarray = self._crossfitted(folds, whole=whole, scaled=scaled).cpu().numpy()[self._own]
        if len(self._unseen):
            unseen = self._log_prob(self.estimate_, self._unseen, whole=whole, scaled=scaled)
            scores[self._own < 0] = unseen.cpu().numpy()
        return scores

    def surprise_samples(self, X: Any) -> np.ndarray:
        r"""By how many nats each cell of X is less likely than is usual, given its row's others: (n_samples, n_features).

        .. math:: \mathrm E[\log \hat f(x_k \mid x_{-k})] - \log \hat f(x_k \mid x_{-k})

        The mean is over what would stand in the cell by the estimate, so that a usual cell has about 0 or less. In the units
        of ``scaled``; NaN in missing cells.
        """
        return self._surprises(self.estimate_, self._points(X)).cpu().numpy()

    def surprise_training_samples(self, index: Any, folds: int = 5) -> np.ndarray:
        """:meth:`surprise_samples` of some fitted rows, by their numbers, each by an estimate that did not see it."""
        check_is_fitted(self)
        own = self._own[np.asarray(index, dtype=int)]
        found = np.full((len(own), self.n_features_in_), np.nan)
        seen = own >= 0
        if seen.any():
            asked = self._rows.new_zeros(len(self._rows), dtype=torch.bool)
            asked[own[seen]] = True

            def surprises(estimate: Any, rows: Tensor) -> Tensor:
                answer = torch.full_like(rows[:, 1:], torch.nan)
                if (some := rows[:, 0] > 0).any():
                    answer[some] = self._surprises(estimate, rows[some, 1:])
                return answer

            found[seen] = self._folded(surprises, torch.cat([asked[:, None], self._rows], 1), folds).cpu().numpy()[own[seen]]
        return found

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """New rows (n_samples, n_features) from the estimate; columns that were dequantised come in their steps."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31))
        generator = torch.Generator(self._rows.device).manual_seed(seed)
        draws: np.ndarray = self.estimate_.sample(n_samples, generator=generator).cpu().numpy()
        rows = self._rows.cpu().numpy()
        origin = rows[(~np.isnan(rows)).argmax(0), np.arange(rows.shape[1])]
        step = np.where(self.resolution_ > 0, self.resolution_, 1.0)
        found = np.where(self.resolution_ > 0, origin + step * np.round((draws - origin) / step), draws)
        return found if self._supports is None else _clipped(found, self._supports)

    def transform(self, X: Any) -> Any:
        """Log-density and its gradient as columns (n_samples, 1 + n_features), features for what comes next in a pipeline."""
        points = self._points(X)
        log_prob, score = self._cells.log_prob_and_score(self.estimate_, points)
        return np.column_stack([self._normalised(log_prob, points), score.cpu().numpy()])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of :meth:`transform`: log_density, then score_NAME for each column."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        if input_features is not None:
            if len(input_features) != self.n_features_in_:
                raise ValueError(f"input_features should have length equal to {self.n_features_in_}, the columns seen in fit")
            if names is not None and list(names) != list(input_features):
                raise ValueError("input_features is not equal to feature_names_in_")
            names = input_features
        names = [f"x{k}" for k in range(self.n_features_in_)] if names is None else names
        return np.asarray(["log_density", *(f"score_{name}" for name in names)], dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        # Keys and values outweigh the rows by far, and are made anew where they are asked.
        state: dict[str, Any] = super().__getstate__()
        return state | {"_encoded": []} if "_encoded" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _points(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.from_numpy(checked(self, X, reset=False, missing=True)).to(self._rows.device)

    def _normalised(self, log_prob: Tensor, points: Tensor) -> np.ndarray:
        """Log-densities (m,) at points (m, d) less the normaliser's; of no cells there is nothing to normalise."""
        found: np.ndarray = (log_prob - self.log_normalizer_ * ~points.isnan().all(1)).cpu().numpy()
        return found

    def _condition(self, model: DiScoFormer, rows: Tensor, counts: Tensor | None = None) -> Any:
        if len(rows) > self.context_size:
            order = torch.randperm(len(rows), generator=self._generator(), device="cpu")[: self.context_size].to(rows.device)
            rows, counts = rows[order], None if counts is None else counts[order]
        keys = self.keys if len(rows) > self.keys else None
        if counts is None:
            return model.condition(rows, keys=keys, transform=self._marginals(rows), support=self._supports)
        draws = Draws(rows, weights=counts)
        transform = self._marginals(rows, draws.counts()[1])
        return model.condition(draws, keys=keys, transform=transform, support=self._supports)

    def _kept(self, counts: Tensor | None = None) -> Tensor:
        """Which rows ``trim`` leaves in, (n,)."""
        if isinstance(self.trim, str):
            scores = self._crossfitted(self.folds(), whole=True, scaled=True)
            transform = self._marginals(self._context, counts)
            image = self._context if transform is None else transform(self._context)
            image = torch.where(self._rows.isnan(), torch.nan, image)  # what is drawn in their place hides a cluster
            spiked = None if self._atoms is None else (self._atoms.widths > self._atoms.cells).any(0)
            return ~standing_out(image, scores, counts, spiked)
        scores = self._crossfitted(5, whole=True)
        if counts is None:
            return scores >= scores.sort().values[int(self.trim * len(scores))]
        return scores >= quantile(scores[:, None], counts, scores.new_tensor([self.trim]))[0]

    def _found_atoms(self, rows: Tensor) -> AtomTransform | None:
        """Those of a table (n, d) as it is recorded; none where columns are left as they are, or have ends."""
        if self.marginals == "linear" or self._supports is not None:
            return None
        atoms = AtomTransform.fit(rows, torch.from_numpy(self.resolution_), self.counts_)
        return atoms if len(atoms.places) else None

    def _marginals(self, rows: Tensor, counts: Tensor | None = None) -> Transform | None:
        """What columns pass through, fitted to rows (n, d)."""
        if self.marginals == "linear":
            return None
        if self._atoms is None:
            return JohnsonTransform.fit(rows, counts)
        return ComposeTransform([self._atoms, JohnsonTransform.fit(self._atoms(rows), counts)])

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)

    def _crossfitted(self, folds: int, *, whole: bool, scaled: bool = False) -> Tensor:
        """Scores of the table's rows, kept as long as no more rows are kept out."""
        if (asked := (folds, whole, scaled)) not in self._judged:
            self._judged[asked] = self._folded(
                lambda estimate, rows: self._log_prob(estimate, rows, whole=whole, scaled=scaled), self._rows, folds
            )
        return self._judged[asked].clone()

    def _folded(self, evaluate: Callable[[Any, Tensor], Tensor], queries: Tensor, folds: int) -> Tensor:
        """What ``evaluate`` says of each query, by an estimate of the folds that its row is not in."""
        return crossfit(
            self._context,
            partial(self._condition, self._quick),
            evaluate,
            folds=folds,
            generator=self._generator(),
            keep=self._keep,
            queries=queries,
            counts=self.counts_,
            progress=self.verbose and len(self._rows) + 31 * int(self._rows.isnan().any(1).sum()) > _LONG,
        )

    def _log_prob(self, estimate: Any, rows: Tensor, *, whole: bool, scaled: bool) -> Tensor:
        units = partial(log_units, estimate.transform) if scaled else None
        return self._cells.log_prob(estimate, rows, whole=whole, units=units)

    def _surprises(self, estimate: Any, rows: Tensor) -> Tensor:
        """By how many nats more usual each row (m, d) would be with one of its cells missing, (m, d)."""
        own = self._log_prob(estimate, rows, whole=True, scaled=True)
        columns = []
        for k in range(rows.shape[1]):
            without = rows.clone()
            without[:, k] = torch.nan
            columns.append(self._log_prob(estimate, without, whole=True, scaled=True) - own)
        return torch.where(rows.isnan(), torch.nan, torch.stack(columns, 1))


def _clipped(rows: np.ndarray, supports: Sequence[Support]) -> np.ndarray:
    """Rows (n, d) in steps, no further than the ends of their columns."""
    found: np.ndarray = rounded_inside(torch.from_numpy(rows), torch.float64, supports).numpy()
    return found


def weights(model: Any, device: str, *, double: bool) -> DiScoFormer:
    """The model of the parameter ``model``. In float64 answers do not depend on which rows are asked together."""
    if model is None:
        return _default(device, double)
    own = isinstance(model, DiScoFormer)
    loaded = copy.deepcopy(model) if own else DiScoFormer.from_pretrained(model, map_location=device)
    return loaded.to(device).double() if double else loaded.to(device)


@cache
@torch.inference_mode(False)  # a later fit may be outside
def _default(device: str, double: bool) -> DiScoFormer:
    """The default weights, loaded once for all estimators: nothing changes them, and to load them takes as long as a fold."""
    loaded = DiScoFormer.from_pretrained(DEFAULTS["table"], map_location=device).to(device)
    return loaded.double() if double else loaded
