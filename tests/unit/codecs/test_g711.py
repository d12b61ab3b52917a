"""G.711 against FFmpeg's tables and the law's own arithmetic."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
import pytest

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.codecs.g711 import A_LAW_CODES, A_LAW_VALUES, MU_LAW_CODES, MU_LAW_VALUES
from livemos.agent.errors import CodecError


@pytest.mark.parametrize(("encoding", "ffmpeg_name"), [("PCMU/8000", "pcm_mulaw"), ("PCMA/8000", "pcm_alaw")])
def test_every_code_decodes_as_ffmpeg_decodes_it(encoding: str, ffmpeg_name: str) -> None:
    """An independent decoder is the only proof against a law that is wrong in both directions."""
    codes = bytes(range(256))
    context = av.CodecContext.create(ffmpeg_name, "r")
    context.sample_rate, context.layout = 8_000, "mono"
    (frame,) = context.decode(av.Packet(codes))
    expected = frame.to_ndarray().ravel().astype(np.float32) / 32768
    np.testing.assert_array_equal(make_decoder(encoding).decode(codes), expected)


@pytest.mark.parametrize(("values", "codes"), [(MU_LAW_VALUES, MU_LAW_CODES), (A_LAW_VALUES, A_LAW_CODES)])
def test_coding_errs_by_at_most_half_a_step(values: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> None:
    """A decision threshold off by one would add noise that the score blames on the line."""
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float64)
    error = np.abs(values[codes] * 32768.0 - linear)
    # a step is a sixteenth of its segment's lower end; mu-law's segments begin 132 lower, A-law's first step is 16
    assert np.all(error <= np.maximum(8.0, (np.abs(linear) + 132.0) / 32.0))


@pytest.mark.parametrize(("values", "codes"), [(MU_LAW_VALUES, MU_LAW_CODES), (A_LAW_VALUES, A_LAW_CODES)])
def test_coding_a_decoded_value_gives_it_again(values: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> None:
    """Two transcodings in a row, as bridges do them, add no second error."""
    again = values[codes[(values * 32768).astype(np.int16).view(np.uint16)]]
    np.testing.assert_array_equal(again, values)


def test_loud_samples_are_clipped_and_not_wrapped() -> None:
    """Wrapping turns one clipped peak into a click of full scale."""
    played = make_decoder("PCMU/8000").decode(
        make_encoder("PCMU/8000").encode(np.array([2.0, -2.0, np.nan], np.float32))
    )
    assert played[0] > 0.97
    assert played[1] < -0.97
    assert abs(played[2]) < 0.001


def test_an_empty_payload_is_refused() -> None:
    """The session counts it as a missing packet; zero samples would let the media clock stand still."""
    with pytest.raises(CodecError, match="at least one byte"):
        make_decoder("PCMA/8000").decode(b"")
