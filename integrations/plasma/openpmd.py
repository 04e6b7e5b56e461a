"""Particles and fields as openPMD files (HDF5), one an output."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

import disco_samplers
from disco_samplers.arrays import check_count
from disco_samplers.extras import optional

from .shapes import ORDERS

if TYPE_CHECKING:
    from .simulation import Simulation
    from .types import Species
    from .walls import Walls

_AXES = "xyz"
_RETURNED = {"absorbing": "absorbing", "reflecting": "reflecting", "thermal": "reinjecting"}
"""Walls in the standard's words."""


class OpenPMDWriter:
    """An observer of a run that writes openPMD files with the extension for particle-in-cell codes.

    Meshes: E (of as many components as there are), B (y and z, electromagnetic) and rho. Species: position, positionOffset,
    momentum (of one physical particle), weighting, charge and mass. Numbers are in the units of the simulation, so unitSI is
    one. An iteration is a file of its own, and takes its name when it is whole.

    Arguments:
        folder: for the files, data_000000.h5 and so on by step; made if it is not there.
        every: steps between two files.
        author: who ran the simulation, as the standard wants to know it.

    Raises:
        TypeError: if ``every`` is not an integer.
        ValueError: if it is not positive.
        ImportError: if openpmd-api is not installed, or without HDF5.
        OSError: if the folder cannot be made.

    References:
        Huebl et al., openPMD 1.1.0: a meta data standard for particle and mesh based data, with extension ED-PIC,
        https://doi.org/10.5281/zenodo.591699.

    Example:
        >>> import tempfile
        >>> from disco_samplers.integrations.plasma import Beam, Grid, Simulation, load
        >>> grid = Grid(6.0, 8)
        >>> run = Simulation(grid, [load(grid, [Beam()], 100)], dt=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = run.run(2, observers=[OpenPMDWriter(folder, every=2)], progress=False)
        ...     print(sorted(os.listdir(folder)))
        ['data_000000.h5', 'data_000002.h5']
    """

    def __init__(self, folder: str | os.PathLike[str], every: int, *, author: str = "unknown") -> None:
        check_count("every", every, 1)
        self.author = author
        self.api, self.folder, self.every = optional("openpmd_api", "plasma"), Path(folder), every
        if not self.api.variants.get("hdf5"):
            raise ImportError("this openpmd_api was built without HDF5: install a wheel that has it")
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, simulation: Simulation) -> None:
        """Writes the state if its step is due."""
        if simulation.state.step % self.every:
            return
        api, state, fields = self.api, simulation.state, simulation.fields
        unfinished = self.folder / ".unfinished"
        series = api.Series(str(unfinished / "data_%06T.h5"), api.Access.create)
        series.set_openPMD_extension(1)
        series.set_author(self.author)
        series.set_software("disco-samplers", disco_samplers.__version__)
        iteration = series.iterations[state.step]
        iteration.time, iteration.dt, iteration.time_unit_SI = simulation.time, simulation.dt, 1.0
        meshes = iteration.meshes
        meshes.set_attribute("fieldSolver", "Yee" if state.magnetic is not None else "other")
        method = "summing up the charge from the left wall" if fields.walls else "Fourier transform"
        meshes.set_attribute("fieldSolverParameters", f"longitudinal field: Poisson's equation by {method}")
        self._boundaries(meshes, fields.walls)
        meshes.set_attribute("currentSmoothing", "none")
        meshes.set_attribute("chargeCorrection", "spectral")
        meshes.set_attribute("chargeCorrectionParameters", "at every step: the longitudinal field is that of the charges")
        unit = api.Unit_Dimension
        volt_per_metre = {unit.L: 1.0, unit.M: 1.0, unit.T: -3.0, unit.I: -1.0}
        electric = {axis: (column, 0.0) for axis, column in zip(_AXES, state.electric.T, strict=False)}
        self._mesh(simulation, meshes["E"], electric, volt_per_metre)
        if state.magnetic is not None:
            magnetic = {"z": (state.magnetic[:, 0], 0.5), "y": (state.magnetic[:, 1], 0.5)}
            self._mesh(simulation, meshes["B"], magnetic, {unit.M: 1.0, unit.T: -2.0, unit.I: -1.0})
        charge = {api.Mesh_Record_Component.SCALAR: (fields.charge_density(state.species), 0.0)}
        self._mesh(simulation, meshes["rho"], charge, {unit.L: -3.0, unit.T: 1.0, unit.I: 1.0})
        for s in state.species:
            self._species(iteration.particles[s.name], s, ORDERS[fields.shape], simulation.grid.length)
        iteration.close()
        series.close()
        name = f"data_{state.step:06d}.h5"
        os.replace(unfinished / name, self.folder / name)
        shutil.rmtree(unfinished)

    def _boundaries(self, meshes: Any, walls: Walls | None) -> None:
        if walls is None:
            meshes.set_attribute("fieldBoundary", ["periodic"] * 2)
            meshes.set_attribute("particleBoundary", ["periodic"] * 2)
            return
        fixed = "floating: the field is the charge that the wall took"
        if walls.bias is not None:
            fixed = f"conductors joined by a circuit: potential {walls.bias:g} from left to right"
        meshes.set_attribute("fieldBoundary", ["other"] * 2)
        meshes.set_attribute("fieldBoundaryParameters", [fixed] * 2)
        meshes.set_attribute("particleBoundary", [_RETURNED[walls.left], _RETURNED[walls.right]])
        meshes.set_attribute("particleBoundaryParameters", [walls.left, walls.right])

    def _mesh(
        self, simulation: Simulation, mesh: Any, components: dict[str, tuple[Tensor, float]], dimension: dict[Any, float]
    ) -> None:
        mesh.geometry = self.api.Geometry.cartesian
        mesh.axis_labels, mesh.grid_spacing, mesh.grid_global_offset = ["x"], [simulation.grid.dx], [0.0]
        mesh.grid_unit_SI, mesh.unit_dimension, mesh.time_offset = 1.0, dimension, 0.0
        mesh.set_attribute("fieldSmoothing", "none")
        for name, (values, place) in components.items():
            component = mesh[name]
            self._store(component, values)
            component.position = [place]

    def _species(self, particles: Any, s: Species, order: int, length: float) -> None:
        unit, scalar = self.api.Unit_Dimension, self.api.Record_Component.SCALAR
        n = len(s.x)
        particles.set_attribute("particleShape", float(order))
        particles.set_attribute("currentDeposition", "directMorseNielson")
        particles.set_attribute("particlePush", "Boris")
        particles.set_attribute("particleInterpolation", "momentumConserving")
        particles.set_attribute("particleSmoothing", "none")
        velocity = {unit.L: 1.0, unit.M: 1.0, unit.T: -1.0}
        records: list[tuple[str, dict[str, Tensor | float], dict[Any, float], int, float]] = [
            ("position", {"x": s.x}, {unit.L: 1.0}, 0, 0.0),
            ("positionOffset", {"x": 0.0}, {unit.L: 1.0}, 0, 0.0),
            ("momentum", {_AXES[i]: s.mass * column for i, column in enumerate(s.v.T)}, velocity, 0, 1.0),
            ("weighting", {scalar: s.w}, {}, 1, 1.0),
            ("charge", {scalar: s.charge}, {unit.T: 1.0, unit.I: 1.0}, 0, 1.0),
            ("mass", {scalar: s.mass}, {unit.M: 1.0}, 0, 1.0),
        ]
        for name, components, dimension, macro, power in records:
            record = particles[name]
            record.unit_dimension, record.time_offset = dimension, 0.0
            record.set_attribute("macroWeighted", np.uint32(macro))
            record.set_attribute("weightingPower", power)
            for axis, values in components.items():
                if isinstance(values, Tensor):
                    self._store(record[axis], values)
                else:
                    record[axis].reset_dataset(self.api.Dataset(np.dtype("float64"), [n]))
                    record[axis].make_constant(values)

        # All particles are one patch, that of the whole grid.
        patch: list[tuple[str, str, str, float]] = [
            ("numParticles", scalar, "uint64", n),
            ("numParticlesOffset", scalar, "uint64", 0),
            ("offset", "x", "float64", 0.0),
            ("extent", "x", "float64", length),
        ]
        for name, axis, kind, value in patch:
            component = particles.particle_patches[name][axis]
            component.reset_dataset(self.api.Dataset(np.dtype(kind), [1]))
            component.store(0, np.dtype(kind).type(value))

    def _store(self, component: Any, values: Tensor) -> None:
        array = np.ascontiguousarray(values.detach().cpu().numpy())
        component.unit_SI = 1.0
        component.reset_dataset(self.api.Dataset(array.dtype, array.shape))
        component[:] = array
