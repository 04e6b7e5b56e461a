"""The summary of one part of a table."""

from __future__ import annotations

from disco_samplers.files import BLOCK, Columns, Part, read_blocks
from disco_samplers.summaries.reservoir import RESERVOIR
from disco_samplers.summaries.summary import TableSummary


def summarise_part(
    part: Part, columns: Columns, *, size: int = RESERVOIR, seed: int = 0, header: bool | None = None
) -> TableSummary:
    """What is kept of a part, whose rows are known by its number; those of all parts merge.

    Raises:
        PartError: if the part cannot be read.
    """
    summary = TableSummary(size=size, seed=seed)
    for block in read_blocks(part, columns, header=header):
        summary.partial_fit(block.values, block.weights, part=part.number, first=block.number * BLOCK)
    return summary
