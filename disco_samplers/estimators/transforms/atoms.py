"""Atoms: room for values that many rows share, so that they do not stand in their columns as spikes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from disco_samplers.estimators.transforms.base import ClosedForm
from disco_samplers.estimators.transforms.quantiles import quantile

_LEAST = 10
"""Fewest rows that make an atom."""

_SHARE = 0.05
"""Least share of a column's rows that makes an atom."""

_TIMES = 6.0
"""How many times as often as the values about it an atom comes."""


class AtomTransform(ClosedForm):
    r"""The rising map, column by column, that widens the cell of each atom and moves what lies beyond it aside.

    .. math:: z = x + \sum_a (w_a - h) \,\operatorname{clamp}\big((x - a) / h, -\tfrac12, \tfrac12\big)

    An atom a is a value that many rows of a column share while those about it differ: no rain, the limit of detection, full
    marks. Its cell, as wide as the step h in which the column is recorded, becomes :math:`w_a` wide, as the column's other
    rows spread: their standard deviation, or their interquartile range where tails make that less. Rows drawn uniformly in
    cells then have a density without spikes; elsewhere the map has slope one.

    Arguments:
        places: a, (k, d).
        cells: h, (d,), positive in columns that have atoms.
        widths: w, (k, d), at least h; h where a column has no further atom.

    References:
        Cells drawn uniformly: Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, ICLR 2016.

    Example:
        >>> rain = torch.cat([torch.zeros(60, 1), torch.linspace(1, 9, 41)[:, None]]).double()
        >>> atoms = AtomTransform.fit(rain, torch.tensor([0.1]).double())
        >>> atoms.places, atoms(torch.tensor([[0.0], [1.0]]).double()).diff(dim=0) > 2
        (tensor([[0.]], dtype=torch.float64), tensor([[True]]))
    """

    domain = constraints.real
    codomain = constraints.real

    def __init__(self, places: Tensor, cells: Tensor, widths: Tensor) -> None:
        super().__init__()
        self.places, self.cells, self.widths = places, cells, widths

    @classmethod
    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def fit(cls, samples: Tensor, cells: Tensor, counts: Tensor | None = None) -> AtomTransform:
        """Finds the atoms of samples (n, d), NaN where a cell is missing, that are recorded in steps (d,); 0 for none.

        Arguments:
            samples: (n, d), as recorded, not drawn in their cells.
            cells: the steps, (d,).
            counts: what each row is worth, (n,), in any unit.
        """
        x = samples.detach().double()
        worth = x.new_ones(len(x)) if counts is None else counts.double()
        # Kish's effective size, whatever weights are in.
        worth = worth * (worth.sum() / worth.square().sum())
        found = [_atoms(column, float(cell), worth) for column, cell in zip(x.T, cells, strict=True)]
        most = max(len(places) for places, _ in found)
        places, widths = x.new_zeros(most, len(found)), cells.to(x).expand(most, -1).clone()
        for k, (place, width) in enumerate(found):
            places[: len(place), k], widths[: len(place), k] = place, width
        return cls(places, cells.to(x), widths)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the slope (..., d) at points x (..., d)."""
        return self._slope(x).log()

    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        slope = self._slope(x)
        return slope.log().sum(-1), slope * score

    def _call(self, x: Tensor) -> Tensor:
        z = x.double()
        return z + self._moved(z, self.places, self.cells.expand_as(self.places))

    def _inverse(self, y: Tensor) -> Tensor:
        images = self.places + self._moved(self.places, self.places, self.cells.expand_as(self.places))
        z = y.double()
        return z - self._moved(z, images, self.widths)

    def _moved(self, x: Tensor, places: Tensor, cells: Tensor) -> Tensor:
        """How far points (..., d) are moved, by where the atoms lie and how wide their cells are."""
        total = torch.zeros_like(x)
        for place, cell, extra in zip(places, cells, self.widths - self.cells, strict=True):
            total = total + extra * ((x - place) / torch.where(extra > 0, cell, 1.0)).clamp(-0.5, 0.5)
        return total

    def _slope(self, x: Tensor) -> Tensor:
        slope = torch.ones_like(x, dtype=torch.float64)
        for place, width in zip(self.places, self.widths, strict=True):
            inside = ((x.double() - place).abs() < self.cells / 2) & (width > self.cells)
            slope = torch.where(inside, width / self.cells, slope)
        return slope


def _atoms(column: Tensor, cell: float, worth: Tensor) -> tuple[Tensor, Tensor]:
    """Places (k,) of a column's atoms and how wide their cells become."""
    there = ~column.isnan()
    column, worth = column[there], worth[there]
    values, own = column.unique(return_inverse=True)
    rows = worth.new_zeros(len(values)).index_add(0, own, worth)
    shared = (rows >= _LEAST) & (rows >= _SHARE * rows.sum())
    if cell <= 0 or not shared.any() or len(values) < 2:
        return values[:0], values[:0]
    rest = ~shared[own]
    scale = _spread(column[rest], worth[rest]) if float(worth[rest].sum()) >= 0.02 * float(rows.sum()) else 0.0
    scale = scale if scale > 0 else _spread(column, worth)
    if cell >= scale / 2:
        return values[:0], values[:0]
    place = values[shared]
    # What a smooth law would put into the cell, by the rows within half a standard deviation to either side.
    near = torch.stack([(worth * ((column - a).abs() <= scale / 2)).sum() for a in place]) - rows[shared]
    place = place[rows[shared] > _TIMES * near * cell / scale]
    return place, torch.full_like(place, scale)


def _spread(column: Tensor, worth: Tensor) -> float:
    """Standard deviation of weighted values, or their interquartile range where that is less and not zero."""
    share = worth / worth.sum()
    deviation = float((share @ (column - share @ column).square()).sqrt())
    lower, upper = quantile(column[:, None], worth, column.new_tensor([0.25, 0.75]))[:, 0]
    return min(deviation, float(upper - lower)) if upper > lower else deviation
