"""Models that are sent to other processes and answer there."""

import numpy as np
import pytest

from disco_samplers.estimate import Scorer, packed

pandas = pytest.importorskip("pandas")


def test_a_model_of_named_columns_answers_as_here_without_a_warning():
    from disco_samplers.integrations.sklearn import DiscoDensity

    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=["a", "b", "c"])
    model = DiscoDensity(random_state=0).fit(frame)
    batch = {name: frame[name].to_numpy() for name in ("c", "a", "b")}
    np.testing.assert_allclose(Scorer(packed(model), ["a", "b", "c"])(batch), model.score_samples(frame))
