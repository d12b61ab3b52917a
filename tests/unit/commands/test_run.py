"""What `livemos run` makes of its flags, and says of its addresses; the rest of it is in test_commands.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.testing

from livemos.agent.commands.config import app as config

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LIVEMOS_")}


def first_line(*flags: str) -> str:
    """What a run says when it listens, or why it does not; it is ended then."""
    command = [sys.executable, "-m", "livemos.agent", "run", "--engine", "constant", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT) as run:
        assert run.stderr is not None
        line = run.stderr.readline()
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=15)
    return line


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only 127.0.0.1 is an address of the machine")
def test_one_port_on_two_addresses_is_two_sources() -> None:
    """Two networks, one port: the usual way to listen to both sides of a border controller."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = [word for host in ("127.0.0.1", "127.0.0.2") for word in ("--rtp", f"{host}:{port}")]
    line = first_line(*flags, "--rtp", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert f"listening to rtp-{port}, rtp-{port}-2, rtp-0; gRPC on 127.0.0.1:" in line


def test_an_address_of_ipv6_is_printed_as_it_must_be_written(tmp_path: Path) -> None:
    """The line is copied into `livemos watch`, which cannot tell the port of ::1:50561."""
    file = tmp_path / "agent.toml"
    file.write_text('[grpc]\nhost = "::1"\nport = 4242\n')
    assert "gRPC on [::1]:4242" in typer.testing.CliRunner().invoke(config, ["check", str(file)]).output
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert "gRPC on [::1]:" in first_line("--rtp", "127.0.0.1:0", "--grpc", "[::1]:0")
