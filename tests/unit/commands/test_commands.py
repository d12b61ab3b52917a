"""The command line as a user meets it: real processes, exit codes, no traceback for a user's mistake."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parent.parent.parent / "data"
CLEAN = DATA / "clean" / "en-ls7505.flac"
SCORE_HEADER = (
    "file,seconds,speech_seconds,sample_rate_hz,mos,mos_std,noisiness,coloration,discontinuity,loudness,reason,model_id,"
    "cause,cause_probability,snr_db"
)


def livemos(*arguments: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, without the tester's own settings."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LIVEMOS_")}
    ran = subprocess.run(
        [sys.executable, "-m", "livemos.agent", *map(str, arguments)],
        capture_output=True,
        input=stdin,
        env=environment,
        timeout=50,
        check=False,
    )
    done = subprocess.CompletedProcess(ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode())
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _rows(ran: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(ran.stdout.splitlines()))


def _write(folder: Path, name: str, samples: np.ndarray, rate: int = 16_000) -> Path:
    file = folder / name
    soundfile.write(file, samples, rate, subtype="FLOAT" if name.endswith("wav") else None)
    return file


def test_score_prints_the_promised_columns_when_piped(tmp_path: Path) -> None:
    """Scripts read these columns; their names and order are a promise."""
    ran = livemos("score", CLEAN)
    assert ran.stdout.splitlines()[0] == SCORE_HEADER
    (row,) = _rows(ran)
    assert 3.0 < float(row["mos"]) <= 5.0
    assert row["reason"] == ""
    assert float(row["seconds"]) == pytest.approx(9.88)
    assert ran.returncode == 0


def test_score_segments_have_a_row_each_with_its_start() -> None:
    """JSON lines for programs: numbers stay numbers, unset is null."""
    ran = livemos("score", "--segments", "--format", "jsonl", CLEAN)
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [row["start_seconds"] for row in rows] == [0.5 * k for k in range(len(rows))]
    assert len(rows) == 18
    assert list(rows[0])[:3] == ["file", "start_seconds", "seconds"]
    assert all(row["mos"] is None or isinstance(row["mos"], float) for row in rows)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`livemos score --segments ... | head -n 1` ends quietly with exit code 0."""
    command = [sys.executable, "-m", "livemos.agent", "score", "--segments", str(CLEAN), str(CLEAN)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().decode().startswith("file,start_seconds")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(40) == 0


def _silence(folder: Path) -> Path:
    return _write(folder, "a.wav", np.zeros(32_000, np.float32))


def _constant(folder: Path) -> Path:
    return _write(folder, "a.wav", np.full(32_000, 0.3, np.float32))


def _not_a_number(folder: Path) -> Path:
    return _write(folder, "a.wav", np.full(32_000, np.nan, np.float32))


def _short(folder: Path) -> Path:
    return _write(folder, "a.wav", np.random.default_rng(0).normal(0, 0.1, 3_200).astype(np.float32))


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_silence, "silence"), (_constant, "bad_audio"), (_not_a_number, "bad_audio"), (_short, "too_short")],
)
def test_audio_without_a_score_says_why(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    """An empty mos with a reason, exit code 0: the file was read, there is nothing to rate."""
    ran = livemos("score", make(tmp_path))
    (row,) = _rows(ran)
    assert (row["mos"], row["reason"], ran.returncode) == ("", reason, 0)


@pytest.mark.parametrize("content", [b"", b"this is a letter to my landlord\n" * 10], ids=["empty", "text"])
def test_a_file_that_is_no_audio_is_one_clear_line_and_the_others_are_scored(tmp_path: Path, content: bytes) -> None:
    """Bad input gets a clear error and loses nothing."""
    bad = tmp_path / "letter.wav"
    bad.write_bytes(content)
    ran = livemos("score", bad, CLEAN)
    assert len(_rows(ran)) == 1
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert "letter.wav" in ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_batch_goes_on_behind_every_kind_of_unreadable_file(tmp_path: Path) -> None:
    """One odd file in a night's folder must not cost the rest of it."""
    slow = _write(tmp_path, "slow.wav", np.zeros(500, np.float32), rate=500)
    latin = _silence(tmp_path).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    ran = livemos("score", "x" * 300 + ".wav", slow, latin, CLEAN)
    assert [row["file"] for row in _rows(ran)] == [f"{tmp_path}/caf\\xe9.wav", str(CLEAN)]
    assert len(ran.stderr.splitlines()) == 2
    assert ran.returncode == 2


def test_fail_below_turns_a_low_or_missing_score_into_exit_code_1(tmp_path: Path) -> None:
    """For use in a release check of somebody's voice pipeline."""
    assert livemos("score", "--fail-below", "1.5", CLEAN).returncode == 0
    assert livemos("score", "--fail-below", "4.99", CLEAN).returncode == 1
    assert livemos("score", "--fail-below", "1.5", _silence(tmp_path)).returncode == 1


def test_raw_pcm_on_standard_input_is_scored_and_the_agent_ends_with_the_pipe() -> None:
    """`... | livemos run --stdin` in a shell pipeline."""
    samples, _ = soundfile.read(CLEAN, dtype="int16")
    ran = livemos("run", "--stdin", "--grpc", "127.0.0.1:0", stdin=samples.tobytes())
    assert ran.returncode == 0
    assert "listening to stdin" in ran.stderr


def test_a_capture_that_is_damaged_ends_the_agent_with_exit_code_2(tmp_path: Path) -> None:
    """A nightly replay must not look whole when the half of it could not be read."""
    path = tmp_path / "call.pcap"
    # a pcap head, and a record longer than any that is written
    path.write_bytes(
        bytes.fromhex("d4c3b2a1 02000400 0000000000000000 ffff0000 01000000") + b"\x00" * 16 + b"\xff" * 99
    )
    ran = livemos("run", "--pcap", path, "--grpc", "127.0.0.1:0")
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 2  # beside the line that says what it listens to
    assert "call.pcap: a record of 4294967295 bytes cannot be; the file is damaged" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "nothing to listen to"),
        (("run", "--grpc", "here"), "--grpc here: give HOST:PORT"),
        (("run", "--rtp", "5004", "--payload-type", "opus"), "--payload-type opus"),
        (("run", "--file", "nowhere.wav"), "nowhere.wav"),
        (("run", "--config", "nowhere.toml"), "nowhere.toml: not found"),
        (("run", "--engine", "warp", "--stdin"), "'warp' is unknown"),
        (("run", "--bundle", "nowhere.livemos", "--stdin"), "nowhere.livemos: not found"),
        (("score", "nowhere.wav"), "nowhere.wav"),
        (("bench", "rtp", "--codec", "flac"), "--codec flac"),
        (("nonsense",), "nonsense"),
    ],
)
def test_a_mistake_is_exit_code_2_and_says_what_was_wrong(arguments: tuple[str, ...], said: str) -> None:
    """No traceback for a user's mistake."""
    ran = livemos(*arguments)
    assert ran.returncode == 2
    assert said in ran.stderr


@pytest.mark.parametrize("flag", ["--rtp", "--grpc", "--metrics"])
def test_a_port_in_use_is_named(flag: str) -> None:
    """Two agents on one port must not share its packets or calls by accident."""
    kind = socket.SOCK_DGRAM if flag == "--rtp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen(1)
        port = taken.getsockname()[1]
        grpc = () if flag == "--grpc" else ("--grpc", "127.0.0.1:0")
        source = () if flag == "--rtp" else ("--rtp", "127.0.0.1:0")
        ran = livemos("run", flag, f"127.0.0.1:{port}", *grpc, *source)
    assert ran.returncode == 2
    assert str(port) in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_config_check_and_show_say_what_is_in_force_and_where_from(tmp_path: Path) -> None:
    """The first thing to look at when an agent does not do what its file seems to say."""
    file = tmp_path / "agent.toml"
    file.write_text('[grpc]\nport = 4242\n[[sources]]\ntype = "rtp"\nname = "bridge"\nport = 5004\n')
    checked = livemos("config", "check", file)
    assert (checked.returncode, "valid, 1 source" in checked.stdout) == (0, True)
    shown = {row["setting"]: row for row in _rows(livemos("config", "show", "--config", file))}
    assert shown["grpc.port"] == {"setting": "grpc.port", "value": "4242", "origin": str(file)}
    file.write_text("[grpc]\nprot = 1\n")
    wrong = livemos("config", "check", file)
    assert (wrong.returncode, "did you mean 'port'" in wrong.stderr) == (2, True)
