"""Every picture is drawn, in one, two and five dimensions, without pyplot."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from disco_samplers import AdaptationReport, Draws
from disco_samplers.arrays import default_names
from disco_samplers.pictures import ORANGE, draw_histogram, edges, plot_distribution, plot_surprises, styled
from disco_samplers.pictures.style import STYLE
from disco_samplers.samplers import SamplerResult

matplotlib = pytest.importorskip("matplotlib")

REPORT = AdaptationReport(losses=[0.5, 0.3, 0.25], criterion=[1.0, 0.8, 0.85, 0.9], chosen=1, seconds=0.1)
TRIED = AdaptationReport(
    {("parts", 0.0): 0.7, ("mixture", 0.0): 0.3}, tried={("plain", 0.0): 2.0, ("parts", 0.0): 1.9, ("radius", 0.1): 9.0}
)


def data(n, d):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0)) @ torch.ones(d, d).tril() + 3


def result(d, chains=4, draws=50):
    values = data(chains * draws, d).view(chains, draws, d)
    return SamplerResult(values, torch.ones(chains), torch.zeros(chains, draws, dtype=torch.bool), 0.1, "ula", default_names(d))


def is_a_picture(path):
    image = matplotlib.image.imread(path)
    return path.stat().st_size > 5000 and min(image.shape[:2]) > 200 and image[..., :3].std() > 0.02


@pytest.mark.parametrize("d", [1, 2, 5])
def test_estimate(d, disco, tmp_path):
    path = tmp_path / "estimate.png"
    figure = disco.condition(data(100, d)).plot(path=str(path))
    assert isinstance(figure, matplotlib.figure.Figure)
    assert len(figure.axes) == 2
    assert is_a_picture(path)


@pytest.mark.parametrize("dims", [(0, 1), (3, 1), (4, 0)])
def test_planes(dims, disco, tmp_path):
    figure = disco.condition(data(60, 5)).plot(dims, str(tmp_path / "p.png"))
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (f"x{dims[0]}", f"x{dims[1]}")
    assert is_a_picture(tmp_path / "p.png")


@pytest.mark.filterwarnings("ignore::disco_samplers.draws.UnmixedWarning")
def test_samples_of_all_chains_are_shown(disco):
    chains = torch.arange(4.0)[:, None, None] + 0.1 * torch.randn(4, 450, 2, generator=torch.Generator().manual_seed(0))
    axis = disco.condition(Draws(chains), effective_size=1800).plot().axes[0]
    assert axis.get_title().startswith("1,500 of 1,800 samples")
    repeated = disco.condition(Draws(chains.repeat(1, 2, 1)), effective_size=900).plot().axes[0]
    assert repeated.get_title().startswith("1,500 of 1,800 distinct samples")
    shown = axis.collections[1].get_offsets().data[:, 0]
    assert len(shown) == 1500
    assert np.bincount(shown.round().astype(int)).min() > 300  # 375 of each chain, which lie a standard deviation apart


@pytest.mark.parametrize("samples", [np.ones((40, 3)) * [[0.0, 1.0, 2.0]], data(40, 3).double().numpy(), data(40, 3) * 1e4])
def test_awkward_samples(samples, disco, tmp_path):
    samples[:, 0] = data(40, 1)[:, 0]
    disco.condition(samples).plot(path=str(tmp_path / "p.png"))
    assert is_a_picture(tmp_path / "p.png")


@pytest.mark.parametrize(("d", "reference"), [(1, None), (1, "numpy"), (2, None), (2, "torch"), (14, "numpy")])
def test_draws(d, reference, tmp_path):
    old = {None: None, "numpy": data(70, d).double().numpy(), "torch": data(70, d).requires_grad_()}[reference]
    path = tmp_path / "draws.png"
    figure = result(d).plot(str(path), reference=old)
    assert len(figure.axes) == 2 * min(d, 12)
    assert is_a_picture(path)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == (["new draws"] if reference is None else ["input", "new draws"])


def test_draws_that_do_not_vary(tmp_path):
    stuck = SamplerResult(torch.ones(1, 1, 2), torch.ones(1), torch.zeros(1, 1, dtype=torch.bool), 0.1, "ula", ["a", "b"])
    stuck.plot(str(tmp_path / "p.png"))
    assert is_a_picture(tmp_path / "p.png")


@pytest.mark.parametrize("report", [REPORT, TRIED, AdaptationReport()])
def test_adaptation(report, tmp_path):
    report.plot(str(tmp_path / "a.png"))
    assert is_a_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_formats(suffix, tmp_path):
    path = tmp_path / f"draws{suffix}"
    result(2).plot(str(path))
    head = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}[suffix]
    assert path.read_bytes().startswith(head)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dims", [(0, 0), (0, 2), (-1, 0), (0, 1, 1), (1,)])
def test_wrong_dims(dims, disco):
    with pytest.raises(ValueError, match="dims must be two different columns in"):
        disco.condition(data(20, 2)).plot(dims)


def test_a_batch_is_not_one_picture(disco):
    with pytest.raises(ValueError, match="plot works on one data set"):
        disco.condition(data(20, 2).view(2, 10, 2)).plot()


@pytest.mark.parametrize("reference", [np.ones((5, 3)), np.ones(5), np.full((5, 2), np.nan)])
def test_wrong_reference(reference):
    with pytest.raises(ValueError, match="reference"):
        result(2).plot(reference=reference)


@pytest.mark.parametrize("name", ["p.txt", "p", "p.PNGG"])
def test_wrong_extension(name, disco, tmp_path):
    path = str(tmp_path / name)
    estimate = disco.condition(data(20, 2))
    for call in (lambda: estimate.plot(path=path), lambda: result(2).plot(path), lambda: REPORT.plot(path)):
        with pytest.raises(ValueError, match="the extension of a picture must be one of"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_missing_matplotlib_is_named(disco, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("disco_samplers.extras.import_module", absent)
    for call in (lambda: disco.condition(data(20, 2)).plot(), lambda: result(2).plot(), REPORT.plot):
        with pytest.raises(ImportError, match=r"pip install 'disco-samplers\[plot\]'"):
            call()


@pytest.mark.slow
def test_no_pyplot_and_no_change_of_matplotlib(tmp_path):
    code = """
import sys, torch, matplotlib
settings = [name for name in matplotlib.rcParams if name != "backend"]  # asking for the backend would import pyplot
before = [matplotlib.rcParams[name] for name in settings]
from disco_samplers import AdaptationReport, DiScoFormer, LangevinSampler
x = torch.randn(30, 2)
DiScoFormer.from_pretrained().condition(x).plot(path="a.png")
LangevinSampler(score=lambda x: -x).run(5, initial=x, num_warmup=0, progress=False).plot("b.png", reference=x)
AdaptationReport(losses=[1.0], criterion=[1.0, 0.5], chosen=1).plot("c.png")
print("matplotlib.pyplot" in sys.modules, [matplotlib.rcParams[name] for name in settings] == before)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["False", "True"], done.stderr


def histogram(values, bins, **options):
    axis = matplotlib.figure.Figure().subplots()
    draw_histogram(axis, values, bins, color="k", **options)
    return axis


@pytest.mark.parametrize("total", [None, 103.0])
def test_what_lies_beyond_has_a_bar_of_its_own_with_its_count(total):
    """Nothing is lost: the bars and those beyond make up all values, as counts or as an area of one."""
    values = np.concatenate([np.linspace(0.5, 9.5, 100), [-50.0, 40.0, 1e6]])
    axis = histogram(values, np.linspace(0, 10, 11), total=total)
    inside, edges_, _ = axis.patches[0].get_data()
    beyond = [patch.get_height() for patch in axis.patches[1:]]
    assert [text.get_text() for text in axis.texts] == ["1 beyond", "2 beyond"]
    assert sum(inside) + sum(beyond) == pytest.approx(1.0 if total is None else 103.0)
    assert (edges_[0], edges_[-1]) == (0, 10)
    left, right = axis.patches[1:]
    assert left.get_x() + left.get_width() < 0
    assert right.get_x() > 10


def test_a_gaussian_has_nothing_beyond_and_a_constant_one_bar():
    x = data(20_000, 1)[:, 0].numpy()
    assert (edges(x, 50)[0] < x.min(), edges(x, 50)[-1] > x.max()) == (True, True)
    cut = edges(np.append(x, 1e6), 50)
    assert cut[-1] < 100
    assert cut[-1] > x.max()
    constant = np.ones(7)
    assert len(histogram(constant, edges(constant, 10)).patches) == 1
    assert edges(constant, 10, marks=[5.0])[-1] > 5


def test_flagged_rows_have_a_colour_of_their_own():
    values = np.concatenate([np.linspace(-3, -1, 50), [2.0, 3.0, 500.0]])
    figure = plot_distribution(values, "score (nats)", {"threshold": 0.0}, flagged=values > 0, title="flags")
    axis = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["50 rows", "3 flagged rows", "threshold"]
    assert [text.get_text() for text in axis.texts] == ["1 beyond"]
    assert axis.texts[0].get_color() == ORANGE
    figure.canvas.draw()
    said, frame = axis.texts[0].get_window_extent(), axis.get_window_extent()
    assert frame.x0 < said.x0 < said.x1 < frame.x1
    assert frame.y0 < said.y0
    assert axis.get_title() == "flags"


def test_hundreds_of_chains_are_no_smear():
    few, many = result(2, chains=3).plot(), result(2, chains=300, draws=10).plot()
    assert [len(figure.axes[1].lines) for figure in (few, many)] == [3, 8]
    assert few.axes[1].get_title() == "trace of 3 chains, one colour each"
    assert many.axes[1].get_title() == "trace of 8 of 300 chains, one colour each"
    assert len({line.get_color() for line in many.axes[1].lines}) == 8
    ranks = result(2, chains=300, draws=10).plot(kind="rank")
    assert "ranks of 8 of 300 chains" in ranks.get_suptitle()
    assert [axis.get_title() for axis in ranks.axes[:8]][::7] == ["chain 0", "chain 299"]


def test_pairs_have_a_label_on_every_row():
    figure = result(3).plot(kind="pair", reference=data(70, 3))
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["x0", "x1", "x2"]
    points = [collection.get_offsets().shape for axis in figure.axes for collection in axis.collections]
    assert set(points) == {(70, 2)}  # as many of the draws as of the reference, or these would not be seen
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reference", "new draws"]


def test_an_estimate_of_named_columns_names_its_axes(small):
    figure = small.condition(Draws(data(40, 3), names=["mu", "tau", "nu"])).plot((2, 0))
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("nu", "mu")
    figure = small.condition(Draws(data(40, 1), names=["mu"])).plot()
    assert figure.axes[1].get_xlabel() == "mu"
    assert figure.axes[0].get_title() == "density and score of mu"


def test_ranks_of_one_chain_say_nothing():
    with pytest.raises(ValueError, match="at least two are needed"):
        result(2, chains=1).plot(kind="rank")


@pytest.mark.parametrize("kind", ["trace", "pair", "rank"])
def test_long_names_are_shortened(kind):
    values = data(100, 2).view(2, 50, 2)
    names = ["mu", "log_relaxation_time[12]"]
    made = SamplerResult(values, torch.ones(2), torch.zeros(2, 50, dtype=torch.bool), 0.1, "ula", names).plot(kind=kind)
    labels = {axis.get_ylabel() for axis in made.axes}
    assert {"mu", "log_rela…ime[12]"} <= labels


@pytest.mark.parametrize("kind", ["trace", "pair", "rank"])
def test_every_picture_of_draws_has_a_title(kind):
    assert result(2).plot(kind=kind).get_suptitle()


def test_the_style_is_in_force_while_a_picture_is_drawn_only():
    """Also where two threads draw at once, whose settings are one and the same."""
    before = dict(matplotlib.rcParams)
    seen = []

    @styled
    def draw():
        seen.append(matplotlib.rcParams["axes.spines.top"])
        time.sleep(0.01)

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 8
    assert dict(matplotlib.rcParams) == before
    assert set(STYLE) <= set(before)
    figure = result(2).plot()
    assert not figure.axes[0].spines["top"].get_visible()


def test_explanations_show_the_most_surprising_columns():
    """With the cells' values where columns are few, no more than 24 columns, and missing cells left empty."""
    rng = np.random.default_rng(0)
    surprises, values = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    surprises[0, 2] = values[0, 2] = np.nan
    few = plot_surprises(surprises, values, ["a", "b", "c", "d", "e"], ["x", "y", "z"], np.array([2.0, 1.0, -1.0]))
    axis = few.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["x (+2.0)", "y (+1.0)", "z (-1.0)"]
    assert [text.get_text() for text in axis.texts] == ["" if np.isnan(value) else f"{value:.3g}" for value in values.ravel()]
    many = rng.normal(size=(2, 40))
    many[1, [3, 39]] = 9.0
    axis = plot_surprises(many, many, [f"c{k}" for k in range(40)], ["x", "y"], np.ones(2)).axes[0]
    shown = [text.get_text() for text in axis.get_xticklabels()]
    assert (len(shown), len(axis.texts)) == (24, 0)
    assert {"c3", "c39"} < set(shown)
    with pytest.raises(ValueError, match="no rows to explain"):
        plot_surprises(many[:0], many[:0], ["a"] * 40, [], np.ones(0))
