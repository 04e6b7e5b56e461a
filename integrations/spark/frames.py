"""Data frames of Spark, and what a fitted estimate says of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from disco_samplers.estimate import Scorer, check_scores, packed, variables_of
from disco_samplers.extras import optional


def score(frame: Any, model: Any, *, columns: Sequence[str] | None = None, name: str = "log_prob") -> Any:
    """A data frame with a further column: each row's log-density, or whatever else ``score_samples`` of a model is.

    By ``mapInPandas``: executors get the model's weights and rows by a broadcast, and a worker makes its keys once. Nothing is
    computed before the frame is asked for. Every executor needs disco-samplers, in the version that is here.

    Arguments:
        frame: of :mod:`pyspark.sql`.
        model: a fitted ``DiscoDensity`` or ``DiscoOutlierDetector``, or an estimate of ``DiScoFormer.condition``.
        columns: the variables, in the order in which the model has them; by default those that it names, or all.
        name: of the new column.

    Raises:
        ImportError: if Spark is not installed.
        TypeError, ValueError: if the model or the frame is none, it has no such columns, or a variable is no number.

    Example:
        >>> scored = score(frame, density)  # doctest: +SKIP
        >>> scored.write.parquet("scored")  # doctest: +SKIP
    """
    types = optional("pyspark.sql.types", "spark")
    if not hasattr(frame, "mapInPandas"):
        raise TypeError(f"frame must be a data frame of pyspark.sql, got {type(frame).__name__}")
    check_scores(model)
    names = variables_of(model, columns, frame.columns, name)
    for field in frame.schema.fields:
        if field.name in names and not isinstance(field.dataType, types.NumericType):
            raise ValueError(
                f"column {field.name} holds no numbers but {field.dataType.simpleString()}: name the variables by columns="
            )
    sent = frame.sparkSession.sparkContext.broadcast(packed(model))
    schema = types.StructType([*frame.schema.fields, types.StructField(name, types.DoubleType())])

    def scored(batches: Iterator[Any]) -> Iterator[Any]:
        answer = _scorer(sent.value, tuple(names))
        for batch in batches:
            yield batch.assign(**{name: answer(batch)})

    return frame.mapInPandas(scored, schema)


@lru_cache(maxsize=1)
def _scorer(sent: bytes, names: tuple[str, ...]) -> Scorer:
    """What a worker holds from one part of a frame to the next."""
    return Scorer(sent, names)
