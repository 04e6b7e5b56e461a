"""What is kept of tables larger than memory: summaries that grow row by row and merge across processes."""

from disco_samplers.summaries.parts import summarise_part
from disco_samplers.summaries.quantiles import QuantileSketch
from disco_samplers.summaries.reservoir import RESERVOIR, Reservoir
from disco_samplers.summaries.summary import TableSummary

__all__ = ["RESERVOIR", "QuantileSketch", "Reservoir", "TableSummary", "summarise_part"]
