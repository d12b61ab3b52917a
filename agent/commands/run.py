"""`livemos run`: the agent, from settings and flags, until it is told to stop or its files have ended."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from livemos.agent.commands.options import BundleOption
from livemos.agent.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    config: Annotated[Path | None, typer.Option("--config", help="Settings, TOML; default: $LIVEMOS_CONFIG.")] = None,
    rtp: Annotated[
        list[str] | None, typer.Option("--rtp", metavar="[HOST:]PORT", help="Listen for RTP on a UDP port.")
    ] = None,
    payload_type: Annotated[
        list[str] | None,
        typer.Option("--payload-type", metavar="PT=ENCODING", help="For --rtp and --pcap, e.g. 111=opus/48000/2."),
    ] = None,
    sdp: Annotated[Path | None, typer.Option("--sdp", help="Session description for every --rtp and --pcap.")] = None,
    microphone: Annotated[
        list[str] | None, typer.Option("--microphone", metavar="DEVICE", help="Listen to a device; `default` for that.")
    ] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", help="Play a file or folder as if live.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Files as fast as they can be scored.")] = False,
    pcap: Annotated[
        list[Path] | None, typer.Option("--pcap", help="Replay a capture (pcap, pcapng), faster than real time.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Raw PCM on standard input.")] = False,
    stdin_rate_hz: Annotated[int, typer.Option("--stdin-rate-hz", help="Rate of that PCM.")] = 16_000,
    stdin_channels: Annotated[int, typer.Option("--stdin-channels", help="Channels of that PCM.")] = 1,
    stdin_format: Annotated[str, typer.Option("--stdin-format", help="s16le or f32le.")] = "s16le",
    grpc: Annotated[str | None, typer.Option("--grpc", metavar="HOST:PORT", help="Where subscribers connect.")] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Prometheus endpoint.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Engine by name.")] = None,
    bundle: BundleOption = None,
) -> None:
    """Run the agent: every source's scores stream to gRPC subscribers (`livemos watch HOST:PORT`).

    Settings: defaults < TOML file < LIVEMOS_* environment < these flags. Ends by itself only when all its sources are
    files or standard input and have ended. SIGINT and SIGTERM end it in order. Exit codes: 0 fine, 2 a mistake of use,
    or a source that could not be read to its end.
    """
    from livemos.agent.settings import load_settings

    sources: list[dict[str, Any]] = []
    payload_types = dict(parse_payload_type(text) for text in payload_type or [])
    for text in rtp or []:
        host, port = _address(text, "--rtp", default_host="0.0.0.0")
        before = sum(other["port"] == port for other in sources)  # on another address, or any free port once more
        name = f"rtp-{port}-{before + 1}" if before else f"rtp-{port}"
        source: dict[str, Any] = {"type": "rtp", "name": name, "host": host, "port": port}
        sources.append({**source, "payload_types": payload_types, "sdp": sdp})
    for index, device in enumerate(microphone or [], 1):
        name = "microphone" if index == 1 else f"microphone-{index}"
        sources.append({"type": "microphone", "name": name, "device": None if device == "default" else device})
    for index, path in enumerate(file or [], 1):
        name = "file" if index == 1 else f"file-{index}"
        sources.append({"type": "file", "name": name, "path": path, "pace": "fast" if fast else "live"})
    for index, path in enumerate(pcap or [], 1):
        name = "pcap" if index == 1 else f"pcap-{index}"
        sources.append({"type": "pcap", "name": name, "path": path, "payload_types": payload_types, "sdp": sdp})
    if stdin:
        pcm = {"sample_rate_hz": stdin_rate_hz, "channels": stdin_channels, "sample_format": stdin_format}
        sources.append({"type": "stdin", "name": "stdin", **pcm})
    flags: dict[str, Any] = {}
    if sources:
        flags["sources"] = sources
    if grpc is not None:
        flags["grpc"] = dict(zip(("host", "port"), _address(grpc, "--grpc", default_host="127.0.0.1"), strict=True))
    if metrics is not None:
        flags["metrics"] = dict(
            zip(("host", "port"), _address(metrics, "--metrics", default_host="127.0.0.1"), strict=True)
        )
    chosen = {key: value for key, value in (("name", engine), ("bundle", bundle)) if value is not None}
    if chosen:
        flags["engine"] = chosen
    settings = load_settings(config, flags=flags).settings
    if not settings.sources:
        raise ConfigError(
            "nothing to listen to: give --rtp PORT, --microphone default, --file PATH, --pcap PATH, --stdin or "
            "--config FILE"
        )
    _serve(settings)


def _serve(settings: Any) -> None:
    from livemos.agent.daemon import Agent
    from livemos.agent.rtp.addresses import Transport

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    agent = Agent(settings)
    agent.start()
    try:
        names = ", ".join(source.name for source in agent.sources)
        print(
            f"livemos: {agent.model.model_id} on {agent.model.engine}; listening to {names}; "
            f"gRPC on {Transport(settings.grpc.host, agent.grpc_port)}",
            file=sys.stderr,
            flush=True,
        )
        while not stop.wait(0.2) and not agent.wait(0):
            pass
    finally:
        agent.stop()
    if agent.failed:
        raise typer.Exit(2)


def _address(text: str, flag: str, *, default_host: str) -> tuple[str, int]:
    """ "HOST:PORT", "[IPv6]:PORT" or "PORT"."""
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise ConfigError(f"{flag} {text}: give HOST:PORT or PORT")
    return host.strip("[]") or default_host, int(port)


def parse_payload_type(text: str) -> tuple[int, str]:
    """ "111=opus/48000/2" -> (111, "opus/48000/2")."""
    number, _, encoding = text.partition("=")
    if not number.isdigit() or not encoding:
        raise ConfigError(f"--payload-type {text}: give PT=ENCODING, for example 111=opus/48000/2")
    return int(number), encoding
