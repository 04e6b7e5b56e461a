"""DiScoFormer as scikit-learn and PyOD users expect a density estimator, a regressor and an outlier detector to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disco_samplers.extras import optional

optional("sklearn", "sklearn")

from .density import DiscoDensity  # noqa: E402
from .far import FarFeaturesWarning  # noqa: E402
from .missing import ManyMissingWarning  # noqa: E402
from .outlier import DiscoOutlierDetector  # noqa: E402
from .regressor import DiscoRegressor  # noqa: E402

if TYPE_CHECKING:
    from .pyod import DiscoOD as DiscoOD

__all__ = ["DiscoDensity", "DiscoOutlierDetector", "DiscoRegressor", "FarFeaturesWarning", "ManyMissingWarning"]


def __getattr__(name: str) -> Any:
    if name != "DiscoOD":  # PyOD is an extra of its own
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .pyod import DiscoOD

    return DiscoOD
