"""Collisions between species, and waves with mobile ions, against rates and curves that are known.

python benchmarks/plasma_species.py [--particles 1000]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import (
    Beam,
    Blob,
    DiscoScore,
    Grid,
    Maxwellian,
    Mixture,
    MultispeciesLandau,
    Simulation,
    Species,
    load,
)
from disco_samplers.integrations.plasma.cells import moments
from disco_samplers.integrations.plasma.collisions import collide_species
from disco_samplers.integrations.plasma.exact import (
    SPITZER,
    equilibration_rate,
    friction_rate,
    isotropic_coulomb,
    maxwell_species,
    trubnikov_beam,
)
from disco_samplers.integrations.plasma.theory import Population, electrostatic_mode, ion_acoustic_guess
from disco_samplers.integrations.plasma.velocities import gaussian_velocities
from fits import damped
from matplotlib.figure import Figure

PROTON = 1836.0
SPEEDS = (0.7, 1.0, 1.5, 2.0, 3.0)
"""Of beams, in thermal speeds of the lighter species."""

SCORES = {"DiScoFormer": DiscoScore, "Maxwellian": Maxwellian}
"""The second is exact where both species are Maxwellians: what it misses is the particles' share."""

Point = tuple[float, float]


def maxwellian(
    name: str, temperature: float, mass: float, n: int, seed: int, *, drift: float = 0.0, density: float = 1.0
) -> Species:
    """Evenly placed velocities of exact moments, of equal weight."""
    v = gaussian_velocities(n, [temperature / mass] * 3, mean=[drift, 0.0, 0.0], seed=seed)
    w = torch.full((n,), density / n, dtype=v.dtype)
    return Species(name, w, v, w, mass=mass)


def weighted(name: str, temperature: float, mass: float, n: int, seed: int, *, density: float = 1.0) -> Species:
    """The same of particles drawn from a wider Maxwellian, with the weights that make up for it, a hundredfold apart."""
    z = 1.3 * gaussian_velocities(n, [1.0] * 3, seed=seed)
    w = torch.softmax(-0.5 * z.square().sum(1) * (1 - 1 / 1.3**2), 0)
    z = z - w @ z
    z = z / (w @ z.square()).sqrt() * math.sqrt(temperature / mass)
    return Species(name, w, z, density * w, mass=mass)


def temperatures(mixture: Mixture) -> torch.Tensor:
    return mixture.mass * moments(mixture.v, mixture.w, mixture.kind, len(mixture.names)).temperature


def stepped(operator: MultispeciesLandau, mixture: Mixture, dt: float, rng: torch.Generator | None = None) -> Mixture:
    return dataclasses.replace(mixture, v=collide_species(operator, mixture, dt, generator=rng))


def equilibration(n: int, rows: list) -> dict[str, list[Point]]:
    """The rate at which two temperatures approach each other, of Coulomb collisions, at the start."""
    found: dict[str, list[Point]] = {name: [] for name in SCORES}
    for ratio in (1.0, 4.0, 25.0, 100.0, PROTON):
        here = Mixture.of([maxwellian("a", 2.0, 1.0, n, 1), maxwellian("b", 1.0, ratio, n, 2)])
        theory = equilibration_rate((2.0, 1.0), (1.0, ratio), strength=1.0, density=1.0)
        for name, score in SCORES.items():
            operator = MultispeciesLandau(score(), strength={("a", "b"): 1.0})
            dt = 0.01
            rate = float(temperatures(here)[0] - temperatures(stepped(operator, here, dt))[0]) / dt
            row(rows, f"equilibration, Coulomb, mass ratio {ratio:g}", name, theory, rate, 2 * n)
            found[name].append((ratio, rate / theory))
    return found


def curve(n: int, rows: list) -> list[tuple[float, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Temperatures of Maxwell molecules, from equal and from unequal weights, beside the moment equations."""
    operator = MultispeciesLandau(DiscoScore(), strength={("a", "a"): 0.1, ("a", "b"): 0.1, ("b", "b"): 0.1}, exponent=0)
    starts = [Mixture.of([make("a", 3.0, 1.0, n, 1), make("b", 1.0, 4.0, n, 2)]) for make in (maxwellian, weighted)]
    unit = torch.eye(3, dtype=torch.float64) * (temperatures(starts[0]) / starts[0].mass)[:, None, None]
    still, one = torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    options = {"density": one, "mass": starts[0].mass, "strength": operator.matrix(starts[0])}
    now, shown, dt, steps = list(starts), [], 0.1, 120
    for step in range(steps + 1):
        exact = starts[0].mass * maxwell_species(still, unit, dt * step, **options, num_steps=100)[1][:, 0, 0]
        shown.append((dt * step, exact, *map(temperatures, now)))
        now = [stepped(operator, each, dt) for each in now]
    for name, at in (("equal", 2), ("a hundredfold unequal", 3)):
        off = max(float((state[at] - state[1]).abs().max()) for state in shown)
        rows.append(
            [f"equilibration, Maxwell molecules, whole curve, {name} weights", "DiScoFormer", "", f"{off:.4f}", "", str(2 * n)]
        )
        rows[-1][4] = f"{100 * off / 2:.2f} % of the change"
        print(" | ".join(rows[-1]), flush=True)
    return shown


def coulomb(n: int, rows: list) -> tuple[np.ndarray, np.ndarray, dict[str, list[float]]]:
    """The gap between two temperatures beside the kinetic equation, and beside Maxwellians that stay so."""
    dt, end, every = 0.1, 20.0, 5
    times = dt * every * np.arange(round(end / dt) // every + 1)
    plasma = {"mass": [1.0, 10.0], "density": [1.0, 1.0], "strength": np.ones((2, 2))}
    exact = -np.diff(isotropic_coulomb(times, temperature=[2.0, 1.0], **plasma).temperature)[:, 0]
    shown = {}
    for name, score in {"DiScoFormer": DiscoScore(), "blob": Blob(), "Maxwellian": Maxwellian()}.items():
        now, rng, gaps = Mixture.of([maxwellian("a", 2.0, 1.0, n, 1), maxwellian("b", 1.0, 10.0, n, 2)]), torch.Generator(), []
        rng.manual_seed(0)
        operator = MultispeciesLandau(score, strength={("a", "a"): 1.0, ("a", "b"): 1.0, ("b", "b"): 1.0}, method="batches")
        for step in range(round(end / dt) + 1):
            if step % every == 0:
                gaps.append(-float(temperatures(now).diff()))
            now = stepped(operator, now, dt, rng)
        shown[name] = gaps
        off = np.abs(np.array(gaps) - exact).max()
        what = f"equilibration, Coulomb, mass ratio 10, gap of temperatures at time {end:g}"
        rows.append([what, name, f"{exact[-1]:.4g}", f"{gaps[-1]:.4g}", f"off by {off:.3f} at most", f"{2 * n:,}"])
        print(" | ".join(rows[-1]), flush=True)
    return times, exact, shown


def shell(n: int, rows: list) -> None:
    """A light beam on heavy particles until it is scattered over a part of a sphere: loss of mean velocity."""
    scores = {"DiScoFormer": DiscoScore(), "DiScoFormer, not calibrated": DiscoScore(calibrate=False), "blob": Blob()}
    for name, score in scores.items():
        now = Mixture.of([maxwellian("beam", 0.01, 1.0, n, 1, drift=3.0, density=0.1), maxwellian("rest", 1.0, 100.0, n, 2)])
        operator = MultispeciesLandau({"beam": score, "rest": Maxwellian()}, strength={("beam", "rest"): 1.0}, method="batches")
        rng = torch.Generator().manual_seed(0)
        rate = trubnikov_beam(3.0, (1.0, 100.0), temperature=1.0, strength=1.0, density=1.0).slowing
        for step in range(1, 101):
            now = stepped(operator, now, 0.02, rng)
            if step in (25, 100):
                lost = 3 - float(now.split(now.v)[0][:, 0].mean())
                theory = 3 - 3 * math.exp(-rate * 0.02 * step)
                row(rows, f"beam, light on heavy, velocity lost by time {0.02 * step:g}", name, theory, lost, 2 * n)


def beams(n: int, rows: list) -> dict[str, dict[str, dict[str, list[Point]]]]:
    """Slowing down, scattering and spread along of a narrow beam in a Maxwellian of temperature one, at the start."""
    found: dict[str, dict[str, dict[str, list[Point]]]] = {}
    for what, masses in (("light on heavy", (1.0, PROTON)), ("heavy on light", (PROTON, 1.0))):
        found[what] = {name: {} for name in SCORES}
        for speed in SPEEDS:
            u = speed / math.sqrt(min(masses))
            cold = (1e-4 * u) ** 2 * masses[0]
            here = Mixture.of(
                [maxwellian("beam", cold, masses[0], n, 1, drift=u), maxwellian("rest", 1.0, masses[1], 2 * n, 2)]
            )
            theory = trubnikov_beam(u, masses, temperature=1.0, strength=1.0, density=1.0)._asdict()
            for name, score in SCORES.items():
                operator = MultispeciesLandau(score(), strength={("beam", "rest"): 1.0})
                rate, v = here.split(operator.rates(here))[0], here.split(here.v)[0]
                growth = 2 * ((v - v.mean(0)) * (rate - rate.mean(0))).mean(0) / u**2
                rates = {"slowing": -float(rate[:, 0].mean()) / u, "across": float(growth[1:].sum()), "along": float(growth[0])}
                for kind, value in rates.items():
                    found[what][name].setdefault(kind, []).append((speed, value / theory[kind]))
                    if name == "DiScoFormer":
                        row(rows, f"beam, {what}, speed {speed:g}, {kind}", name, theory[kind], value, 3 * n)
    return found


def resistivity(n: int, rows: list) -> dict[str, list[Point]]:
    """Friction of electrons in a weak field on protons, over that of a drifting Maxwellian, against time."""
    c, shown = 0.1, {}
    nu = friction_rate(1.0, (1.0, PROTON), strength=c, density=1.0)
    for name, score in {"DiScoFormer": DiscoScore(keys=1024), "blob": Blob(), "Maxwellian": Maxwellian()}.items():
        now = Mixture.of([maxwellian("electrons", 1.0, 1.0, 2 * n, 1), maxwellian("ions", 1.0, PROTON, n // 2, 2)])
        strength = {("electrons", "electrons"): c, ("electrons", "ions"): c}
        operator = MultispeciesLandau({"electrons": score, "ions": Maxwellian()}, strength=strength, method="batches")
        dt, electrons, rng, ratios = 0.05 / nu, now.kind == 0, torch.Generator().manual_seed(0), []
        for _ in range(160):
            v = now.v.clone()
            v[electrons, 0] += 0.1 * nu * dt
            before = dataclasses.replace(now, v=v)
            now = stepped(operator, before, dt, rng)
            drift = moments(v, now.w, now.kind, 2).mean[:, 0]
            friction = -float((now.v - v)[electrons, 0].mean()) / dt
            plain = friction_rate(float(temperatures(before)[0]), (1.0, PROTON), strength=c, density=1.0)
            ratios.append(friction / (plain * float(drift[0] - drift[1])))
        shown[name] = [(0.05 * (i + 1), ratio) for i, ratio in enumerate(ratios)]
        row(rows, "resistivity of protons over that of a Maxwellian", name, SPITZER, float(np.mean(ratios[-40:])), 5 * n // 2)
    return shown


def conservation(n: int, rows: list) -> None:
    """Changes over a run of sub-cycled collisions of electrons and protons."""
    now = Mixture.of([weighted("electrons", 2.0, 1.0, n, 1), weighted("ions", 1.0, PROTON, n, 2)])
    strength = {("electrons", "electrons"): 0.1, ("electrons", "ions"): 0.1, ("ions", "ions"): 0.1}
    operator = MultispeciesLandau(DiscoScore(keys=512), strength=strength, method="batches", subcycle=0.1)
    heavy, rng, dt = now.w * now.mass[now.kind], torch.Generator().manual_seed(0), 0.5
    cycles, start = operator.cycles(now, dt), now
    for step in range(1, 65):
        due = torch.where(step % cycles == 0, cycles, 0)
        now = dataclasses.replace(now, v=collide_species(operator, now, dt, factor=due, generator=rng))
    energy = float((heavy * now.v.square().sum(1)).sum() / (heavy * start.v.square().sum(1)).sum()) - 1
    thermal = float((heavy[:, None] * start.v).abs().sum())
    momentum = float((heavy[:, None] * (now.v - start.v)).sum(0).norm()) / thermal
    for what, value in (("energy", abs(energy)), ("momentum, over the sum of sizes", momentum)):
        rows.append([f"64 steps, mass ratio 1836, change of {what}", "DiScoFormer", "0", f"{value:.1e}", "", str(2 * n)])
        print(" | ".join(rows[-1]), flush=True)


def waves(rows: list) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Collisionless waves with mobile ions: time, field, and what theory has of it."""
    shown = {}
    cold = Beam(temperature=(0.05,))
    cases = [("ion-acoustic wave, k = 0.7, mass ratio 10", 0.7, [Beam()], 10.0, 2, 0.4, 1e-3)]
    streams = [Beam((u,), (1.0,), 0.5) for u in (-2.4, 2.4)]
    cases.append(("two streams and ions, k = 0.4, mass ratio 25", 0.4, streams, 25.0, 1, 0.2, 1e-5))
    for name, k, streaming, mass, finer, dt, amplitude in cases:
        grid, starts = Grid(2 * math.pi / k, 32), Grid(2 * math.pi / k, 32 * finer)
        lattice = {"start": "lattice", "amplitude": amplitude}
        electrons = load(starts, streaming, starts.cells * 320, **lattice)
        ions = load(starts, [cold], starts.cells * 20, name="ions", charge=1.0, mass=mass, **lattice)
        populations = [*map(Population, streaming), Population(cold, 1.0, mass)]
        sound = len(streaming) == 1
        theory = electrostatic_mode(k, populations, near=ion_acoustic_guess(k, populations) if sound else None)
        run, field = Simulation(grid, [electrons, ions], dt), []
        for _ in range(round((75 if sound else 8 / theory.imag) / dt)):
            run.step()
            field.append(complex(torch.fft.rfft(run.state.electric[:, 0])[1]).imag)
        t, unit = dt * np.arange(1, len(field) + 1), 1.3 / theory.real
        after = 2 * math.pi / theory.real if sound else t[-1] / 2
        rate, frequency = (x / unit for x in damped(t / unit, np.array(field), after / unit))
        row(rows, f"{name}, rate", "no collisions", theory.imag, rate, len(electrons.x) + len(ions.x))
        row(rows, f"{name}, frequency", "no collisions", theory.real, frequency, len(electrons.x) + len(ions.x))
        shown[name] = (t, np.array(field), theory)
    return shown


def row(rows: list, what: str, score: str, theory: float, found: float, particles: int) -> None:
    rows.append([what, score, f"{theory:.4g}", f"{found:.4g}", f"{100 * (found / theory - 1):+.2f} %", f"{particles:,}"])
    print(" | ".join(rows[-1]), flush=True)


def picture(path: Path, rates, curves, kinetic, found, friction, fields) -> None:
    """What was measured beside what is known, a panel each."""
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    t = [state[0] for state in curves]
    for k, (species, colour) in enumerate((("light", "C0"), ("heavy", "C1"))):
        axes[0].plot(t, [state[2][k] for state in curves], colour, label=species)
        axes[0].plot(t[::8], [state[3][k] for state in curves][::8], colour + "o", ms=3.5, label=f"{species}, unequal weights")
    for k in range(2):
        axes[0].plot(t, [state[1][k] for state in curves], "k--", lw=0.9, label="moment equations" if k else None)
    axes[0].set(title="temperatures, Maxwell molecules, ratio 4", xlabel="time (1/plasma frequency)", ylabel="temperature (T)")
    for name, points in rates.items():
        axes[1].semilogx(*zip(*points, strict=True), "o-", label=name)
    axes[1].set(title="equilibration, Coulomb", xlabel="mass ratio", ylabel="rate over Spitzer's", ylim=(0.9, 1.1))
    for axis, (what, scores) in zip(axes[2:4], found.items(), strict=True):
        for (name, kinds), style in zip(scores.items(), ("o-", "s:"), strict=True):
            for (kind, points), colour in zip(kinds.items(), ("C0", "C1", "C2"), strict=True):
                axis.plot(*zip(*points, strict=True), style, color=colour, ms=3.5, label=f"{kind}, {name}")
        axis.set(
            title=f"beam, {what}", xlabel="speed (thermal speeds of the light)", ylabel="rate over Trubnikov's", ylim=(0.9, 1.1)
        )
    for name, points in friction.items():
        axes[4].plot(*zip(*points, strict=True), lw=1, label=name)
    axes[4].axhline(SPITZER, color="k", ls="--", lw=0.9, label="Spitzer and Harm")
    axes[4].set(
        title="friction of electrons on protons in a weak field",
        xlabel="time (1/friction rate)",
        ylabel="over a drifting Maxwellian's",
    )
    axes[4].set_ylim(0.3, 1.2)
    for axis, (name, (when, field, theory)) in zip(axes[5:7], fields.items(), strict=True):
        axis.semilogy(when, np.abs(field), lw=1, label="run")
        at = int(np.argmax(np.abs(field)[len(when) // 2 :])) + len(when) // 2
        axis.semilogy(when, np.abs(field[at]) * np.exp(theory.imag * (when - when[at])), "k--", lw=0.9, label="theory")
        axis.set(title=name, xlabel="time (1/plasma frequency)", ylabel="first mode of the field (T / e Debye length)")
        axis.set_ylim(np.abs(field).max() * 1e-4, np.abs(field).max() * 3)
    times, exact, gaps = kinetic
    for name, gap in gaps.items():
        axes[7].semilogy(times, gap, lw=1, label=name)
    axes[7].semilogy(times, exact, "k--", lw=0.9, label="kinetic equation")
    axes[7].set(title="gap of temperatures, Coulomb, ratio 10", xlabel="time (1/plasma frequency)", ylabel="difference (T)")
    for axis in axes:
        axis.legend(frameon=False, fontsize="x-small")
        axis.title.set_fontsize("small")
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=1000, help="of a species, about")
    n = parser.parse_args().particles
    torch.set_num_threads(1)
    started, rows, name = time.time(), [], Path(__file__).stem
    shown = equilibration(n, rows), curve(n, rows), coulomb(n, rows), beams(n, rows), resistivity(n, rows), waves(rows)
    shell(n, rows)
    conservation(n, rows)
    picture(report.RESULTS / f"{name}.png", *shown)
    about = (
        "Three velocities; Coulomb collisions (exponent -3) over all pairs of particles but where a batch is named. Rates of "
        "equilibration and of beams are those of the first instant, from quiet starts of exact mean and temperature. The "
        "score 'Maxwellian' is exact there, and its differences are those of so few particles. Beams have a ten-thousandth of "
        "their speed as spread; the one that is followed starts with a thirtieth, and its mean is that of scattering off heavy "
        "particles at rest. The gap of temperatures is beside the kinetic equation on a grid of speeds: the slow among the "
        "light cool first, which delays all, and a Maxwellian's score has no collisions to fill their place. Resistivity: a "
        "field of a tenth of the friction rate in thermal speeds, 160 steps of 0.05 over the friction rate, random batches of "
        "64; the mean of the last 40 steps at the temperature of each, against 0.506 of Spitzer and Harm, with a score of the "
        "electrons as named and a Maxwellian's of the protons.\n\n"
        f"![each check beside what is known]({name}.png)"
    )
    header = ["what", "score", "theory", "measured", "difference", "particles"]
    report.write(name, "Plasma: collisions between species", about, header, rows, rows, started)


if __name__ == "__main__":
    main()
