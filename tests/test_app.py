"""The local page: what it shows, and the page itself, driven by its own client."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if not find_spec("gradio"):  # to import it takes seconds, for the slow tests only
    pytest.skip("needs gradio", allow_module_level=True)
from disco_samplers.app import analysis


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two chains of three columns, the last of which is far out in row 7."""
    x = np.random.default_rng(0).normal(size=(120, 3))
    x[7, 2] = 30
    file = tmp_path_factory.mktemp("app") / "chains.csv"
    index = np.c_[np.repeat([0, 1], 60), np.tile(np.arange(60), 2)]
    np.savetxt(file, np.c_[index, x], delimiter=",", header="chain,draw,a,b,c", comments="")
    return str(file)


def test_a_file_becomes_draws_of_chains(path):
    draws = analysis.load(path)
    assert draws.names == ["a", "b", "c"]
    assert draws.num_chains == 2
    header, rows = analysis.summary(draws.columns(["b"]))
    assert header[0] == "column"
    assert float(rows[0][1]) == pytest.approx(float(draws.values[:, 1].mean()), abs=1e-3)


@pytest.mark.parametrize(("columns", "message"), [([], "at least one column"), ([f"x{i}" for i in range(13)], "at most 12")])
def test_columns_are_limited(columns, message):
    x = np.random.default_rng(0).normal(size=(50, 13))
    draws = analysis.Draws(x, names=[f"x{i}" for i in range(13)])
    with pytest.raises(ValueError, match=message):
        analysis.chosen(draws, columns)


def test_the_unusual_row_comes_first(path):
    header, rows = analysis.unusual(analysis.load(path))
    assert rows[0][0] == 7
    assert header == ["row", "anomaly score (nats)", "a", "b", "c"]


def test_weights_count():
    """Of rows around 0 and 9, those around 9 of weight zero: the table and the picture are of the others."""
    x = np.random.default_rng(0).normal(size=(200, 2)) + 9 * (np.arange(200) >= 100)[:, None]
    draws = analysis.Draws(x, weights=np.arange(200) < 100)
    _, rows = analysis.summary(draws)
    assert float(rows[0][1]) == pytest.approx(x[:100, 0].mean(), abs=1e-3)
    assert float(rows[0][5]) < 5
    assert analysis.corner(draws).axes[0].get_xlim()[1] < 5
    _, rows = analysis.unusual(draws)
    assert {row[0] for row in rows[:10]} <= set(range(100, 200))


def test_unusual_rows_heed_supports():
    """Angles about the seam are not unusual, whichever side of it they are on; one half a turn away is."""
    angle = np.abs(np.random.default_rng(0).normal(size=200)) * 0.2
    angle[::40] *= -1
    angle[5] = np.pi
    draws = analysis.Draws((angle % (2 * np.pi))[:, None], names=["t"], support=["circular"])
    assert analysis.unusual(draws)[1][0][0] == 5


def test_the_code_shown_does_what_the_page_does(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = analysis.code(path, ["a", "b"], ["a"], 8, 0)
    exec(compile(text.replace("seed=0", "seed=0, num_warmup=4, progress=False"), "code", "exec"), {})
    assert (tmp_path / "density.png").stat().st_size > 0
    assert len((tmp_path / "new_draws.csv").read_text().splitlines()) == 9


@pytest.fixture
def page():
    """The address of a page that the command serves."""
    command = [sys.executable, "-m", "disco_samplers.cli", "app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "the page is at" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield lines[-1].split()[4]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.slow  # starts the command, and two clients
# Gradio's client leaves its sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_answers_two_users_and_says_what_is_wrong(page, path, tmp_path):
    client = pytest.importorskip("gradio_client")
    assert page.startswith("http://127.0.0.1:")
    one, two = (client.Client(page, verbose=False, analytics_enabled=False) for _ in range(2))
    assert "2 chains" in one.predict(client.handle_file(path), api_name="/opened")[0]
    # The other user has dropped nothing, and sees nothing of the first one's.
    with pytest.raises(Exception, match="drop a table"):
        two.predict([], api_name="/found")
    table, file = one.predict(["a", "c"], api_name="/found")
    assert table["data"][0][0] == 7
    assert "anomaly score" in Path(file["value"] if isinstance(file, dict) else file).read_text()
    for text, message in (("", "empty"), ("no numbers here\nat all\n", "bad.csv")):
        bad = tmp_path / "bad.csv"
        bad.write_text(text)
        with pytest.raises(Exception, match=message):
            two.predict(client.handle_file(str(bad)), api_name="/opened")
