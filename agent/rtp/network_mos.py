"""What the network alone allows: the E-model's listening quality, ITU-T G.107 (narrow band), G.107.1 (wide band).

R = 93.2 - Id - Ie,eff with every other parameter at its default; Ie,eff = Ie + (95 - Ie) Ppl / (Ppl / BurstR + Bpl).
Wide band: the scale ends at 129 and R / 1.29 goes through the same curve. Loss counts after recovery (FEC, RED) and
together with what the listener's buffer discarded. An unknown codec has no network MOS: that of G.711 would be a guess.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import Enum

DEFAULT_R = 93.2
_WIDEBAND_SCALE = 1.29


class Standing(Enum):
    """What a codec's values rest on."""

    STANDARD = "standard"  # values of G.113
    ACADEMIC = "academic"  # measured and published, not in a Recommendation
    ASSUMED = "assumed"  # taken over from a related codec


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecImpairment:
    """ie: equipment impairment without loss; bpl: robustness to loss, both on the scale of R."""

    ie: float
    bpl: float
    wideband: bool
    standing: Standing
    source: str


_G711 = CodecImpairment(
    ie=0.0, bpl=25.1, wideband=False, standing=Standing.STANDARD, source="G.113 App. I, G.711 with App. I concealment"
)
IMPAIRMENTS: dict[str, CodecImpairment] = {
    "pcmu": _G711,
    "pcma": _G711,
    "l16/8000": CodecImpairment(
        ie=0.0, bpl=25.1, wideband=False, standing=Standing.ASSUMED, source="as G.711 with the same concealment"
    ),
    "l16": CodecImpairment(
        ie=0.0, bpl=25.1, wideband=True, standing=Standing.ASSUMED, source="reference of G.107.1, loss as G.711"
    ),
    "g722": CodecImpairment(
        ie=13.0, bpl=25.1, wideband=True, standing=Standing.ASSUMED, source="G.113 App. IV at 64 kbit/s, loss as G.711"
    ),
    "g729": CodecImpairment(
        ie=11.0, bpl=19.0, wideband=False, standing=Standing.STANDARD, source="G.113 App. I, G.729A with VAD"
    ),
    "opus": CodecImpairment(
        ie=10.67, bpl=9.79, wideband=True, standing=Standing.ACADEMIC, source="measured, 40 kbit/s VBR, random loss"
    ),
}


@functools.lru_cache(maxsize=256)
def impairment_of(codec: str) -> CodecImpairment | None:
    """`codec` as an rtpmap writes it ("PCMU/8000"); None when nothing is known of it."""
    name, _, rest = codec.lower().partition("/")
    return IMPAIRMENTS.get(f"{name}/{rest.partition('/')[0]}") or IMPAIRMENTS.get(name)


def effective_impairment(values: CodecImpairment, loss_ratio: float, burst_ratio: float = 1.0) -> float:
    """Ie,eff for a loss_ratio of 0 to 1. Raises ValueError outside."""
    if not 0.0 <= loss_ratio <= 1.0:
        raise ValueError(f"loss_ratio is 0 to 1, got {loss_ratio}")
    percent = 100.0 * loss_ratio
    return values.ie + (95.0 - values.ie) * percent / (percent / max(1.0, burst_ratio) + values.bpl)


def delay_impairment(one_way_seconds: float) -> float:
    """Idd of G.107 section 7.4 for the absolute delay, sensitivity at its default: 0 up to 100 ms."""
    if one_way_seconds <= 0.1:
        return 0.0
    x = math.log2(one_way_seconds / 0.1)
    return float(25.0 * ((1.0 + x**6) ** (1 / 6) - 3.0 * (1.0 + (x / 3.0) ** 6) ** (1 / 6) + 2.0))


def mos_of(r: float) -> float:
    """G.107 Annex B, held at 1 where its cubic dips below."""
    if r <= 0.0:
        return 1.0
    if r >= 100.0:
        return 4.5
    return max(1.0, 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r))


def r_of(mos: float) -> float:
    """The inverse of `mos_of` where it rises, for 1 to 4.5: Cardano's roots of its cubic (G.107 Appendix I)."""
    mos = min(max(mos, 1.0), 4.5)
    root = math.sqrt(-903_522.0 + 1_113_960.0 * mos - 202_500.0 * mos * mos)
    angle = math.atan2(15.0 * root, 18_566.0 - 6_750.0 * mos) / 3.0
    return 20.0 / 3.0 * (8.0 - math.sqrt(226.0) * math.cos(angle + math.pi / 3.0))


def on_scale_of(codec: str, signal_mos: float) -> float | None:
    """A MOS heard on the wide-band scale as a listener would give it who knows no more than the codec's band.

    The model hears every band; the network MOS of a narrow-band codec takes narrow band for granted. G.107.1 puts the
    two a factor of 1.29 in R apart. None for a codec without values.
    """
    values = impairment_of(codec)
    if values is None:
        return None
    return signal_mos if values.wideband else mos_of(min(100.0, r_of(signal_mos) * _WIDEBAND_SCALE))


def burst_ratio(lost_packets: int, bursts: int, loss_ratio: float) -> float:
    """Mean length of the observed bursts over that of random loss, 1 / (1 - Ppl); at least 1."""
    if not bursts:
        return 1.0
    return max(1.0, lost_packets / bursts * (1.0 - loss_ratio))


def network_mos(
    codec: str, *, loss_ratio: float, burst_ratio: float = 1.0, one_way_seconds: float | None = None
) -> float | None:
    """MOS-LQE; with a measured delay MOS-CQE. None for a codec without values."""
    values = impairment_of(codec)
    if values is None:
        return None
    delay = 0.0 if one_way_seconds is None else delay_impairment(one_way_seconds)
    base, scale = (129.0, _WIDEBAND_SCALE) if values.wideband else (DEFAULT_R, 1.0)
    return mos_of((base - delay - effective_impairment(values, loss_ratio, burst_ratio)) / scale)
