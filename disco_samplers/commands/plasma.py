"""``disco plasma``: particle simulations of a plasma from run files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from disco_samplers import pictures
from disco_samplers.commands.shared import add_options, device_name
from disco_samplers.extras import optional

_PACKAGE = "disco_samplers.integrations.plasma"


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("plasma", help="particle simulations of a plasma from run files")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    run_command = actions.add_parser("run", help="run a file or a named problem")
    run_command.add_argument("source", metavar="FILE", help="run file (.toml) or the name of a problem")
    run_command.add_argument("--out", metavar="DIR", help="folder for what is written (default: plasma-NAME)")
    run_command.add_argument("--resume", action="store_true", help="continue the run in the folder")
    add_options(run_command, "device", "quiet")
    run_command.set_defaults(run=run)
    list_command = actions.add_parser("list", help="the named problems")
    list_command.add_argument("name", nargs="?", help="print this problem's run file, to start your own from")
    list_command.set_defaults(run=show)


def show(options: argparse.Namespace) -> None:
    """Prints the named problems, or one's run file."""
    runfile = optional(f"{_PACKAGE}.runfile", "plasma")
    if options.name:
        print(runfile.problem_text(options.name), end="")
        return
    for name, title in runfile.problems().items():
        print(f"{name:<24} {title}")


def run(options: argparse.Namespace) -> None:
    """Does what a run file says."""
    plasma, runfile = optional(_PACKAGE, "plasma"), optional(f"{_PACKAGE}.runfile", "plasma")
    folder = Path(options.out or f"plasma-{Path(options.source).stem if options.source.endswith('.toml') else options.source}")
    saved = folder / "checkpoint.pt"
    if saved.exists() and not options.resume:
        raise ValueError(f"{folder} holds a run already: continue it with --resume, or choose another folder with --out")
    if options.resume and not saved.exists():
        raise ValueError(f"there is no run to resume in {folder}: {saved.name} is not there")
    job = runfile.read_run(options.source, device=device_name(options))
    simulation, output = job.simulation, job.output
    picture = folder / "picture.png"
    pictures.writable(picture)
    if options.resume:
        simulation.load(saved)
    print(f"{job.title}: {sum(len(s.x) for s in simulation.state.species)} particles, {job.num_steps} steps")
    _check(plasma.startup_checks(simulation))
    folder.mkdir(parents=True, exist_ok=True)
    simulation.save(saved)  # a folder that cannot be written is found out now, not at the end
    observers: list[Any] = []
    if output.openpmd:
        observers.append(plasma.OpenPMDWriter(folder / "openpmd", output.openpmd))
    since = f"_from_step_{simulation.state.step}" if simulation.state.step else ""  # frames before that are in another file
    animation = plasma.Animation(folder / f"phase_space{since}.gif", output.animation) if output.animation else None
    if animation:
        observers.append(animation)
    if output.checkpoint:
        observers.append(lambda now: now.save(saved) if now.state.step % output.checkpoint == 0 else None)
    try:
        result = simulation.run(
            max(job.num_steps - simulation.state.step, 0),
            every=output.diagnostics,
            entropy_every=output.entropy,
            observers=observers,
            progress=not options.quiet,
        )
    finally:  # an error keeps what was done, as an interrupt does
        if simulation.history:
            simulation.save(saved)
            simulation.history.write_csv(folder / "diagnostics.csv")
    result.plot(picture, rate=job.rate)
    if animation and animation.frames:
        animation.save()
    print(result)
    print(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if not result.complete:
        print(f"interrupted at step {simulation.state.step} of {job.num_steps}: go on with --resume", file=sys.stderr)


def _check(checks: list[Any]) -> None:
    print("start-up checks")
    for check in checks:
        print(f"  {check}")
    if refused := [check.name for check in checks if check.verdict == "refuse"]:
        raise ValueError(f"refused to start: {', '.join(refused)} as the checks above say")
