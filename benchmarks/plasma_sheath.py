"""The sheath at a floating wall: the potential's fall, the flux of ions and the balance of what the wall took, against theory.

python benchmarks/plasma_sheath.py [--steps 6000]
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma.exact import floating_drop, sheath_drop
from disco_samplers.integrations.plasma.runfile import read_run
from matplotlib.figure import Figure

MASS = 100.0
SETTLED = 400.0
"""Time from which on is averaged: about as long as sound takes over the line and back."""

DAWSON, EDGE = 0.5410442, 0.8540
"""The largest value of Dawson's function, and where it has it, squared: the potential's fall to the edge of the sheath."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, job = time.time(), read_run("sheath")
    run = job.simulation
    fields, nodes, loaded = run.fields, run.grid.nodes, [len(s.x) for s in run.state.species]
    sums, count = {name: np.zeros(nodes) for name in ("potential", "electrons", "ions")}, 0
    history = run.run(0, progress=False).history
    for _ in range(options.steps // 5):
        history = run.run(5, every=5, progress=False).history
        if run.time > SETTLED:
            count += 1
            sums["potential"] += fields.potential(run.state).numpy()
            for s in run.state.species:
                sums[s.name] += abs(fields.charge_density([s]).numpy())
    mean = {name: total / count for name, total in sums.items()}
    late = history["time"] > SETTLED
    t = history["time"][late]
    drop = float(history["potential_drop"][late].mean())
    flux = {name: float(np.ptp(history[f"absorbed_right_{name}"][late])) / float(np.ptp(t)) for name in ("electrons", "ions")}
    # The edge by theory: where the potential has fallen by 0.854.
    fall = -mean["potential"]
    middle = mean["ions"][1 : nodes // 4].mean()
    edge = int(np.argmax(fall >= EDGE))
    theory = {"drop": floating_drop(MASS), "flux": float(middle) * math.sqrt(2 / MASS) * 2 * DAWSON / math.pi}
    found = {"drop": drop, "flux": flux["ions"]}
    names = {
        "drop": "fall of the potential from the middle to the wall",
        "flux": f"flux of ions at a density of {middle:.3f} in the middle",
    }
    rows = [
        [names[key], f"{theory[key]:.4g}", f"{found[key]:.4g}", f"{100 * (found[key] / theory[key] - 1):+.1f} %"]
        for key in names
    ]
    rows.append(["flux of electrons over that of ions", "1", f"{flux['electrons'] / flux['ions']:.4f}", ""])
    ledger = run.state.ledger
    lost = [
        len(s.x) + int(taken) - int(given) - n
        for s, taken, given, n in zip(run.state.species, ledger.taken.sum(1), ledger.given, loaded, strict=True)
    ]
    charge = sum(s.charge * float(s.w.sum()) for s in run.state.species) + float(ledger.charge(run.state.species).sum())
    rows.append(["particles there and taken less loaded and given", "0", f"{sum(map(abs, lost))}", ""])
    rows.append(["charge of plasma and walls", "0", f"{charge:.0e}", ""])
    rows.append(["energy of plasma, field and walls, change", "0", f"{100 * history.energy_error:+.1f} %", ""])
    for row in rows:
        print(" | ".join(row), flush=True)
    picture(report.RESULTS / f"{Path(__file__).stem}.png", run.grid.length, mean, history, theory["drop"], edge)
    about = (
        f"`disco plasma list sheath`: ions of mass {MASS:g}, a thermal wall for electrons on the left, the middle of a "
        "symmetric plasma, a floating wall on the right, 30 Debye lengths apart; for every ion that the wall takes a pair "
        f"starts in the left third. Means from time {SETTLED:g} to {options.steps * run.dt:g}. Theory: Maxwellian electrons, "
        "ions born at rest that fall freely, a plasma far wider than a Debye length (Tonks and Langmuir 1929, Harrison and "
        f"Thompson 1959), for which it does not matter where ions are born: a fall of {EDGE:g} to the edge of the sheath, "
        f"{floating_drop(MASS) - EDGE:.3f} beyond. Bohm's ln sqrt(m_i / 2 pi m_e), of ions that all reach the edge at the "
        f"speed of sound, would be {sheath_drop(MASS):.3f} beyond. Potentials are in units of the electrons' "
        "temperature over e."
        f"\n\n![potential, densities, the fall in time, what the wall took]({Path(__file__).stem}.png)"
    )
    raw = {"found": found, "theory": theory, "history": {key: history[key].tolist() for key in ("time", "potential_drop")}}
    report.write(
        Path(__file__).stem, "Plasma: a sheath", about, ["what", "theory", "measured", "difference"], rows, raw, started
    )


def picture(path: Path, length: float, mean: dict[str, np.ndarray], history, drop: float, edge: int) -> None:
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    (one, two), (three, four) = figure.subplots(2, 2)
    x = np.linspace(0, length, len(mean["potential"]))
    one.plot(x, mean["potential"], label="mean of the run")
    one.axhline(-drop, color="0.2", ls="--", lw=1, label="theory, at the wall")
    one.set(title="potential", ylabel="potential ($T_e/e$)")
    two.plot(x, mean["electrons"], label="electrons")
    two.plot(x, mean["ions"], label="ions")
    two.set(title="density", ylabel="number (per Debye length and area)")
    for axis in (one, two):
        axis.axvline(x[edge], color="0.6", ls=":", lw=1, label="edge of the sheath, by theory")
        axis.set_xlabel("x (Debye lengths)")
    three.plot(history["time"], history["potential_drop"], lw=0.7, label="run")
    three.axhline(drop, color="0.2", ls="--", lw=1, label="theory")
    three.set(title="fall of the potential", xlabel="time (1/$\\omega_p$)", ylabel="potential ($T_e/e$)")
    for name in ("electrons", "ions"):
        four.plot(history["time"], history[f"absorbed_right_{name}"], label=name)
    four.set(title="absorbed by the wall", xlabel="time (1/$\\omega_p$)", ylabel="number (per area)")
    for axis in (one, two, three, four):
        axis.legend(frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
