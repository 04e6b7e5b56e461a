"""Corner pictures: what stands in them, and ``disco corner``."""

import math

import numpy as np
import pytest
import torch
from conftest import perturbed
from scipy import stats

from disco_samplers import Draws, cli, corner, files
from disco_samplers.pictures import Plane, Posterior, plot_corner

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """How well levels are told is tested in ``test_regions.py``; an untrained network's proposal is a poor one."""
    monkeypatch.setattr("disco_samplers.estimate.regions._DRAWS", 256)
    monkeypatch.setattr("disco_samplers.estimate.regions._WORTH", 1)
    monkeypatch.setattr("disco_samplers.estimate.corners._SIDE", 24)


def table(seed, *, scale=1.0, names=("mu", "tau", "w")):
    x = scale * torch.randn(80, len(names), generator=torch.Generator().manual_seed(seed))
    x[:, 1] = x[:, 1].exp()
    return Draws(x, names=list(names))


@pytest.fixture
def estimates():
    small = perturbed(layers=1)
    return [small.condition(table(k, scale=1 - k / 2), support={"tau": "positive"}) for k in range(2)]


def words(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def named(figure):
    """Names along the bottom and up the left side."""
    return [a.get_xlabel() for a in figure.axes if a.get_xlabel()], [a.get_ylabel() for a in figure.axes if a.get_ylabel()]


def regions(axis):
    return [one for one in axis.collections if isinstance(one, matplotlib.contour.QuadContourSet)]


def test_regions_of_a_normal_law_are_ellipses():
    """Of plain arrays: the edges are where the exact law has its levels."""
    side = np.linspace(-4, 4, 161)
    log_prob = stats.norm.logpdf(side)[None] + stats.norm.logpdf(side)[:, None]
    radii = np.sqrt(stats.chi2.ppf([0.95, 0.68], 2))
    levels = tuple(-math.log(2 * math.pi) - radii**2 / 2)
    curve = (side, stats.norm.pdf(side))
    figure = plot_corner([Posterior("", [curve, curve], {(0, 1): Plane(side, side, log_prob, levels)})], ["a", "b"], {})
    filled, lines = regions(figure.axes[1])
    reach = [np.linalg.norm(path.vertices, axis=1) for path in lines.get_paths()]
    for found, radius in zip(reach, radii, strict=True):
        np.testing.assert_allclose(found, radius, atol=2e-3)
    assert len(filled.get_paths()) == 2
    assert figure.axes[0].lines[0].get_ydata().max() == 1
    assert not figure.legends


def test_what_stands_in_it(estimates, tmp_path):
    path = tmp_path / "corner.png"
    figure = corner(estimates, labels=["before", "after"], truth={"mu": 0.5, 2: 9.0}, path=str(path), seed=0)
    assert len(figure.axes) == 6
    assert named(figure) == (["mu", "tau", "w"], ["tau", "w"])
    assert words(figure) == ["before", "after", "truth"]
    diagonal, below = [figure.axes[i] for i in (0, 2, 5)], [figure.axes[i] for i in (1, 3, 4)]
    assert [len(axis.lines) for axis in diagonal] == [3, 2, 3]  # two curves, and the truth
    assert [len(axis.lines) for axis in below] == [1, 2, 1]
    assert [len(regions(axis)) for axis in below] == [4, 4, 4]
    assert figure.axes[2].get_xlim()[0] == figure.axes[1].get_ylim()[0] == 0  # the support's edge
    assert figure.axes[5].get_xlim()[1] > 9  # the truth is seen
    assert matplotlib.image.imread(path).std() > 0.02


def test_title(estimates, small, tmp_path):
    """What is drawn, unless another is given, and clear of the legend."""
    figure = corner(estimates, labels=["before", "after"], width=3.4, path=str(tmp_path / "corner.png"), seed=0)
    assert figure.get_suptitle() == "2 posteriors of 3 columns, regions of 68 and 95 %"
    boxes = [one.get_window_extent() for one in (figure._suptitle, figure.legends[0])]
    assert not boxes[0].overlaps(boxes[1])
    assert estimates[0].corner(seed=0).get_suptitle() == "80 draws of 3 columns, regions of 68 and 95 %"
    weighted = small.condition(Draws(table(0).values[:, :1], weights=torch.arange(80.0) + 20))
    assert weighted.corner(seed=0).get_suptitle() == f"draws of 1 column, worth {weighted.effective_size:.0f}"
    assert estimates[0].corner(title="tau", seed=0).get_suptitle() == "tau"
    assert estimates[0].corner(title="", seed=0).get_suptitle() == ""


def test_what_numbers_share_stands_with_the_name():
    side = np.linspace(1e-9, 3e-9, 50)
    figure = plot_corner([Posterior("", [(side, np.ones(50))], {})], ["a"], {})
    assert named(figure)[0] == ["a\n1e\N{MINUS SIGN}9"]
    figure.draw_without_rendering()
    assert not figure.axes[0].xaxis.offsetText.get_visible()


@pytest.mark.parametrize("width", [3.4, 7.0])
def test_width_of_a_paper(width, estimates):
    figure = estimates[0].corner(width=width, names=[r"$\mu$", r"$\tau$", "w"], seed=0)
    assert tuple(figure.get_size_inches()) == (width, width)
    assert named(figure)[0] == [r"$\mu$", r"$\tau$", "w"]
    assert not figure.legends
    figure.draw_without_rendering()
    inside = figure.bbox
    for axis in figure.axes:  # nothing is cut
        box = axis.get_tightbbox()
        assert box.x0 >= inside.x0 - 1
        assert box.x1 <= inside.x1 + 1
        assert box.y0 >= inside.y0 - 1


def test_columns_are_matched_by_name(small):
    turned = Draws(table(1).values[:, [2, 0, 1]], names=["w", "mu", "tau"])
    figure = corner([small.condition(table(0)), small.condition(turned)], seed=0)
    same = corner([small.condition(table(0)), small.condition(table(1))], seed=0)
    assert words(figure) == ["1", "2"]
    for one, other in zip(figure.axes, same.axes, strict=True):
        np.testing.assert_allclose(one.get_xlim(), other.get_xlim())


def test_one_column(small):
    figure = corner([small.condition(table(0)).marginal(["mu"])], labels=["all"], seed=0)
    assert len(figure.axes) == 1
    assert words(figure) == ["all"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": ["a"]}, "labels must be a list of 2, one for each of the estimates"),
        ({"names": "abc"}, "names must be a list of 3, one for each of the columns"),
        ({"truth": {"z": 1}}, "there is no column 'z'"),
        ({"truth": {"mu": math.inf}}, "truth of mu must be finite"),
        ({"width": -1.0}, "width must be"),
        ({"path": "corner.txt"}, "the extension of a picture must be"),
    ],
)
def test_what_is_refused(change, told, estimates):
    with pytest.raises(ValueError, match=told):
        corner(estimates, **change)


def test_estimates_that_cannot_be_drawn(small, estimates):
    other = small.condition(table(0, names=("mu", "tau", "sigma")))
    for given, told in (
        ([], "estimates is empty"),
        ([*estimates, other], r"estimates\[2\] has the columns mu, tau, sigma"),
        ([small.condition(torch.randn(20, 9))], "at most 8 columns, and there are 9"),
        ([small.condition(torch.randn(3, 20, 2))], "one data set"),
    ):
        with pytest.raises(ValueError, match=told):
            corner(given)
    for truth in ([1.0], {"mu": "one"}, {1.5: 2.0}):
        with pytest.raises(TypeError, match=r"truth must give values by column|truth of mu must|a column must be given"):
            corner(estimates, truth=truth)
    for wrong, told in (
        (estimates[0], "estimates must be a list"),
        ([np.zeros((9, 2))], r"estimates\[0\] must be an estimate"),
    ):
        with pytest.raises(TypeError, match=told):
            corner(wrong)


@pytest.fixture
def here(tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    small.save_pretrained("small")
    for name, seed in (("before", 0), ("after", 1)):
        draws = table(seed)
        files.write_table(f"{name}.csv", dict(zip(draws.names, draws.values.numpy().T, strict=True)))
    return tmp_path


def test_command(here, capsys):
    given = ["corner", "before.csv", "after.csv", "--columns", "mu", "tau", "--model", "small"]
    assert cli.main([*given, "--support", "tau=positive", "--truth", "mu=0.5", "--out", "c.pdf", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "after.csv: Draws: 80 draws of 2 columns" in out
    assert out.endswith("wrote c.pdf\n")
    assert err == ""
    assert (here / "c.pdf").read_bytes().startswith(b"%PDF")
    assert cli.main([*given, "--out", "c.png", "--width", "3.4", "--title", "before and after"]) == 0
    assert "marginals: 100%" in capsys.readouterr().err
    assert cli.main([*given, "--truth", "z=1", "--out", "c.png"]) == 1
    assert "--truth z=1: write COLUMN=VALUE with a column of mu, tau" in capsys.readouterr().err


def test_a_curve_that_diverges_is_seen(disco):
    """Half a step from the edge the density is 12 times that in the middle; at the edge it would hide all of the curve."""
    x = (math.pi / 2 * torch.rand(400, 1, generator=torch.Generator().manual_seed(0)).double()).sin().square()
    curve = disco.condition(x, support=["unit"]).corner().axes[0].lines[0].get_ydata()
    assert 0.04 < min(curve) / max(curve) < 0.25
