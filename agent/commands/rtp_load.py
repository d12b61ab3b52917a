"""One run of `livemos bench rtp`: three processes, and what was seen between them. Linux."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from livemos.agent.commands.load_generator import start_ticks
from livemos.agent.commands.rtp_player import PTIME_SECONDS
from livemos.agent.errors import ConfigError, SourceError
from livemos.agent.segmenter import whole_segments
from livemos.agent.settings import ENVIRONMENT_PREFIX
from livemos.proto.quality.v1 import quality_pb2, quality_pb2_grpc

_PREPARATION_SECONDS = 1.5  # the generator reads and encodes its clips
_WARM_UP_SECONDS = 4.0  # streams start, the first segments come; not counted
_LARGEST_BATCH = 256  # updates in one message of the feed
_THREADS = {"receive": "receive", "scoring": "scoring", "grpc": "grpc"}  # agent/thread_names.py
_START_SECONDS = 30.0


@dataclass(slots=True)
class _Seen:
    """What the subscriber noted; written by its thread, read when it is done."""

    latencies_seconds: list[float] = field(default_factory=list)
    lost_packets: dict[str, int] = field(default_factory=dict)
    playout_delay_seconds: float = 0.0
    counting: bool = False
    failure: str | None = None


def measure(
    streams: int,
    *,
    seconds: float,
    encoding: str,
    payload_type: int,
    core: int | None,
    engine: str,
    bundle: Path | None = None,
    clips: Path | None = None,
) -> dict[str, object]:
    """A row of bench_rtp.COLUMNS but for `codec` and `holds`.

    clips: a folder of FLAC files to play instead of the packaged clip. Raises ConfigError for a core that this process
    may not use, SourceError when there is nothing to play or the agent or the generator does not come up.
    """
    _check(core, clips)
    warm_up_seconds = _WARM_UP_SECONDS + start_ticks(streams) * PTIME_SECONDS
    rtp_port, grpc_port = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
    with (
        running_agent(rtp_port, grpc_port, payload_type, encoding, streams, core, engine, bundle) as agent,
        grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
    ):
        stub: Any = quality_pb2_grpc.QualityServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code
        model_id = stub.GetModel(quality_pb2.GetModelRequest(), timeout=10).model.model_id
        seen = _Seen()
        call = stub.Subscribe(quality_pb2.SubscribeRequest(largest_batch=_LARGEST_BATCH))
        reader = threading.Thread(target=_subscribe, args=(call, seen), daemon=True)
        reader.start()
        generator = _start_generator(
            *("--port", str(rtp_port), "--streams", str(streams), "--seconds", str(warm_up_seconds + seconds)),
            *("--encoding", encoding, "--payload-type", str(payload_type)),
            *(("--clips", str(clips)) if clips is not None else ()),
            beside=core,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):  # it ends early only when it cannot read its clips
            generator.wait(_PREPARATION_SECONDS + warm_up_seconds)
        seen.counting = True
        rss_before = _rss_mib(agent.pid)
        cpu_before, begun, threads_before = _cpu_seconds(agent.pid), time.monotonic(), _thread_seconds(agent.pid)
        printed, _ = generator.communicate()
        if generator.returncode:
            raise SourceError(
                f"the generator of the benchmark ended with code {generator.returncode}; its words are above"
            )
        sent, late_seconds = printed.split()
        measured_seconds = time.monotonic() - begun
        threads = {
            f"cpu_{name}": (taken - threads_before.get(name, 0.0)) / measured_seconds
            for name, taken in _thread_seconds(agent.pid).items()
        }
        cpu_seconds = _cpu_seconds(agent.pid) - cpu_before
        seen.counting = False
        row = {
            "rss_mib": _rss_mib(agent.pid),
            "rss_growth_mib": _rss_mib(agent.pid) - rss_before,
            "generator_late_ms": float(late_seconds) * 1e3,
            "socket_drops": _socket_drops(rtp_port),
        }
        time.sleep(1.0)  # the last rolling scores bring the loss counters
        call.cancel()
        reader.join(5.0)
    if seen.failure is not None:
        raise SourceError(f"the subscriber of the benchmark was cut off: {seen.failure}")
    latencies = np.array(seen.latencies_seconds) if seen.latencies_seconds else np.array([np.nan])
    p50, p90, p99 = (float(value) * 1e3 for value in np.percentile(latencies, (50, 90, 99)))
    expected = whole_segments(round((warm_up_seconds + measured_seconds) * 16_000)) - whole_segments(
        round(warm_up_seconds * 16_000)
    )
    return {
        "streams": streams,
        "seconds": round(measured_seconds, 1),
        "cpu_share": cpu_seconds / measured_seconds,
        **threads,
        "latency_p50_ms": p50,
        "latency_p90_ms": p90,
        "latency_p99_ms": p99,
        "playout_delay_ms": seen.playout_delay_seconds * 1e3,
        "segments_expected": expected * streams,
        "segments_received": len(seen.latencies_seconds),
        "sent_packets": int(sent),
        "lost_packets": sum(seen.lost_packets.values()),
        "model_id": model_id,
        **row,
    }


def _start_generator(*arguments: str, beside: int | None) -> subprocess.Popen[str]:
    """On every core but `beside`, the agent's, where there is another."""
    command = [sys.executable, "-m", "livemos.agent.commands.load_generator", *arguments]
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if beside is not None:
        os.sched_setaffinity(generator.pid, os.sched_getaffinity(0) - {beside} or {beside})
    return generator


def _subscribe(call: Any, seen: _Seen) -> None:
    try:
        for message in call:
            now = time.time()
            updates = message.batch.updates if message.WhichOneof("message") == "batch" else (message,)
            for update in updates:
                _note(update, now, seen)
    except grpc.RpcError as ended:
        if ended.code() is not grpc.StatusCode.CANCELLED:
            seen.failure = f"{ended.code().name} {ended.details()}"


def _note(update: Any, now: float, seen: _Seen) -> None:
    kind = update.WhichOneof("message")
    if kind == "segment" and seen.counting:
        ready = update.segment.ready_time
        seen.latencies_seconds.append(now - (ready.seconds + ready.nanos * 1e-9))
    elif kind == "rolling":
        seen.lost_packets[update.rolling.source_id] = update.rolling.media.lost_packets
        delay = update.rolling.media.playout_delay
        seen.playout_delay_seconds = max(seen.playout_delay_seconds, delay.seconds + delay.nanos * 1e-9)


def _check(core: int | None, clips: Path | None) -> None:
    """Before three processes fail of it, each with a traceback."""
    cores = sorted(os.sched_getaffinity(0))
    if core is not None and core not in cores:
        known = ", ".join(map(str, cores))
        raise ConfigError(f"--pin-core {core}: this process may use the cores {known}; choose one of them")
    if clips is not None and not any(clips.glob("*.flac")):
        raise SourceError(f"--clips {clips}: no FLAC file (*.flac) is there; give a folder of them, or leave it out")


@contextlib.contextmanager
def running_agent(
    rtp_port: int,
    grpc_port: int,
    payload_type: int,
    encoding: str,
    streams: int,
    core: int | None,
    engine: str,
    bundle: Path | None,
) -> Iterator[subprocess.Popen[bytes]]:
    """An agent in a process of its own, serving. What the operator's settings say is for the one in service alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    environment["LIVEMOS_LIMITS__STREAMS"] = str(streams + 8)
    if bundle is not None:
        environment["LIVEMOS_ENGINE__BUNDLE"] = str(bundle)
    process = subprocess.Popen(
        [sys.executable, "-m", "livemos.agent", "run", "--engine", engine]
        + ["--rtp", f"127.0.0.1:{rtp_port}", "--grpc", f"127.0.0.1:{grpc_port}"]
        + (["--payload-type", f"{payload_type}={encoding}"] if payload_type >= 96 else []),
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        _wait_until_serving(process, grpc_port)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _wait_until_serving(process: subprocess.Popen[bytes], grpc_port: int) -> None:
    """Until the agent has said that it listens; it prints one line when scores can flow."""
    deadline = time.monotonic() + _START_SECONDS
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    if "listening" not in line or time.monotonic() > deadline:
        raise SourceError(f"the agent of the benchmark did not start on gRPC port {grpc_port}: {line.strip()}")


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _thread_seconds(pid: int) -> dict[str, float]:
    """Processor time of the threads of the hot path so far, by what they do."""
    seconds = dict.fromkeys(_THREADS.values(), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            kind = _THREADS.get((task / "comm").read_text(encoding="utf-8").strip().partition("-")[0])
            if kind is not None:
                seconds[kind] += int((task / "schedstat").read_text(encoding="ascii").split()[0]) * 1e-9
    return seconds


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _socket_drops(port: int) -> int:
    """Datagrams the kernel dropped at the agent's socket: the last column of /proc/net/udp."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(fields[-1]) for fields in (line.split() for line in lines) if fields[1].endswith(wanted))
