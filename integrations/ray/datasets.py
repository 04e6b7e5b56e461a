"""Ray Data: the summary of a data set, and a data set with its rows' log-densities."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disco_samplers.arrays import check_count, check_not_negative
from disco_samplers.estimate import Scorer, check_scores, packed, variables_of
from disco_samplers.extras import optional
from disco_samplers.files import CHUNK
from disco_samplers.summaries import RESERVOIR, TableSummary

from .cluster import check_workers, connect, device_for, plainly

_FAN = 16
"""Summaries that one task merges."""


def fit(
    dataset: Any,
    *,
    columns: Sequence[str] | None = None,
    row_weights: str | None = None,
    row_number: str | None = None,
    size: int = RESERVOIR,
    seed: int = 0,
) -> TableSummary:
    """The summary of a Ray data set, by summaries of its batches and a tree of tasks that merge them.

    Of it estimates are made: ``DiscoDensity().fit(summary)``, ``DiScoFormer.from_pretrained().condition(summary)``.

    Arguments:
        dataset: of :mod:`ray.data`.
        columns: the variables; all columns but those below if not given.
        row_weights: column of the rows' weights.
        row_number: column of whole numbers, one for each row of the whole data set. With it the rows kept do not depend on how
            the data set is divided in blocks. Without it they are drawn anew for another division.
        size: most rows kept.
        seed: of which they are.

    Raises:
        ImportError: if Ray is not installed.
        TypeError, ValueError: if the data set is none, or has no such columns, or columns of other than numbers.

    Example:
        >>> import ray.data  # doctest: +SKIP
        >>> summary = fit(ray.data.read_parquet("part-*.parquet"))  # doctest: +SKIP
    """
    check_count("size", size, 2)
    ray = connect()
    names = _columns(dataset, columns, [name for name in (row_weights, row_number) if name])

    def summarised(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        rows = np.stack([np.asarray(batch[name], np.float64) for name in names], 1)
        weights = None if row_weights is None else batch[row_weights]
        summary = TableSummary(size=size, seed=seed)
        if row_number is None:
            # By what stands in it a batch has a number of its own.
            digest = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=7).digest()
            summary.partial_fit(rows, weights, part=int.from_bytes(digest, "big"), names=names)
        else:
            summary.partial_fit(rows, weights, first=np.asarray(batch[row_number]), names=names)
        return {"summary": np.array([summary], dtype=object)}

    with plainly():
        summaries = [ray.put(row["summary"]) for row in dataset.map_batches(summarised, batch_size=2**17).iter_rows()]
        merge = ray.remote(_merged)
        while len(summaries) > 1:
            summaries = [merge.remote(*summaries[i : i + _FAN]) for i in range(0, len(summaries), _FAN)]
        found: TableSummary = ray.get(summaries[0]) if summaries else TableSummary(size=size, seed=seed)
    return found


def score(
    dataset: Any,
    model: Any,
    *,
    columns: Sequence[str] | None = None,
    name: str = "log_prob",
    num_gpus: float = 0.0,
    concurrency: int | None = None,
) -> Any:
    """A Ray data set with a further column: each row's log-density, or whatever else ``score_samples`` of a model is.

    Actors get the model's weights and rows, and make its keys once. As many as CPUs would leave none for the tasks that read
    the data set, which then waits for ever: there is always one CPU for these.

    Arguments:
        dataset: of :mod:`ray.data`.
        model: a fitted ``DiscoDensity`` or ``DiscoOutlierDetector``, or an estimate of ``DiScoFormer.condition``.
        columns: the variables, in the order in which the model has them; by default all, or those that the model names.
        name: of the new column.
        num_gpus: of each actor, which then works on CUDA.
        concurrency: how many actors; by default as many as there is room for.

    Raises:
        ImportError: if Ray is not installed.
        TypeError, ValueError: if the model or the data set is none, it has no such columns, or there is no room for the actors.

    Example:
        >>> scored = score(dataset, density, concurrency=2)  # doctest: +SKIP
        >>> scored.write_parquet("scored")  # doctest: +SKIP
    """
    check_scores(model)
    check_not_negative("num_gpus", num_gpus)
    if concurrency is not None:
        check_count("concurrency", concurrency, 1)
    ray = connect()
    workers = check_workers(ray, concurrency, num_gpus, spare=1)
    _check_dataset(dataset)
    names = variables_of(model, columns, dataset.schema().names, name)
    alone = int(ray.cluster_resources().get("CPU", 1)) == 1
    return dataset.map_batches(
        _Actor,
        fn_constructor_args=(ray.put(packed(model)), names, name, num_gpus),
        batch_size=CHUNK,
        num_cpus=0 if alone else 1,
        num_gpus=num_gpus or None,
        concurrency=workers,
    )


class _Actor:
    """An actor that holds a model."""

    def __init__(self, sent: Any, names: list[str], name: str, num_gpus: float) -> None:
        ray = optional("ray", "ray")
        sent = ray.get(sent) if isinstance(sent, ray.ObjectRef) else sent
        self._scorer, self._name = Scorer(sent, names, device_for(num_gpus)), name

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return batch | {self._name: self._scorer(batch)}


def _columns(dataset: Any, columns: Sequence[str] | None, others: Sequence[str]) -> list[str]:
    """Names of the variables of a data set.

    Raises:
        TypeError, ValueError: if it is none, or has no such columns.
    """
    _check_dataset(dataset)
    known = list(dataset.schema().names)
    wanted = [name for name in known if name not in others] if columns is None else list(columns)
    if lacking := [name for name in [*wanted, *others] if name not in known]:
        raise ValueError(f"the data set has no column {', '.join(lacking)}: there are {', '.join(known)}")
    return wanted


def _check_dataset(dataset: Any) -> None:
    if not hasattr(dataset, "map_batches"):
        raise TypeError(f"dataset must be a data set of ray.data, got {type(dataset).__name__}")


def _merged(*summaries: TableSummary) -> TableSummary:
    first, *others = summaries
    for other in others:
        first.merge(other)
    return first
