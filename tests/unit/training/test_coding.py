"""Codecs beside the agent's own: real encoders, and one clear error where there is none."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from livemos.agent.errors import CodecError
from livemos.training.damages.coding import ENCODERS, draw_coded, encoded
from livemos.training.levels import active_level_dbov, frame_power


@pytest.mark.parametrize("codec", sorted(ENCODERS))
def test_speech_passes_in_time(codec: str, speech: np.ndarray) -> None:
    """A codec's delay is no damage, and a window's truth must fit what is heard in it."""
    if ENCODERS[codec].program and shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is not installed")
    heard = encoded(speech, codec, ENCODERS[codec].bitrates_bps[0])
    assert heard.shape == speech.shape
    assert not np.array_equal(heard, speech)
    if ENCODERS[codec].modes:
        return  # keeps no waveform; see test_a_codec_without_a_waveform_is_in_time
    assert np.corrcoef(heard, speech)[0, 1] > 0.6
    power = np.square(heard).mean() / np.square(speech).mean()
    assert 0.3 < power < 2.0


@pytest.mark.parametrize("bitrate_bps", ENCODERS["codec2"].bitrates_bps)
def test_a_codec_without_a_waveform_is_in_time(bitrate_bps: int, speech: np.ndarray) -> None:
    """Each mode has a delay of its own, which no correlation of waveforms finds; the level is made good."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is not installed")
    heard = encoded(speech, "codec2", bitrate_bps)
    assert heard.shape == speech.shape
    assert active_level_dbov(heard) == pytest.approx(active_level_dbov(speech), abs=0.3)
    loudness = [np.log(frame_power(each) + 1e-6) for each in (heard, speech)]
    shifted = [np.corrcoef(np.roll(loudness[0], -late), loudness[1])[0, 1] for late in range(-6, 7)]
    assert abs(int(np.argmax(shifted)) - 6) <= 1  # frames of 10 ms


def test_severity_walks_down_the_bit_rates() -> None:
    """Labels along a codec's ladder can only fall if the rate does."""
    rates = [draw_coded("amr-nb", severity).bitrate_bps for severity in (0.0, 0.5, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 12_200 and rates[-1] == 4_750


def test_a_codec_without_an_encoder_is_named(speech: np.ndarray) -> None:
    """Nobody should read FFmpeg's numbers to learn that AMR-WB cannot be encoded here."""
    with pytest.raises(CodecError, match='no encoder is known for "amr-wb"; choose one of g726'):
        encoded(speech, "amr-wb", 12_650)


def test_a_missing_program_is_named(speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two held-out codecs need the ffmpeg of the distribution."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CodecError, match=r"libspeex needs the program ffmpeg; install it"):
        encoded(speech, "speex", 20_000)
