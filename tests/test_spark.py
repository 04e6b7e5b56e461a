"""Spark: the answers of one process, by the workers of a local session."""

from __future__ import annotations

import os
import shutil
import sys
import warnings

import numpy as np
import pytest
from disco_samplers.integrations.spark import score

from disco_samplers import DiScoFormer, extras
from disco_samplers.estimate import Scorer, packed


def test_without_spark(monkeypatch):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(ImportError, match=r"pyspark is needed for this: pip install 'disco-samplers\[spark\]'"):
        score(None, None)


def test_what_workers_hold():
    """A model that was sent answers as it did, whatever the batch's order of columns."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    estimate = DiScoFormer.from_pretrained().condition(x)
    answers = Scorer(packed(estimate), ["a", "b"])({"b": x[:5, 1], "c": x[:5, 0], "a": x[:5, 0]})
    np.testing.assert_allclose(answers, estimate.log_prob(x[:5]), atol=1e-5)


@pytest.fixture(scope="module")
def session():
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    pytest.importorskip("pandas")
    if shutil.which("java") is None:
        pytest.skip("no Java")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions that Spark does not know yet
        from pyspark.sql import SparkSession

        settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.host": "127.0.0.1"}
        builder = SparkSession.builder.master("local[2]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        found = builder.getOrCreate()
        found.sparkContext.setLogLevel("OFF")
    yield found
    found.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"
)
def test_frames(session):
    """In whatever parts: columns are kept, and rows have the answers of the model here."""
    pd = pytest.importorskip("pandas")
    density_of = pytest.importorskip("disco_samplers.integrations.sklearn").DiscoDensity
    x = np.random.default_rng(0).normal(size=(600, 2))
    table = pd.DataFrame({"number": np.arange(600), "b": x[:, 1], "a": x[:, 0], "name": "some"})
    frame = session.createDataFrame(table).repartition(3)
    density = density_of().fit(table[["a", "b"]])
    scored = score(frame, density)
    assert scored.columns == ["number", "b", "a", "name", "log_prob"]
    found = scored.toPandas().sort_values("number")
    np.testing.assert_allclose(found["log_prob"], density.score_samples(table[["a", "b"]]), atol=1e-5)
    estimate = DiScoFormer.from_pretrained().condition(x[:50])
    found = score(frame, estimate, columns=["a", "b"], name="own").toPandas().sort_values("number")
    np.testing.assert_allclose(found["own"], estimate.log_prob(x), atol=1e-5)
    with pytest.raises(ValueError, match="the data set has no column c: there are number, b, a, name"):
        score(frame, density, columns=["c"])
    with pytest.raises(ValueError, match="the data set has a column a already"):
        score(frame, density, name="a")
    with pytest.raises(ValueError, match="column name holds no numbers but string: name the variables by columns="):
        score(frame, estimate)
    with pytest.raises(TypeError, match=r"frame must be a data frame of pyspark\.sql, got DataFrame"):
        score(table, density)
    with pytest.raises(TypeError, match="model must be a fitted density or detector, or an estimate, got int"):
        score(frame, 3)
