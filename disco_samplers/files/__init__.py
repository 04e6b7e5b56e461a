"""Files: draws and tables by format, weights and checkpoints, each written whole or not at all."""

from disco_samplers.files.checkpoints import load_checkpoint, save_checkpoint
from disco_samplers.files.netcdf import to_arviz
from disco_samplers.files.npy import AXES
from disco_samplers.files.reading import read, read_table
from disco_samplers.files.table import Table
from disco_samplers.files.weights import load_weights, save_weights
from disco_samplers.files.whole import replacing, write
from disco_samplers.files.writing import save, writable, write_draws, write_table

__all__ = [
    "AXES",
    "Table",
    "load_checkpoint",
    "load_weights",
    "read",
    "read_table",
    "replacing",
    "save",
    "save_checkpoint",
    "save_weights",
    "to_arviz",
    "writable",
    "write",
    "write_draws",
    "write_table",
]
