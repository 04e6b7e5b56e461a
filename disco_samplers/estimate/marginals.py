"""The marginal of an estimate: some of its columns, read anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from disco_samplers.arrays import default_names
from disco_samplers.draws import Support, index_of, supports_taken
from disco_samplers.estimators import NetworkEstimator, check_single, read_supported, straightened
from disco_samplers.model import Network


def read_columns(estimate: Any, network: Network, columns: Iterable[str | int]) -> dict[str, Any]:
    """What changes of an estimate when it is to be of some of its columns only: the fields of the new one.

    Raises:
        TypeError, ValueError: as :meth:`DensityEstimate.marginal <disco_samplers.DensityEstimate.marginal>`.
    """
    check_single(estimate.samples, "marginal")
    index = columns_of(columns, estimate.names or default_names(estimate.dim))
    if estimate.transform is not None and estimate.support is None:
        raise ValueError(
            "marginal does not know how the transform that this estimate was given changes some of the columns: condition on "
            "these alone, with a transform of theirs"
        )
    x, counts, keys = estimate.samples[:, index].contiguous(), estimate.counts, estimate.keys
    if (x == x[:1]).all():
        raise ValueError("the marginal has no variance: all rows are the same in these columns")
    changes: dict[str, Any] = {"samples": x, "transform": None, "support": None, "report": None}
    changes["names"] = None if estimate.names is None else [estimate.names[i] for i in index]
    supports = [Support()] if estimate.support is None else supports_taken(estimate.support, index)
    if any(supports):
        bounded = read_supported(network, x, supports, counts, keys)
        return changes | {"estimator": bounded, "transform": straightened(bounded, supports), "support": supports}
    return changes | {"estimator": NetworkEstimator(network, x, counts, keys)}


def columns_of(columns: Iterable[str | int], names: Sequence[str]) -> list[int]:
    """The numbers of columns.

    Raises:
        TypeError: if it is one column and no list, or an entry is neither a name nor a number.
        ValueError: if there are none, one occurs twice or there is no such column.
    """
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise TypeError(f"columns must be a list of names or numbers of columns, as [{columns!r}], got {columns!r}")
    index = [index_of(column, names) for column in columns]
    if not index:
        raise ValueError("columns must name at least one column")
    if repeated := [names[i] for i in dict.fromkeys(index) if index.count(i) > 1]:
        raise ValueError(f"columns name {', '.join(repeated)} more than once")
    return index
