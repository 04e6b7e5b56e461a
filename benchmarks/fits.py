"""Curves fitted to what runs give."""

from __future__ import annotations

import numpy as np
from scipy.optimize import curve_fit


def damped(time: np.ndarray, amplitude: np.ndarray, after: float, heat: bool = False) -> tuple[float, float]:
    """Rate and frequency of a damped oscillation, by least squares; with collisions beside heat that only decays."""
    keep = time > after
    time, amplitude = time[keep], amplitude[keep] / np.abs(amplitude).max()

    def wave(t, size, rate, frequency, phase):
        return size * np.exp(rate * t) * np.cos(frequency * t + phase)

    def both(t, *parameters):
        return wave(t, *parameters[:4]) + parameters[4] * np.exp(-parameters[5] * t)

    start = [1.0, -0.1, 1.3, 0.0]
    if heat:
        bounds = [[-np.inf] * 5 + [0.1], [np.inf] * 5 + [2.0]]
        found, _ = curve_fit(both, time, amplitude, p0=[*start, 0.1, 0.5], bounds=bounds)
    else:
        found, _ = curve_fit(wave, time, amplitude, p0=start)
    return found[1], abs(found[2])
