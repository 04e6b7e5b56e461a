"""Draws: rows of numbers, and what is known of them."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_count, check_finite, column_names, placed
from disco_samplers.convergence import R_HAT, diagnostic, rhat_limit
from disco_samplers.draws.checks import column_of, index_of, size_of, stacked, weights_of
from disco_samplers.draws.columns import supports_of, supports_taken
from disco_samplers.draws.inference import from_labelled, inference_data, is_labelled
from disco_samplers.draws.inside import inside
from disco_samplers.draws.names import as_table
from disco_samplers.draws.supports import periods_of
from disco_samplers.draws.worth import (
    HeavyWeightWarning,
    LowEffectiveSizeWarning,
    RepeatedRowsWarning,
    TransposedWarning,
    UnmixedWarning,
    blocks_of,
    cautious,
    chains_effective_size,
    distinct_rows,
    kish_effective_size,
)
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike

_FEW, _FEW_A_COLUMN = 10, 2
"""Effective size, and that for each column, below which a warning is due, if there are more rows."""

_EACH = 1.6
"""Effective size of a chain below which it has hardly moved: two draws, told with caution."""

_LIKE_A_CHAIN, _LONG = 0.05, 50
"""Share of rows that are copies, and rows, from which on an array looks like a chain that stood still."""

_CALLER = 5
"""Frames from a warning up to who conditions on the draws."""

_MANY_COLUMNS = 10
"""Columns for each row from which on an array looks transposed."""


_NAMED = 5
"""Columns that a warning names."""


class Draws:
    r"""Draws of a distribution with their weights, chains and names: everything that takes samples takes these.

    They are worth :attr:`effective_size` independent draws. For weights that is Kish's :math:`1 / \sum_i w_i^2`; for chains the
    smallest bulk effective sample size N of the columns, and less of chains so short that each is worth few draws, as
    :func:`~disco_samplers.draws.cautious` says; for a table with repeated rows the number of distinct ones, which also bounds
    the others; where several apply the smallest.

    Arguments:
        values: (n, d), or (chain, draw, d) for chains of equal length; numpy, torch, a pandas or polars data frame, whose
            column names are kept, a list of chains, or what xarray and ArviZ have with the dimensions "chain" and "draw".
        weights: (n,), or (chain, draw): not negative, of any sum. Weights of zero leave a row out.
        names: of the d columns.
        support: of columns by name or number, or one for each: "positive", "unit", (low, high) with None where there is no
            bound, "circular:360", or a torch constraint; of several columns, ``{("a", "b", "c"): "simplex"}``, "subsimplex" or
            "ordered". Kept as one :class:`~disco_samplers.draws.Support` a column.
        log_prob: (n,), or (chain, draw), the log-density at the draws where it is known, up to a constant.

    Raises:
        TypeError: if values or weights are not numeric.
        ValueError: if the shapes do not fit, chains differ in length, a value is masked or not finite, a weight is negative or
            all are zero, names are repeated, a row lies outside the support, or all rows are the same.

    References:
        Kish, *Survey sampling*, 1965; Vehtari et al., *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008).

    Example:
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> Draws(x, weights=(0.5 * x[:, 0]).exp())
        Draws: 1,000 draws of 2 columns, weighted, worth 754
        >>> Draws(x.view(4, 250, 2)).num_chains
        4
    """

    def __init__(
        self,
        values: Any,
        *,
        weights: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        support: Any = None,
        log_prob: ArrayLike | None = None,
    ) -> None:
        if isinstance(values, Draws):
            raise TypeError("values are Draws already: they have their own weights, chains and names")
        if isinstance(values, (list, tuple)):
            values = stacked(values)
        self.is_tensor = isinstance(values, Tensor)
        tensor, found = from_labelled(values) if is_labelled(values) else as_table(values, "values")
        tensor = as_tensor(tensor, "values")
        if tensor.ndim not in (2, 3):
            raise ValueError(
                f"values must have shape (n, d) or (chain, draw, d), got {tuple(tensor.shape)}"
                + (" (for one column use x[:, None])" if tensor.ndim == 1 else "")
            )
        if tensor.shape[-1] < 1 or tensor[..., 0].numel() < 2:
            raise ValueError(f"values must have at least 2 rows and 1 column, got shape {tuple(tensor.shape)}")
        check_finite(tensor, "values")
        self.num_chains = len(tensor) if tensor.ndim == 3 else None
        self.values: Tensor = tensor.flatten(0, 1) if tensor.ndim == 3 else tensor
        d = self.values.shape[1]
        self.names = column_names(names if names is not None else found, d)
        self.has_names = names is not None or found is not None
        self.weights = None if weights is None else weights_of(weights, tensor.shape, self.values)
        self.log_prob = None if log_prob is None else column_of(log_prob, "log_prob", tensor.shape).to(self.values.device)
        self.support = None if support is None else supports_of(support, self.names, self.values)
        if self.support is not None:
            rows = self.values
            if self.weights is not None:  # what has none may lie anywhere
                rows = rows.where((self.weights > 0)[:, None], rows[self.weights.argmax()])
            inside(rows, self.support, self.names)
        if (self.values == self.values[:1]).all():
            raise ValueError("values has no variance: all its rows are the same; at least two distinct rows are needed")
        counted = self.values if self.weights is None else self.values[self.weights > 0]
        if (counted == counted[:1]).all():
            raise ValueError("weights leave fewer than two distinct rows: all others have a weight of zero")
        self._reduced: tuple[Tensor, Tensor, Tensor] | None = None
        self._effective_size: float | None = None
        self._rhat: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def independent(self) -> Any:
        """The rows as they were given, for what knows nothing of weights and chains.

        Raises:
            ValueError: if they are not independent draws of equal weight.
        """
        if self.effective_size < len(self):
            raise ValueError(
                f"{self!r}: independent rows of equal weight are wanted here, as "
                f"draws.resample({max(2, round(self.effective_size))}, seed=0) gives"
            )
        return self.values if self.is_tensor else self.values.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The same as an array.

        Raises:
            TypeError: if they are not independent draws of equal weight.
        """
        try:
            return np.array(torch.as_tensor(self.independent()).detach().cpu().numpy(), dtype=dtype)
        except ValueError as error:
            raise TypeError(str(error)) from None

    @property
    def device(self) -> torch.device | None:
        """Where the values are; None for arrays, which go where they are wanted."""
        return self.values.device if self.is_tensor else None

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.values.shape[1]

    @property
    def num_distinct(self) -> int:
        """Number of distinct rows of positive weight."""
        return len(self._distinct()[0])

    @property
    def effective_size(self) -> float:
        """How many independent draws these are worth."""
        if self._effective_size is None:
            rows, share, _ = self._distinct()
            sizes = [float(len(rows))]
            if self.weights is not None:
                sizes.append(kish_effective_size(share))
            if self.num_chains is not None:
                sizes.append(self._chains_worth())
            self._effective_size = max(1.0, min(sizes))
        return self._effective_size

    @property
    def rhat(self) -> np.ndarray | None:
        """Rank-normalised split R-hat of each column, (d,), NaN where undefined; None where there are no chains.

        1 where the chains agree; above 1.01 they have not mixed. Of angles it is the larger one of cosine and sine.
        """
        if self._rhat is None and self.num_chains is not None:
            chains = self.values.detach().double().cpu().view(self.num_chains, -1, self.dim)
            self._rhat = diagnostic("rhat", chains.numpy(), periods_of(self.support))
        return self._rhat

    @property
    def unmixed(self) -> list[str]:
        """Names of the columns that the chains have not mixed in, the worst first: R-hat above 1.01.

        Chains of fewer than 400 draws, or fewer than 1600 draws in all, are judged by an R-hat above 1.1, those of fewer than
        100 not at all.
        """
        if self.num_chains is None or self.rhat is None:
            return []
        above = np.flatnonzero(self.rhat > rhat_limit(self.num_chains, len(self) // self.num_chains))
        return [self.names[i] for i in above[self.rhat[above].argsort()[::-1]]]

    def counts(self, effective_size: float | None = None) -> tuple[Tensor, Tensor | None]:
        r"""The distinct rows (m, d), and how many independent draws each is worth, :math:`w_i \operatorname{ESS}`.

        None stands for one draw a row.

        Raises:
            ValueError: if ``effective_size`` is not positive or exceeds the number of distinct rows.
        """
        rows, share, _ = self._distinct()
        size = self.effective_size if effective_size is None else size_of(effective_size, len(rows))
        if self.weights is None and len(rows) == len(self) and size >= len(self):
            return self.values, None
        return rows, share * size

    def warn(self, effective_size: float | None = None) -> None:
        """Warns where chains have not mixed, rows are worth few or look like a chain or like columns, or one outweighs all."""
        rows, share, _ = self._distinct()
        size = self.effective_size if effective_size is None else effective_size
        if self.num_chains is None and self.weights is None and effective_size is None and self._looks_like_a_chain():
            warnings.warn(
                f"{len(self):,} rows, of which {len(rows):,} are distinct: many are copies, as in the draws of a Markov chain. "
                f"They are read as {len(rows):,} draws; pass Draws(x) with x (chain, draw, d), or effective_size=, to say what "
                "they are worth; of a file, name its chains in a column chain, or say burn_in=0 (--burn-in 0)",
                RepeatedRowsWarning,
                stacklevel=_CALLER,
            )
        if self.num_chains is not None and self._looks_like_walkers():
            warnings.warn(
                f"read as {self.num_chains} chains of {len(self) // self.num_chains} draws, but each repeats draws of the "
                "chain before it, as if draws were the first axis (as in emcee's get_chain()): pass x.swapaxes(0, 1); of "
                "a file leave out --axes, or without it say --axes draw,chain,variable",
                TransposedWarning,
                stacklevel=_CALLER,
            )
        if self.rhat is not None and (unmixed := self.unmixed):
            some = ", ".join(unmixed[:_NAMED]) + ", ..." * (len(unmixed) > _NAMED)
            warnings.warn(
                f"the chains have not mixed, or are too short to tell: R-hat {float(np.nanmax(self.rhat)):.2f} ({some}), good "
                f"is {R_HAT} or less; they may have seen parts of the target only, and so will what is made of them: run them "
                "longer",
                UnmixedWarning,
                stacklevel=_CALLER,
            )
        if self.dim >= _MANY_COLUMNS * len(self):
            warnings.warn(
                f"{len(self)} rows of {self.dim} columns: draws are rows here; transpose the array if yours are columns",
                TransposedWarning,
                stacklevel=_CALLER,
            )
        if self.weights is not None and float(share.max()) > 0.5:
            warnings.warn(
                f"row {self._heaviest()} carries {float(share.max()):.0%} of all weight: the draws tell of little else",
                HeavyWeightWarning,
                stacklevel=_CALLER,
            )
        elif self.weights is None and effective_size is None and size < _EACH * (self.num_chains or 0):
            warnings.warn(
                f"the draws are worth {size:.1f} independent ones, fewer than two a chain: chains have hardly moved from where "
                "they started; run them longer",
                LowEffectiveSizeWarning,
                stacklevel=_CALLER,
            )
        elif size < max(_FEW, _FEW_A_COLUMN * self.dim) and size < len(self):
            warnings.warn(
                f"the draws are worth {size:.1f} independent ones, of {self.dim} columns: expect little",
                LowEffectiveSizeWarning,
                stacklevel=_CALLER,
            )

    def blocks(self, effective_size: float | None = None) -> Tensor | None:
        """The run of successive draws, (m,), that each row of :meth:`counts` belongs to, where these come one after another.

        An estimate must not be judged on neighbours of what it was made from: such runs are held out as a whole. None where the
        order of rows means nothing: those of a plain table, unless ``effective_size`` is given or it looks like a chain.
        """
        said = effective_size is not None or self._looks_like_a_chain()
        if self.num_chains is None and (self.weights is not None or not said):
            return None
        chains = self.num_chains or 1
        return blocks_of(chains, len(self) // chains, min(self._chains_worth(), effective_size or math.inf))[
            self._distinct()[2].cpu()
        ]

    def thin(self) -> Draws:
        """Every k-th draw of each chain, k being what one independent draw takes; of a table the distinct rows.

        Raises:
            ValueError: if the draws are weighted: :meth:`resample` them.
        """
        if self.weights is not None:
            raise ValueError("weighted draws cannot be thinned: use resample")
        if self.num_chains is None:
            return self._of(self._distinct()[2])
        step = max(1, math.ceil(len(self) / self.effective_size))
        index = torch.arange(len(self), device=self.values.device).view(self.num_chains, -1)[:, ::step]
        return self._of(index if index.shape[1] > 1 else index.flatten())

    def resample(
        self, num_samples: int | None = None, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> Draws:
        """Draws of equal weight, by systematic resampling; as many as these are worth if no number is given.

        Raises:
            ValueError: if ``num_samples`` is not positive, seed and generator are both given, or the generator is on another
                device.

        References:
            Kitagawa, *Monte Carlo filter and smoother for non-Gaussian nonlinear state space models*, 1996.
        """
        count = max(2, round(self.effective_size)) if num_samples is None else num_samples
        check_count("num_samples", count, 1)
        device = self.values.device
        generator = generator_on(device, seed=seed, generator=generator)
        share = self._shares().cumsum(0)
        offset = torch.rand((), generator=generator, device=device, dtype=share.dtype)
        points = (torch.arange(count, device=device) + offset) / count * share[-1]
        index = torch.searchsorted(share, points).clamp_max(len(self) - 1)
        order = torch.randperm(count, generator=generator, device=device)
        return self._of(index[order])

    def columns(self, which: Sequence[str | int]) -> Draws:
        """The same draws of some of the columns, by name or number; ``log_prob`` stays where they are all of them.

        Raises:
            ValueError: if there is no such column.
        """
        index = [index_of(column, self.names) for column in which]
        bounds = None if self.support is None else supports_taken(self.support, index)
        names = [self.names[i] for i in index] if self.has_names else None
        found = self.replaced(self.values[:, index], names=names, support=bounds)
        if sorted(index) == list(range(self.dim)):
            found.log_prob = self.log_prob
        return found

    def replaced(self, values: Tensor, *, names: Sequence[str] | None = None, support: Any = None) -> Draws:
        """Other values (n, k) with the weights and chains of these, row by row.

        Example:
            >>> draws = Draws(torch.rand(50, 2), weights=torch.rand(50))
            >>> abs(draws.replaced(draws.values.log()).effective_size - draws.effective_size) < 1e-6
            True
        """
        shape = values.shape[:1] if self.num_chains is None else (self.num_chains, len(values) // self.num_chains)
        weights = None if self.weights is None else self.weights.view(shape)
        values = values.view(*shape, -1)
        return Draws(values if self.is_tensor else values.numpy(), weights=weights, names=names, support=support)

    def on(self, device: torch.device | None, name: str) -> Draws:
        """The same draws as tensors on a device, if one is wanted: arrays go there, tensors must be there already.

        Raises:
            ValueError: by this name, if they are tensors of another kind of device.

        Example:
            >>> Draws(np.random.default_rng(0).normal(size=(50, 2))).on(torch.device("cpu"), "draws").device
            device(type='cpu')
        """
        if device is None or self.device == device:
            return self
        there = copy.copy(self)
        there.values, there.is_tensor = placed(self.values, name, device, free=not self.is_tensor), True
        there.weights, there.log_prob = (None if x is None else x.to(device) for x in (self.weights, self.log_prob))
        there._reduced = None
        return there

    def to_arviz(self) -> Any:
        """As ArviZ data: a chain if these are none; ``log_prob`` as the statistic ``lp``.

        Raises:
            ImportError: if ArviZ is not installed.
            ValueError: if the draws are weighted, which ArviZ knows nothing of.
        """
        if self.weights is not None:
            raise ValueError("ArviZ knows no weights: use draws.resample(n, seed=0).to_arviz()")
        chains = self.num_chains or 1
        stats = {} if self.log_prob is None else {"lp": self.log_prob.view(chains, -1).cpu().numpy()}
        return inference_data(self.values.view(chains, -1, self.dim).cpu().numpy(), self.names, stats)

    def __repr__(self) -> str:
        chains = f" of {self.num_chains} chain{'s' * (self.num_chains > 1)}" if self.num_chains else ""
        distinct = f", {self.num_distinct:,} distinct" if self.num_distinct < len(self) else ""
        weighted = ", weighted" if self.weights is not None else ""
        worth = f"{self.effective_size:,.0f}"
        return f"Draws: {len(self):,} draws{chains} of {self.dim} columns{distinct}{weighted}, worth {worth}"

    def _of(self, index: Tensor) -> Draws:
        """The rows of these numbers (n,), or (chain, draw), of equal weight."""
        values = self.values[index]
        return Draws(
            values if self.is_tensor else values.numpy(),
            names=self.names if self.has_names else None,
            support=self.support,
            log_prob=None if self.log_prob is None else self.log_prob[index],
        )

    def _shares(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return torch.full((len(self),), 1 / len(self), dtype=torch.float64, device=self.values.device)

    def _distinct(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct rows of positive weight, their shares of all weight, and where each is first."""
        if self._reduced is None:
            shares = self._shares()
            kept = (shares > 0).nonzero()[:, 0]
            rows, own = distinct_rows(self.values[kept])
            found = torch.zeros(len(rows), dtype=torch.float64, device=rows.device).index_add_(0, own, shares[kept])
            place = torch.full((len(rows),), len(self), device=rows.device).scatter_reduce_(0, own, kept, "amin")
            self._reduced = rows, found, place
        return self._reduced

    def _heaviest(self) -> int:
        _, share, place = self._distinct()
        return int(place[share.argmax()])

    def _chains_worth(self) -> float:
        """What the chains, or the rows as one chain, are worth by their autocorrelation; as many as they are if unknown."""
        chains = self.num_chains or 1
        found = chains_effective_size(self.values.view(chains, -1, self.dim), periods_of(self.support))
        return float(len(self)) if math.isnan(found) else cautious(found, chains)

    def _looks_like_walkers(self) -> bool:
        chains = self.values.view(self.num_chains or 1, -1, self.dim)
        same = (chains[1:] == chains[:-1]).all(2)
        return same.numel() >= _LONG and bool(same.double().mean() > _LIKE_A_CHAIN)

    def _looks_like_a_chain(self) -> bool:
        """Whether rows repeat the row before, or are copies and no ties: one of several columns tells all distinct rows."""
        if len(self) < _LONG:
            return False
        stood = (self.values[1:] == self.values[:-1]).all(1).double().mean()
        rows = self._distinct()[0]
        copies = self.dim > 1 and len(rows) < (1 - _LIKE_A_CHAIN) * len(self)
        return bool(stood > _LIKE_A_CHAIN) or (
            copies and any(len(column.unique()) == len(rows) and (column != column.round()).any() for column in rows.T)
        )
