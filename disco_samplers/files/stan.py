"""CSV files as CmdStan writes them.

Source: CmdStan User's Guide, *Stan CSV File Format* (https://mc-stan.org/docs/cmdstan-guide/stan_csv_apdx.html).
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from disco_samplers.files.columns import table_of
from disco_samplers.files.table import Table
from disco_samplers.files.text import Sheet

_LOG_PROB = "lp__"
_ADAPTED = "Adaptation terminated"


def is_stan(sheet: Sheet) -> bool:
    """Whether a sheet is one of Stan's."""
    return sheet.names is not None and _LOG_PROB in sheet.columns


def stan_table(sheet: Sheet) -> Table:
    """The draws after warm-up; theta.1.2 is called theta[1,2], and columns whose names end in __ are kept apart.

    Where there is an index, R's posterior or cmdstanpy put the chains together, and names are theirs. ``lp__`` is the
    log-density of the unconstrained parameters, their Jacobian included.
    """
    said = "\n".join(sheet.comments.values())
    method = (re.findall(r"^method\s*=\s*(\w+)", said, re.MULTILINE) or ["sample"])[0]
    if method in ("optimize", "diagnose"):
        raise ValueError(f"{sheet.path} is of Stan's method {method}: it holds no draws")
    # Warm-up that was saved stands before the line that says what it came to. Of ADVI the first row is the mean.
    adapted = max((line for line, text in sheet.comments.items() if text.startswith(_ADAPTED)), default=0)
    kept = sheet.lines > adapted if method != "variational" else np.arange(len(sheet.lines)) > 0
    labels = {name: column[kept] for name, column in sheet.labels.items()}
    table = table_of(np.stack([column[kept] for column in sheet.columns.values()], 1), list(sheet.columns), labels)
    stats = {name: column for name, column in zip(table.names, table.values.T, strict=True) if name.endswith("__")}
    variables = [name for name in table.names if name not in stats]
    together = table.index.keys() - labels.keys()
    sampled = method == "sample"
    return dataclasses.replace(
        table,
        values=np.ascontiguousarray(table.values[:, [name not in stats for name in table.names]]),
        names=variables if together else [_indexed(name) for name in variables],
        chained=sampled,
        log_prob=stats[_LOG_PROB] if sampled else None,
        stats=table.stats | stats,
        where={"line": sheet.lines[kept]},
    )


def _indexed(name: str) -> str:
    base, *indices = re.split(r"[.:]", name)
    return f"{base}[{','.join(indices)}]" if indices else name
