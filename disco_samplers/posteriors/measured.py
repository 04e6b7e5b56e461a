"""A number with its standard error."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number and its standard error.

    Example:
        >>> Measured("log Bayes factor", 2.0, 0.04, "nats")
        log Bayes factor = 2.000 ± 0.040 nats
    """

    name: str
    value: float
    standard_error: float
    unit: str

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"{self.name} = {self.value:.3f} ± {self.standard_error:.3f} {self.unit}"
