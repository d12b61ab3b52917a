"""Programs that are not ours, a clip for them to send, and the sink that remembers what arrived."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

TESTS = Path(__file__).parents[1]


def _recording_sink() -> Any:
    """The class of the sources' own tests: importlib mode knows no imports between test folders."""
    spec = importlib.util.spec_from_file_location("recording", TESTS / "unit" / "sources" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RecordingSink()


@pytest.fixture
def sink() -> Any:
    """See tests/unit/sources/conftest.py."""
    return _recording_sink()


@pytest.fixture
def require() -> Callable[..., None]:
    """require("ffmpeg", ...): skip with the reason when one is missing, or fail where LIVEMOS_REQUIRE_SENDERS=1."""

    def check(*programs: str) -> None:
        missing = [program for program in programs if shutil.which(program) is None]
        if not missing:
            return
        reason = f"{', '.join(missing)} not installed; tests/integration/senders.sh installs it"
        if os.environ.get("LIVEMOS_REQUIRE_SENDERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return check


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """3 s of packaged clean speech as a 16 kHz mono WAV."""
    packaged = sorted((TESTS / "data" / "clean").glob("*.flac"))[0]
    samples, rate = soundfile.read(packaged, dtype="float32", stop=3 * soundfile.info(packaged).samplerate)
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
