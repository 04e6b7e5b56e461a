"""Files: draws and tables by format, weights and checkpoints, each written whole or not at all."""

from disco_samplers.files.checkpoints import load_checkpoint, save_checkpoint
from disco_samplers.files.netcdf import to_arviz
from disco_samplers.files.npy import AXES
from disco_samplers.files.parts import (
    BLOCK,
    Block,
    Columns,
    Part,
    PartError,
    column_names,
    columns_of,
    count_rows,
    find_parts,
    read_blocks,
    split_part,
)
from disco_samplers.files.reading import read, read_table
from disco_samplers.files.scored import CHUNK, Totals, score_part, scored_blocks, totals_of
from disco_samplers.files.table import Table
from disco_samplers.files.weights import load_weights, save_weights
from disco_samplers.files.whole import check_place, replacing, write
from disco_samplers.files.writing import save, writable, write_draws, write_table

__all__ = [
    "AXES",
    "BLOCK",
    "CHUNK",
    "Block",
    "Columns",
    "Part",
    "PartError",
    "Table",
    "Totals",
    "check_place",
    "column_names",
    "columns_of",
    "count_rows",
    "find_parts",
    "load_checkpoint",
    "load_weights",
    "read",
    "read_blocks",
    "read_table",
    "replacing",
    "save",
    "save_checkpoint",
    "save_weights",
    "score_part",
    "scored_blocks",
    "split_part",
    "to_arviz",
    "totals_of",
    "writable",
    "write",
    "write_draws",
    "write_table",
]
