"""Damaged packets by the hundred thousand: nothing escapes, and a healthy stream beside them does not feel it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from livemos.agent.commands import receive_fuzz
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.timeline import MediaTimeline

ROUND_PACKETS = 25_000
FUZZ = Path(__file__).parents[2] / "deploy" / "fuzz"


def test_a_hundred_thousand_mutated_packets_leave_a_healthy_stream_as_it_was() -> None:
    """The short form of `python -m livemos.agent.commands.receive_fuzz`, whose long form takes ten million."""
    assert receive_fuzz.fuzz(100_000, seed=11, tell=False, round_packets=ROUND_PACKETS) == 0


def test_the_fuzz_notices_an_exception_that_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzz that swallows what it looks for finds nothing."""
    play = MediaTimeline.play

    def broken(self: MediaTimeline, *args: object, **named: object) -> object:
        if self.codec == "L16/16000":
            raise ValueError("a bug")
        return play(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(MediaTimeline, "play", broken)
    with pytest.raises(ValueError, match="a bug"):
        receive_fuzz.fuzz(ROUND_PACKETS, seed=11, tell=False, round_packets=ROUND_PACKETS)


def test_the_fuzz_notices_a_healthy_stream_that_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small cap of the port sheds packets of the healthy stream too: its segments differ, and the run says so."""
    monkeypatch.setattr(receive_fuzz, "CAPS", Caps(sources=256, packets_per_second=9_000))
    assert receive_fuzz.fuzz(ROUND_PACKETS, seed=11, tell=False, round_packets=ROUND_PACKETS) == 1
    assert "healthy stream changed" in capsys.readouterr().err


@pytest.mark.parametrize("seed", sorted((FUZZ / "corpus").iterdir()), ids=lambda seed: seed.name)
def test_the_seeds_of_the_coverage_guided_fuzz_run_through(seed: Path) -> None:
    """The harness is run by hand; here it is kept from rotting."""
    harness = runpy.run_path(str(FUZZ / "receive_path.py"))
    harness["run_one"](seed.read_bytes())
    assert dict(harness["corpus"]())[seed.name] == seed.read_bytes()
