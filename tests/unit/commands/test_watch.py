"""`livemos watch` against a real server: golden JSON lines, the terminal, connections that come and go."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import typer.testing

from livemos.agent.causes import Cause
from livemos.agent.clock import SystemClock
from livemos.agent.commands.feed_client import AgentAwayError, Connected, FeedClient, FeedMessage, Lost
from livemos.agent.commands.watch import app
from livemos.agent.errors import ConfigError
from livemos.agent.feed_filter import FeedFilter
from livemos.agent.hub import Hub
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    ClipScore,
    EventKind,
    FeedItem,
    Mark,
    MediaStatistics,
    ModelDescription,
    RollingScore,
    RollingWindow,
    Samples,
    SegmentScore,
    SourceEvent,
    StreamDescription,
    StreamState,
)
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.agent.servers.scoring import ScoringStream

MODEL = ModelDescription(
    name="m",
    version="1",
    model_id="m-1-0",
    sha256="0" * 64,
    licence="Apache-2.0",
    sample_rate_hz=16_000,
    segment_samples=16_000,
    stride_samples=8_000,
    engine="none",
)
SEGMENT = SegmentScore(
    source_id="mic",
    segment_index=2,
    start_sample=16_000,
    start_unix_seconds=1_700_000_000.25,
    ready_unix_seconds=1_700_000_001.25,
    mos=3.9,
    mos_std=0.3,
    noisiness=4.1,
    coloration=3.7,
    discontinuity=4.4,
    loudness=4.0,
    speech_ratio=0.8,
    level_dbov=-26.1,
    snr_db=21.25,
    cause=Cause.NOISE,
    cause_probability=0.625,
    marks=(Mark.TELEPHONE_EVENT, Mark.CAPTURE_LOSS),
    model_id="m-1-0",
)
SILENT = SegmentScore(
    source_id="mic",
    segment_index=3,
    start_sample=24_000,
    start_unix_seconds=1_700_000_000.75,
    ready_unix_seconds=1_700_000_001.75,
    reason=Reason.SILENCE,
    model_id="m-1-0",
)
ROLLING = RollingScore(
    source_id="mic",
    segment_index=2,
    end_sample=32_000,
    ready_unix_seconds=1_700_000_001.25,
    windows=(RollingWindow(window_seconds=None, mos=3.8, scored_segments=3, coverage_ratio=0.75, speech_seconds=1.5),),
    level_dbov=-26.1,
    state=StreamState.ACTIVE,
    media=MediaStatistics(codec="pcm"),
    model_id="m-1-0",
)
EVENT = SourceEvent(source_id="mic", kind=EventKind.DEVICE_LOST, unix_seconds=1_700_000_002.0, detail="USB µ-mic")

GOLDEN = """\
{"type": "segment", "source_id": "mic", "sequence": 1, "segment_index": 2, "start_sample": 16000, \
"start_time": "2023-11-14T22:13:20.250Z", "ready_time": "2023-11-14T22:13:21.250Z", "mos": 3.9, "mos_std": 0.3, \
"noisiness": 4.1, "coloration": 3.7, "discontinuity": 4.4, "loudness": 4.0, "speech_ratio": 0.8, \
"level_dbov": -26.1, "clipped_ratio": 0.0, "concealed_ratio": 0.0, "bandwidth_hz": null, "snr_db": 21.25, \
"cause": "noise", "cause_probability": 0.625, "reason": null, "model_id": "m-1-0", \
"marks": ["telephone_event", "capture_loss"]}
{"type": "rolling", "source_id": "mic", "sequence": 2, "segment_index": 2, "end_sample": 32000, \
"ready_time": "2023-11-14T22:13:21.250Z", "windows": [{"window_seconds": null, "mos": 3.8, "mos_std": null, \
"noisiness": null, "coloration": null, "discontinuity": null, "loudness": null, "mos_minimum": null, \
"mos_p05": null, "scored_segments": 3, "unscored_segments": 0, "coverage_ratio": 0.75, "speech_seconds": 1.5, \
"snr_db": null, "cause": null, "cause_probability": null, "reason": null}], \
"level_dbov": -26.1, "state": "active", "media": {"codec": "pcm", "received_packets": null, \
"expected_packets": null, "lost_packets": null, "late_packets": null, "duplicate_packets": null, \
"reordered_packets": null, "jitter_seconds": null, "playout_delay_seconds": null, "network_mos": null, \
"discarded_packets": null, "recovered_packets": null, "stray_packets": null, \
"rfc_jitter_seconds": null, "recent_network_mos": null, "remote_lost_ratio": null, \
"remote_jitter_seconds": null, "remote_mos": null, "clock_drift_ppm": null}, "model_id": "m-1-0"}
{"type": "event", "source_id": "mic", "sequence": 3, "kind": "device_lost", "time": "2023-11-14T22:13:22.000Z", \
"detail": "USB µ-mic"}
{"type": "segment", "source_id": "mic", "sequence": 4, "segment_index": 3, "start_sample": 24000, \
"start_time": "2023-11-14T22:13:20.750Z", "ready_time": "2023-11-14T22:13:21.750Z", "mos": null, "mos_std": null, \
"noisiness": null, "coloration": null, "discontinuity": null, "loudness": null, "speech_ratio": null, \
"level_dbov": null, "clipped_ratio": 0.0, "concealed_ratio": 0.0, "bandwidth_hz": null, "snr_db": null, \
"cause": null, "cause_probability": null, "reason": "silence", "model_id": "m-1-0", "marks": []}
"""
GOLDEN_GAP = """\
{"type": "gap", "source_id": "mic", "first_sequence": 1, "last_sequence": 3, "missed_count": 3}
"""


class NoScorer:
    """Nothing is scored here."""

    def score(self, samples: Samples, sample_rate_hz: int) -> ClipScore:
        raise NotImplementedError

    def stream(self, sample_rate_hz: int) -> ScoringStream:
        raise NotImplementedError


@pytest.fixture
def hub() -> Hub:
    """A hub with two sources."""
    hub = Hub(SystemClock())
    for source_id in ("mic", "other"):
        hub.open_source(StreamDescription(source_id=source_id, kind="microphone", labels={"desk": source_id[0]}))
    return hub


@pytest.fixture
def start_server(hub: Hub) -> Iterator[Callable[..., GrpcServer]]:
    """Starts servers over the same hub."""
    servers = []

    def start(port: int = 0, *, serving: bool = True) -> GrpcServer:
        server = GrpcServer(hub=hub, scorer=NoScorer(), model=MODEL, clock=SystemClock(), port=port)
        server.start()
        server.set_serving(serving)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(grace_seconds=0.1)


@pytest.fixture
def server(start_server: Callable[..., GrpcServer]) -> GrpcServer:
    """A serving server."""
    return start_server()


UTF8 = {**os.environ, "PYTHONIOENCODING": "utf-8"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from livemos.agent.commands.watch import app; app()", *arguments]


def publish_once_watched(hub: Hub, *, stop: threading.Event | None = None) -> threading.Thread:
    """Publishes as soon as a subscriber is there."""

    def publish() -> None:
        wait = stop or threading.Event()
        while hub.statistics().subscribers == 0 and not wait.wait(0.01):
            pass
        for payload in (SEGMENT, ROLLING, EVENT, SILENT):
            hub.publish(payload)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    return thread


def until_unsubscribed(hub: Hub) -> None:
    """The server learns of a closed connection a moment later."""
    pause = threading.Event()
    while hub.statistics().subscribers:
        pause.wait(0.01)


def test_without_a_terminal_each_update_is_one_line_of_json_with_stable_keys(server: GrpcServer, hub: Hub) -> None:
    """Scripts read these lines: a renamed key or a 0 for an unset score breaks them in silence."""
    publish_once_watched(hub)
    arguments = command(server.address, "--source", "m*", "--label", "desk=m")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, encoding="utf-8", env=UTF8) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in GOLDEN.splitlines()]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
    assert "".join(lines) == GOLDEN


def test_a_watch_ends_by_itself_after_the_seconds_it_was_given(server: GrpcServer, hub: Hub) -> None:
    """For scripts that sample; the agent must not keep the subscriber."""
    result = typer.testing.CliRunner().invoke(app, [server.address, "--seconds", "0.2"])
    assert (result.exit_code, result.output) == (0, "")
    until_unsubscribed(hub)


def test_a_gap_is_a_line_too() -> None:
    """A script must be able to tell that it was too slow."""
    from livemos.agent.commands.feed_lines import update_lines

    hub = Hub(SystemClock(), queue_items=1)
    hub.open_source(StreamDescription(source_id="mic", kind="microphone"))
    listener = hub.listen()
    for _ in range(4):
        hub.publish(SEGMENT)
    gap = listener.get(0)
    assert gap is not None
    assert "\n".join(update_lines(gap)) + "\n" == GOLDEN_GAP


def test_once_prints_each_source_that_fits_and_ends(server: GrpcServer, hub: Hub) -> None:
    """For scripts that ask now and then."""
    hub.publish(SEGMENT)
    result = typer.testing.CliRunner().invoke(app, [server.address, "--once", "--label", "desk=m"])
    (line,) = result.stdout.splitlines()
    assert result.exit_code == 0
    assert line.startswith('{"type": "source", "source_id": "mic", "last_sequence": 1, "kind": "microphone", ')
    assert '"mos": 3.9' in line


@pytest.mark.parametrize("arguments", [["--once"], ["--seconds", "1"]])
def test_no_agent_at_the_address_is_one_clear_line(
    start_server: Callable[..., GrpcServer], arguments: list[str]
) -> None:
    """The first thing every new user gets wrong; the command line prints it and ends with code 2."""
    server = start_server()
    server.stop()
    result = typer.testing.CliRunner().invoke(app, [server.address, *arguments])
    assert isinstance(result.exception, AgentAwayError)
    assert f"no agent answers at {server.address}; start one there with `livemos run`" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localhost"], "HOST:PORT"),
        (["host:99999"], "HOST:PORT"),
        ([":50561"], "HOST:PORT"),
        (["localhost:50561", "--label", "room"], "KEY=VALUE"),
    ],
)
def test_a_mistake_in_the_arguments_says_what_to_write(arguments: list[str], message: str) -> None:
    """Without an example the next attempt is a guess."""
    result = typer.testing.CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_what_the_agent_refuses_for_good_is_not_tried_again(server: GrpcServer) -> None:
    """A wrong pattern stays wrong; repeating it for ever would look like waiting."""
    result = typer.testing.CliRunner().invoke(app, [server.address, "--source", "", "--seconds", "10"])
    assert isinstance(result.exception, AgentAwayError)
    assert "source_ids[0]" in str(result.exception)


def until(client: FeedClient, kind: type[FeedMessage]) -> FeedMessage:
    for _ in range(100):
        message = client.next(0.2)
        if isinstance(message, kind):
            return message
    raise AssertionError(f"no {kind.__name__} came")


def test_a_lost_connection_is_said_and_made_again(start_server: Callable[..., GrpcServer], hub: Hub) -> None:
    """An agent is restarted for an update; the meters on the wall must come back by themselves."""
    first = start_server()
    with FeedClient(first.address, FeedFilter()) as client:
        client.start()
        connected = until(client, Connected)
        assert isinstance(connected, Connected)
        assert connected.model == "m-1-0"
        assert [snapshot.description.source_id for snapshot in connected.sources] == ["mic", "other"]
        first.stop(grace_seconds=0.5)
        until(client, Lost)
        start_server(first.port)
        until(client, Connected)
        hub.publish(SEGMENT)
        update = until(client, FeedItem)
    assert isinstance(update, FeedItem)
    assert isinstance(update.payload, SegmentScore)
    assert update.payload.segment_index == SEGMENT.segment_index
    until_unsubscribed(hub)


def test_an_agent_that_warms_up_is_waited_for(start_server: Callable[..., GrpcServer]) -> None:
    """Starting both at once must not need a second try."""
    server = start_server(serving=False)
    with FeedClient(server.address, FeedFilter()) as client:
        client.start()
        lost = until(client, Lost)
        assert isinstance(lost, Lost)
        assert "warming up" in lost.why
        server.set_serving(True)
        until(client, Connected)


def test_ctrl_c_ends_a_watch_with_code_zero_and_no_traceback(server: GrpcServer, hub: Hub) -> None:
    """It is how a watch is meant to end."""
    publish_once_watched(hub)
    with subprocess.Popen(command(server.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith('{"type": "segment"')
        watch.send_signal(signal.SIGINT)
        _, errors = watch.communicate(timeout=10)
    assert (watch.returncode, errors) == (0, "")


def test_a_reader_that_has_seen_enough_ends_the_watch_without_complaint(server: GrpcServer, hub: Hub) -> None:
    """`livemos watch ... | head -1` is a normal thing to write."""
    publish_once_watched(hub)
    with subprocess.Popen(command(server.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert watch.stdout.readline()
        watch.stdout.close()
        while watch.poll() is None:
            hub.publish(SEGMENT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                watch.wait(0.05)
        assert (watch.returncode, watch.stderr.read()) == (0, "")


def test_on_a_terminal_the_meter_is_drawn_with_server_and_model(server: GrpcServer, hub: Hub) -> None:
    """The picture, on a real pseudo-terminal."""
    publish_once_watched(hub)
    outer, inner = pty.openpty()
    environment = {**UTF8, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    words = (server.address, "m-1-0", "signal MOS", "mic", "other", "silence", "2 sources", "4 updates")
    with subprocess.Popen(command(server.address), stdout=inner, env=environment) as watch:
        os.close(inner)
        shown = ""
        while not all(word in shown for word in words):
            shown += os.read(outer, 65_536).decode(errors="replace")
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
    os.close(outer)


def test_help_needs_no_grpc_and_no_numpy() -> None:
    """`livemos --help` and shell completion stay under 0.3 s."""
    code = (
        "import sys, livemos.agent.commands.watch;"
        "print(sorted({'grpc', 'numpy', 'google.protobuf', 'rich.live'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.strip() == "[]"
