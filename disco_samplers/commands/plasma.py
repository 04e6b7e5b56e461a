"""``disco plasma``: particle simulations of a plasma from run files."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disco_samplers.commands.shared.options import add_options, ending

if TYPE_CHECKING:
    import torch

_PACKAGE = "disco_samplers.integrations.plasma"
_PRINTED = {
    "start-up checks": "whether step, box and particles resolve the physics: ok, warn, or refuse, which ends the run",
    "energy error": "change of the total energy over the run, relative; larger is worse",
    "seconds": "wall time of push, fields, collisions and measuring; under torchrun those of one process, waiting included",
    "diagnostics.csv": "energies, momentum, and where asked for entropy, against time in units of 1/omega_p",
    "picture.png": "field energy with the rate of theory, conservation (larger is worse), phase space, velocities; without a "
    "field temperatures and mean velocities of the species, between walls the potential and what they took",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    example = "disco plasma list\ndisco plasma run two-stream --out two-stream"
    command = commands.add_parser("plasma", help="particle simulations of a plasma from run files", **ending(example, _PRINTED))
    actions = command.add_subparsers(required=True, metavar="ACTION")
    run_command = actions.add_parser("run", help="run a file or a named problem", **ending(example, _PRINTED))
    run_command.add_argument("source", metavar="FILE", help="run file (.toml) or the name of a problem")
    run_command.add_argument("--out", metavar="DIR", help="folder for what is written (default: plasma-NAME)")
    run_command.add_argument("--resume", action="store_true", help="continue the run in the folder")
    add_options(run_command, "device", "quiet", "json")
    run_command.set_defaults(run=run)
    list_command = actions.add_parser(
        "list", help="the named problems", **ending("disco plasma list two-stream > mine.toml\ndisco plasma run mine.toml", {})
    )
    list_command.add_argument("name", nargs="?", help="print this problem's run file, to start your own from")
    list_command.set_defaults(run=show)


def show(options: argparse.Namespace) -> None:
    """Prints the named problems, or one's run file."""
    from disco_samplers.extras import optional

    runfile = optional(f"{_PACKAGE}.runfile", "plasma")
    if options.name:
        print(runfile.problem_text(options.name), end="")
        return
    for name, title in runfile.problems().items():
        print(f"{name:<24} {title}")


def run(options: argparse.Namespace) -> int:
    """Does what a run file says, in one process or in each of those that torchrun started."""
    import torch

    from disco_samplers.commands.shared.models import device_name
    from disco_samplers.training import distributed

    device = torch.device(device_name(options))
    distributed.setup(device)
    try:
        return _run(options, distributed.local_device(device), distributed.is_used(), writes=distributed.rank() == 0)
    finally:
        distributed.cleanup()


def _run(options: argparse.Namespace, device: torch.device, shared: bool, *, writes: bool) -> int:
    """The same; of several processes only one writes and prints."""
    from disco_samplers import pictures
    from disco_samplers.commands.shared.output import Output
    from disco_samplers.extras import optional

    output = Output(options)
    plasma, runfile = optional(_PACKAGE, "plasma"), optional(f"{_PACKAGE}.runfile", "plasma")
    folder, saved = _place(options)
    job = runfile.read_run(options.source, device=device, distributed=shared)
    simulation, wanted = job.simulation, job.output
    picture = folder / "picture.png"
    pictures.writable(picture)
    if options.resume:
        simulation.load(saved)
    silent = options.json or not writes
    if not silent:
        print(f"{job.title}: {sum(len(s.x) for s in simulation.state.species)} particles, {job.num_steps} steps")
    checks = plasma.startup_checks(simulation)
    _check(checks, silent=silent)
    simulation.team.wait()  # until all have seen what the folder held
    steps = max(job.num_steps - simulation.state.step, 0)
    if not writes:
        simulation.run(steps, every=wanted.diagnostics, entropy_every=wanted.entropy, progress=False)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    simulation.save(saved)  # a folder that cannot be written is found out now, not at the end
    observers: list[Any] = []
    if wanted.openpmd:
        observers.append(plasma.OpenPMDWriter(folder / "openpmd", wanted.openpmd))
    since = f"_from_step_{simulation.state.step}" if simulation.state.step else ""  # frames before that are in another file
    animation = plasma.Animation(folder / f"phase_space{since}.gif", wanted.animation) if wanted.animation else None
    if animation:
        observers.append(animation)
    if wanted.checkpoint:  # on a full disk the run goes on: at its end it is tried once more
        observers.append(lambda now: None if now.state.step % wanted.checkpoint else output.write(saved, now.save))
    try:
        result = simulation.run(
            steps, every=wanted.diagnostics, entropy_every=wanted.entropy, observers=observers, progress=not options.quiet
        )
    finally:  # an error keeps what was done, as an interrupt does
        if simulation.history:
            output.write(saved, simulation.save)
            output.write(folder / "diagnostics.csv", simulation.history.write_csv)
    output.write(picture, lambda path: result.plot(path, rate=job.rate))
    if animation and animation.frames:
        output.write(animation.path, lambda _: animation.save())
    if not result.complete:
        output.interrupted(f"at step {simulation.state.step} of {job.num_steps}: go on with --resume")
    output.written = [str(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]  # hidden: unfinished
    spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in simulation.seconds.items())
    return output.tell(
        f"{result}\nseconds: {spent}",
        checks=[dataclasses.asdict(check) for check in checks],
        time=result.time,
        energy_error=result.energy_error,
        complete=result.complete,
        seconds=simulation.seconds,
        processes=simulation.team.size,
    )


def _place(options: argparse.Namespace) -> tuple[Path, Path]:
    """The folder for what is written, and its checkpoint."""
    folder = Path(options.out or f"plasma-{Path(options.source).stem if options.source.endswith('.toml') else options.source}")
    saved = folder / "checkpoint.pt"
    if saved.exists() and not options.resume:
        raise ValueError(f"{folder} holds a run already: continue it with --resume, or choose another folder with --out")
    if options.resume and not saved.exists():
        raise ValueError(f"there is no run to resume in {folder}: {saved.name} is not there")
    return folder, saved


def _check(checks: list[Any], *, silent: bool) -> None:
    for line in [] if silent else ["start-up checks", *(f"  {check}" for check in checks)]:
        print(line)
    if refused := [f"{check.name} is {check.value:.4g} and {check.advice}" for check in checks if check.verdict == "refuse"]:
        raise ValueError(f"refused to start: {'; '.join(refused)}")
