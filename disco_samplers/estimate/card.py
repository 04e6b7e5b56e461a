"""The model card that goes with saved weights: what they are, their limits and their paper."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub import ModelCard
from torch import Tensor

from disco_samplers.estimate.rows import MAX_DIM, MAX_SAMPLES
from disco_samplers.estimators import SHIPPED, WEIGHTS_NAME, weights_path
from disco_samplers.files import load_weights
from disco_samplers.model import DiScoFormerConfig

PAPER = "https://arxiv.org/abs/2511.05924"

CARD = """\
---
{{ card_data }}
---
# DiScoFormer

One transformer that estimates density and score of any set of samples, in any dimension, without training on them:
{{ parameters }} parameters, {{ layers }} blocks, {{ heads }} heads, symmetry "{{ symmetry }}".

```python
from disco_samplers import DiScoFormer

estimate = DiScoFormer.from_pretrained("OWNER/MODEL").condition(samples)  # (n, d), numpy or torch
log_density, score = estimate.log_prob_and_score(points)                  # (m,), (m, d)
```

It needs `pip install disco-samplers`. These weights are none of those in the package ({{ shipped }}), whose cards have figures;
those of these weights are for their makers to measure and to write here.

**Equivariance.** {{ equivariance }}

**Limits.** At most {{ most_rows }} rows and {{ most_columns }} columns; with fewer than about 4 rows a column, estimates are
rough. The density is not normalised: exp(log_prob) integrates to about one only (`estimate.normalized()` corrects it in up to
20 dimensions).

**Paper.** Ilin, Sushko, Krishna, *DiScoFormer: Plug-In Density and Score Estimation with Transformers*, {{ paper_url }}
"""

_EQUIVARIANCE = {
    "axes": "Exact to shifts, scales, signs and order of the columns; a rotation of the data changes the estimate.",
    "rotations": "To every affine map of the data; exact from 64 rows a column on.",
}


def shipped_card(state: dict[str, Tensor], config: DiScoFormerConfig) -> ModelCard | None:
    """The card of the weights of this package that these are, if they are some."""
    for name in SHIPPED:
        weights, values = load_weights(weights_path(name) / WEIGHTS_NAME)
        same = DiScoFormerConfig.from_dict(values) == config  # which fills in what older files do not say
        if same and all(torch.equal(state[key].to(value), value) for key, value in weights.items()):
            card: ModelCard = ModelCard.load(weights_path(name) / "README.md")
            return card
    return None


def facts(state: dict[str, Tensor], config: DiScoFormerConfig) -> dict[str, Any]:
    """What the template names."""
    return {
        "parameters": f"{sum(value.numel() for value in state.values()):,}",
        "layers": config.layers,
        "heads": config.heads,
        "symmetry": config.symmetry,
        "shipped": ", ".join(SHIPPED),
        "equivariance": _EQUIVARIANCE[config.symmetry],
        "most_rows": MAX_SAMPLES,
        "most_columns": MAX_DIM,
    }
