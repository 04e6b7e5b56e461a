"""Files: tables of draws by format, weights and checkpoints, each written whole or not at all."""

from disco_samplers.files.checkpoints import load_checkpoint, save_checkpoint
from disco_samplers.files.formats import read_table, writable, write_draws, write_table
from disco_samplers.files.netcdf import to_arviz
from disco_samplers.files.table import Table
from disco_samplers.files.weights import load_weights, save_weights
from disco_samplers.files.whole import replacing, write

__all__ = [
    "Table",
    "load_checkpoint",
    "load_weights",
    "read_table",
    "replacing",
    "save_checkpoint",
    "save_weights",
    "to_arviz",
    "writable",
    "write",
    "write_draws",
    "write_table",
]
