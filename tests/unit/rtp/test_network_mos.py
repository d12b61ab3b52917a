"""The E-model against the numbers of the Recommendation and a table worked out by hand from its formulas."""

from __future__ import annotations

import pytest

from livemos.agent.rtp.network_mos import (
    DEFAULT_R,
    IMPAIRMENTS,
    CodecImpairment,
    Standing,
    burst_ratio,
    delay_impairment,
    effective_impairment,
    mos_of,
    network_mos,
    on_scale_of,
    r_of,
)


def test_the_default_of_the_recommendation_is_93_2_and_4_41() -> None:
    """G.107: all parameters at their defaults."""
    assert DEFAULT_R == 93.2
    assert mos_of(DEFAULT_R) == pytest.approx(4.41, abs=0.005)
    assert network_mos("PCMU/8000", loss_ratio=0.0) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("percent", "burst", "bpl", "impairment", "mos"),
    [
        (1, 1, 4.3, 17.92, 3.83),
        (1, 1, 25.1, 3.64, 4.33),
        (3, 1, 25.1, 10.14, 4.13),
        (3, 2.91, 25.1, 10.91, 4.11),
        (5, 1, 4.3, 51.08, 2.17),
        (10, 1, 25.1, 27.07, 3.41),
    ],
)
def test_loss_and_its_bursts_cost_what_the_formula_says(
    percent: float, burst: float, bpl: float, impairment: float, mos: float
) -> None:
    """Ie,eff = 95 p / (p / BurstR + Bpl), worked out by hand."""
    values = CodecImpairment(ie=0.0, bpl=bpl, wideband=False, standing=Standing.STANDARD, source="")
    effective = effective_impairment(values, percent / 100, burst)
    assert effective == pytest.approx(impairment, abs=0.005)
    assert mos_of(DEFAULT_R - effective) == pytest.approx(mos, abs=0.01)


@pytest.mark.parametrize(("delay", "impairment", "mos"), [(0.2, 3.04, 4.34), (0.3, 14.76, 3.96), (0.4, 24.07, 3.56)])
def test_delay_costs_only_beyond_100_ms(delay: float, impairment: float, mos: float) -> None:
    """Idd of G.107; listening quality leaves it out."""
    assert delay_impairment(0.1) == 0
    assert delay_impairment(delay) == pytest.approx(impairment, abs=0.01)
    assert network_mos("PCMA/8000", loss_ratio=0, one_way_seconds=delay) == pytest.approx(mos, abs=0.01)


def test_the_curve_never_falls_below_one() -> None:
    """The cubic dips under 1 for R between 0 and 6.5."""
    assert min(mos_of(r / 10) for r in range(-50, 1_200)) == 1.0
    assert mos_of(100) == 4.5


@pytest.mark.parametrize("codec", ["PCMU/8000", "PCMA/8000", "L16/8000", "L16/16000/2", "G722/8000", "opus/48000/2"])
def test_every_codec_has_values_with_their_source_and_gets_worse_with_loss(codec: str) -> None:
    """Four codecs scored as G.711 would be three wrong numbers."""
    clean, lossy = network_mos(codec, loss_ratio=0.0), network_mos(codec, loss_ratio=0.05)
    assert clean is not None and lossy is not None
    assert 1 < lossy < clean <= 4.5
    assert all(values.source for values in IMPAIRMENTS.values())


def test_an_unknown_codec_has_no_network_mos() -> None:
    """Absent is absent: no codec is scored as if it were G.711."""
    assert network_mos("SILK/16000", loss_ratio=0.0) is None


def test_bursts_are_measured_against_random_loss() -> None:
    """9 lost in 3 bursts at 3 %: 3 * 0.97 = 2.91, the row of the table."""
    assert burst_ratio(9, 3, 0.03) == pytest.approx(2.91)
    assert burst_ratio(3, 3, 0.03) == 1.0
    assert burst_ratio(0, 0, 0.0) == 1.0


def test_a_signal_mos_is_put_on_the_scale_of_its_codec() -> None:
    """R 72.25 of the wide-band scale is 93.2 of the narrow-band one: clean G.711 heard by someone who knows G.722."""
    for r in (10.0, 40.0, 72.25, 95.0):
        assert r_of(mos_of(r)) == pytest.approx(r, abs=1e-6)
    assert on_scale_of("PCMU/8000", mos_of(93.2 / 1.29)) == pytest.approx(mos_of(93.2))
    assert on_scale_of("G722/8000", 2.9) == 2.9
    assert on_scale_of("AMR/8000", 2.9) is None
