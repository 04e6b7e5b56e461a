"""Draws docs/_static/picture.png, the picture of README.md and of the first page, and those of supports, conditionals,
regions, missing cells and tables there.

``python docs/picture.py``
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from disco_samplers.integrations.sklearn import DiscoOutlierDetector
from disco_samplers.integrations.sklearn.missing import MissingCells
from matplotlib.figure import Figure
from sklearn.datasets import load_wine

from disco_samplers import DiScoFormer, Draws, corner

BLUE, DARK, ORANGE = "#2166ac", "#222222", "#d95f0e"


def main() -> None:
    """Draws them."""
    first()
    supports()
    conditionals()
    regions()
    missing()
    surprises()


def first() -> None:
    """Samples, density and score, new draws."""
    generator = torch.Generator().manual_seed(0)
    angle = 5 * torch.rand(800, generator=generator)
    samples = torch.stack([2 * angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(800, 2, generator=generator)
    estimate = DiScoFormer.from_pretrained().condition(samples)
    new = estimate.sample(800, generator=generator)

    x, y = torch.linspace(-2.7, 2.7, 140), torch.linspace(-1.5, 1.5, 90)
    log_prob = estimate.log_prob(torch.cartesian_prod(x, y)).reshape(len(x), len(y)).T
    arrows = torch.cartesian_prod(torch.linspace(-2.5, 2.5, 15), torch.linspace(-1.35, 1.35, 11))
    score = estimate.score(arrows)
    score = score / score.norm(dim=1, keepdim=True) * (score.norm(dim=1, keepdim=True) / 12).clamp(max=1) ** 0.5

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    panels[0].scatter(*samples.T, s=7, color=DARK, alpha=0.6, linewidths=0)
    panels[1].contourf(x, y, log_prob.clamp_min(-8), 16, cmap="Blues")
    panels[1].quiver(*arrows.T, *score.T, color=ORANGE, scale=17, width=0.006)
    panels[2].scatter(*new.T, s=7, color=BLUE, alpha=0.6, linewidths=0)
    titles = ("800 samples", "log-density and score", "800 new draws")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=16)
        panel.set(xlim=(-2.7, 2.7), ylim=(-1.5, 1.5))
        panel.set_xlabel("x", fontsize=13)
        panel.tick_params(labelsize=11)
    panels[0].set_ylabel("y", fontsize=13)
    figure.savefig(Path(__file__).parent / "_static" / "picture.png", dpi=100)


def supports() -> None:
    """What docs/howto/supports.md is about: the same rows read with and without their supports, beside the truth."""
    torch.manual_seed(0)  # of torch's laws, which take no generator
    laws = {
        "exponential": (torch.distributions.Exponential(1.0), "positive", (-1.0, 4.0)),
        "Beta(1/2, 2)": (torch.distributions.Beta(0.5, 2.0), "unit", (-0.3, 1.3)),
        "an angle": (torch.distributions.VonMises(0.2, 2.0), "circular", (0.0, 2 * torch.pi)),
    }
    model = DiScoFormer.from_pretrained()
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for panel, (name, (law, support, (low, high))) in zip(figure.subplots(1, 3), laws.items(), strict=True):
        rows = law.sample((1000, 1))
        rows = rows % (2 * torch.pi) if support == "circular" else rows
        x = torch.linspace(low, high, 801)[:, None]
        inside = x if support == "circular" else x[law.support.check(x) & (x != 0)][:, None]
        for label, color, density in (
            ("without a support", ORANGE, model.condition(rows).log_prob(x).exp()),
            (f'"{support}"', BLUE, model.condition(rows, support=[support]).log_prob(x).exp()),
        ):
            panel.plot(x, density, color=color, label=label, lw=2)
        panel.plot(inside, law.log_prob(inside).exp(), color=DARK, ls="--", label="truth")
        panel.plot(rows[:200], torch.full((200,), -0.03), "|", color=DARK, alpha=0.4)
        panel.set(xlim=(low, high), ylim=(-0.06, 4.0 if support == "unit" else None), xlabel="x", ylabel="density")
        panel.set_title(name, fontsize=16)
        panel.legend(frameon=False, fontsize=11)
    figure.savefig(Path(__file__).parent / "_static" / "supports.png", dpi=100)


def conditionals() -> None:
    """The laws of docs/howto/conditionals.md."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1000, generator=generator) * 4 - 2
    side = torch.randint(0, 2, (1000,), generator=generator) * 2 - 1
    y = side * (1 + 0.5 * x) + 0.2 * torch.randn(1000, generator=generator)
    draws = Draws(torch.stack([x, y], 1), names=["x", "y"])
    laws = DiScoFormer.from_pretrained().condition(draws).conditional({"x": [-1.5, 0.0, 1.5]})
    laws.plot(str(Path(__file__).parent / "_static" / "conditionals.png"))


def regions() -> None:
    """The posteriors of docs/howto/regions.md."""
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for rows in (30, 120):
        mu = 1 + torch.randn(1000, generator=generator) / rows**0.5
        tau = (0.7 * torch.randn(1000, generator=generator) * (30 / rows) ** 0.5 - 0.5).exp()
        side = torch.randint(0, 2, (1000,), generator=generator) * 2 - 1
        phase = side * 1.5 + (mu - 1) + 0.3 * torch.randn(1000, generator=generator)
        draws = Draws(torch.stack([mu, tau, phase], 1), names=["mu", "tau", "phase"])
        estimates.append(DiScoFormer.from_pretrained().condition(draws, support={"tau": "positive"}))
    path = str(Path(__file__).parent / "_static" / "regions.png")
    names = [r"$\mu$", r"$\tau$", "phase"]
    corner(estimates, labels=["30 rows", "120 rows"], truth={"mu": 1.0}, names=names, width=6.0, path=path, seed=0)


def missing() -> None:
    """What docs/howto/table.md says of missing cells: what is drawn in their place, and what their lack costs a detector."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, generator=generator) * 4 - 2
    rows = torch.stack([x, x.square() + 0.25 * torch.randn(400, generator=generator)], 1).double()
    lacks = torch.rand(400, generator=generator) < 0.25
    holes = rows.clone()
    holes[lacks, 1] = torch.nan
    filled = MissingCells(holes, None, generator).filled(DiScoFormer.from_pretrained().condition, generator)

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    table, costs = figure.subplots(1, 2)
    table.scatter(*rows[~lacks].T, s=14, color=DARK, alpha=0.6, linewidths=0, label="whole rows")
    table.scatter(*filled[lacks].T, s=20, color=BLUE, linewidths=0, label="y is missing: as drawn given x")
    table.axhline(float(rows[~lacks, 1].median()), color=ORANGE, ls="--", label="the median of y")
    table.set_xlabel("x", fontsize=13)
    table.set_ylabel("y", fontsize=13)
    table.set_title("A quarter of the rows lack y", fontsize=16)
    table.set_ylim(-0.9, 6.6)
    table.legend(frameon=False, fontsize=12, loc="upper center", bbox_to_anchor=(0.45, 1.0))

    results = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "missing.json").read_text())["results"]
    auroc: dict[tuple[float, str], dict[str, list[float]]] = {}
    for one in results:
        auroc.setdefault((one["share"], one["method"]), {}).setdefault(one["set"], []).append(one["auroc"])
    means = {kind: np.array([np.mean(found) for found in of.values()]) for kind, of in auroc.items()}
    full = means.pop((0.0, "all cells"))
    said = {
        "DiScoFormer": "taken as they are",
        "medians": "medians put in",
        "nearest rows": "nearest rows' means",
        "rows dropped": "dropped",
    }
    for share, color, side in ((0.05, "#92c5de", -0.2), (0.2, BLUE, 0.2)):
        lost = [full - means[share, method] for method in said]
        loss, error = ([float(f(one)) for one in lost] for f in (np.mean, lambda one: np.std(one, ddof=1) / len(one) ** 0.5))
        places = np.arange(len(said)) + side
        costs.barh(places, loss, 0.36, xerr=error, color=color, ecolor=DARK, label=f"{100 * share:g} % of the cells")
        for place, one, off in zip(places, loss, error, strict=True):
            costs.text(one + off + 0.006, place, f"{one:.3f}", va="center", fontsize=12)
    costs.set_yticks(range(len(said)), list(said.values()), fontsize=13)
    costs.invert_yaxis()
    costs.set_xlim(-0.03, 0.52)
    costs.axvline(0, color=DARK, lw=0.8)
    costs.set_ylabel("rows that lack cells", fontsize=13)
    costs.set_xlabel("AUROC lost to the same table with all cells", fontsize=13)
    costs.set_title(f"Outlier detection, {len(full)} tables", fontsize=16)
    costs.legend(frameon=False, fontsize=12, title="missing", title_fontsize=12)
    figure.savefig(Path(__file__).parent / "_static" / "missing.png", dpi=100)


def surprises() -> None:
    """The explanations of docs/howto/table.md."""
    wine = load_wine(as_frame=True)
    kinds = wine.data.iloc[:, :8]
    detector = DiscoOutlierDetector().fit(kinds[wine.target == 0])
    detector.plot_explanation(kinds[wine.target != 0][::8], path=str(Path(__file__).parent / "_static" / "surprises.png"))


if __name__ == "__main__":
    main()
