"""What the page shows: draws in, figures and tables out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers import DiScoFormer, Draws, files, pictures
from disco_samplers.draws import periods_of
from disco_samplers.estimators import DEFAULTS
from disco_samplers.extras import optional
from disco_samplers.samplers import LangevinSampler, SamplerResult, summarise

MOST_COLUMNS = 12
"""Columns of one analysis; more would take minutes."""

MOST_ROWS = 20_000
"""Rows of one analysis; of more a random part is taken, and the page says so."""

_SHOWN = 25

Table = tuple[list[str], list[list[Any]]]
"""Header and rows."""


def load(path: str) -> Draws:
    """The draws of a file.

    Raises:
        ValueError: if the file can't be read as draws, is empty, or holds missing values.
    """
    return files.read(path)


def chosen(draws: Draws, columns: Sequence[str]) -> Draws:
    """The draws of some columns, and at most so many that an answer takes seconds.

    Raises:
        ValueError: if no column, an unknown one or too many are chosen.
    """
    if not columns:
        raise ValueError("choose at least one column")
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"choose at most {MOST_COLUMNS} columns, {len(columns)} are chosen")
    some = draws.columns(list(columns))
    return some.resample(MOST_ROWS) if len(some) > MOST_ROWS else some


def summary(draws: Draws | SamplerResult) -> Table:
    """Mean, spread and quantiles of each column, with ESS and R-hat where the draws are of chains."""
    if isinstance(draws, SamplerResult):
        table = draws.summary()
    else:
        draws = _of_equal_weight(draws)
        x = np.asarray(draws.values, dtype=float).reshape(draws.num_chains or 1, -1, draws.dim)
        table = summarise(x, draws.names, independent=draws.num_chains is None, periods=periods_of(draws.support))
    rows = [[name, *(_cell(kind, column[i]) for kind, column in table.shown.items())] for i, name in enumerate(table.names)]
    return ["column", *table.shown], rows


def _cell(kind: str, value: float) -> str:
    """A number of the summary; a dash where it means nothing."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f}" if kind == "r_hat" else f"{value:.0f}" if kind.startswith("ess") else f"{value:.4g}"


def corner(draws: Draws, new: SamplerResult | None = None) -> Any:
    """A figure of every two columns."""
    x = np.asarray(_of_equal_weight(draws).values, dtype=float)
    if new is None:
        return pictures.plot_pairs(x[None], draws.names, label="draws")
    return pictures.plot_pairs(new.numpy(), draws.names, reference=x)


def _of_equal_weight(draws: Draws) -> Draws:
    """The same draws if they have no weights, else as many of equal weight as these are worth."""
    return draws if draws.weights is None else draws.resample(seed=0)


def density(draws: Draws, columns: Sequence[str]) -> Any:
    """A figure of log-density and score of one or two columns, estimated from these columns alone."""
    return DiScoFormer.from_pretrained().condition(draws.columns(list(columns))).plot()


def new_draws(draws: Draws, count: int, seed: int) -> SamplerResult:
    """New draws from the estimated density, of four chains."""
    estimate = DiScoFormer.from_pretrained(DEFAULTS["posterior"]).condition(draws)
    sampler = LangevinSampler(score=estimate)
    return sampler.run(-(-count // 4), num_chains=4, seed=seed, names=draws.names, progress=False)


def unusual(draws: Draws) -> Table:
    """The rows of lowest estimated density, each judged by rows that it is not among."""
    kind = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoOutlierDetector
    x = np.asarray(draws.values, dtype=float)
    weights = None if draws.weights is None else np.asarray(draws.weights)
    scores = -kind(contamination=0.05, support=draws.support).fit(x, sample_weight=weights).training_scores_
    order = np.argsort(-scores)[:_SHOWN]
    return ["row", "anomaly score (nats)", *draws.names], [
        [int(i), f"{scores[i]:.2f}", *(f"{value:.5g}" for value in x[i])] for i in order
    ]


def code(name: str, columns: Sequence[str], pair: Sequence[str], count: int, seed: int) -> str:
    """The Python that makes what the page shows."""
    return f"""import disco_samplers as ds

draws = ds.read({name!r}).columns({list(columns)!r})
print(draws)

estimate = ds.DiScoFormer.from_pretrained().condition(draws.columns({list(pair)!r}))
estimate.plot(path="density.png")

posterior = ds.DiScoFormer.from_pretrained({DEFAULTS["posterior"]!r}).condition(draws)
result = ds.LangevinSampler(score=posterior).run({-(-count // 4)}, num_chains=4, seed={seed}, names=draws.names)
print(result.summary())
result.save("new_draws.csv")
"""


def write_csv(path: str, table: Table) -> str:
    """A table as a file; gives back its path."""
    header, rows = table
    columns = {name: np.asarray([row[i] for row in rows], dtype=float) for i, name in enumerate(header)}
    files.write_table(path, columns)
    return path
