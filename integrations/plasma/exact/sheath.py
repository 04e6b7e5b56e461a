"""The potential between a plasma and a floating wall."""

from __future__ import annotations

import math

from disco_samplers.arrays import check_positive

_DAWSON = 0.5410442246351817
"""The largest value of Dawson's function, which it has at 0.9241388730."""


def sheath_drop(mass_ratio: float) -> float:
    r"""From the edge of the sheath to a floating wall, in electron temperatures, with cold ions.

    .. math:: \frac{e\,\Delta\phi}{T_e} = \ln \sqrt{\frac{m_i}{2\pi m_e}}

    Ions enter the sheath at the sound speed :math:`\sqrt{T_e/m_i}` (Bohm), and the wall takes as many electrons, the
    :math:`n \sqrt{T_e/2\pi m_e}\,e^{-e\Delta\phi/T_e}` of a Maxwellian's flux that can climb to it. Only ions of charge one.

    Arguments:
        mass_ratio: of ion and electron.

    References:
        Bohm, in Guthrie and Wakerling, The Characteristics of Electrical Discharges in Magnetic Fields (1949); Stangeby, The
        Plasma Boundary of Magnetic Fusion Devices (2000), section 2.6.

    Example:
        >>> round(sheath_drop(1836.0), 2)
        2.84
    """
    check_positive("mass_ratio", mass_ratio)
    return 0.5 * math.log(mass_ratio / (2 * math.pi))


def floating_drop(mass_ratio: float) -> float:
    r"""From the middle of a plasma, far wider than a Debye length, to its floating walls, in electron temperatures.

    .. math:: \frac{e\,\Delta\phi}{T_e} = \ln \sqrt{\frac{m_i}{m_e}} - \ln \frac{4 D}{\sqrt\pi}, \qquad D = \max_x D(x) = 0.5410

    with Dawson's function D(x). Electrons are Maxwellian, :math:`n = n_0 e^{e\phi/T_e}`; ions of charge one are born at rest
    anywhere and fall freely. Quasi-neutrality, an equation of Abel's, says for any profile of the source that the
    potential falls by :math:`0.854\,T_e/e` to the edge of the sheath and that ions leave at the rate :math:`n_0
    \sqrt{2T_e/m_i}\,2D/\pi`; as many electrons must reach the wall.

    Arguments:
        mass_ratio: of ion and electron.

    References:
        Tonks and Langmuir, Phys. Rev. 34 (1929) 876; Harrison and Thompson, Proc. Phys. Soc. 74 (1959) 145.

    Example:
        >>> round(floating_drop(100.0), 3)
        2.103
    """
    check_positive("mass_ratio", mass_ratio)
    return 0.5 * math.log(mass_ratio) - math.log(4 * _DAWSON / math.sqrt(math.pi))
