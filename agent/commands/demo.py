"""`livemos demo`: an agent, a call sent to it as real RTP, and a subscriber that shows what the listener hears."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from livemos.agent.commands.demo_scenario import Phase, Scenario
    from livemos.agent.commands.feed_client import FeedClient, FeedMessage
    from livemos.agent.records import SegmentScore
    from livemos.agent.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SSRC = 0x0DE_0000
_PAYLOAD_TYPE = 96
_ENCODING = "L16/16000/1"
_REDRAW_SECONDS = 0.25
_PATIENCE_SECONDS = 15.0  # without a word from the agent


@app.command()
def demo(
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the meter, also on a terminal.")] = False,
) -> None:
    """Hear it work, with no device and no network.

    Starts an agent on free ports of this machine, sends it a packaged speech clip as RTP, clean, with lost packets,
    with noise and in narrow band, and shows the scores it publishes over gRPC. Takes 40 s. Exit code 1 when the scores
    did not fall with the damage and rise after it.
    """
    from livemos.agent.commands.demo_scenario import build_scenario
    from livemos.agent.commands.rtp_player import demo_speech
    from livemos.agent.daemon import Agent
    from livemos.agent.sources.rtp import RtpSource

    scenario = build_scenario(demo_speech())
    with Agent(demo_settings()) as agent:
        rtp_port = next(source.port for source in agent.sources if isinstance(source, RtpSource))
        segments = _watch(
            scenario, rtp_port=rtp_port, grpc_port=agent.grpc_port, plain=plain or not sys.stdout.isatty()
        )
    if not _summarise(scenario, segments):
        raise typer.Exit(1)


def demo_settings() -> Settings:
    """Of the demo's agent; those of the operator, in LIVEMOS_CONFIG and LIVEMOS_*, are for the agent that serves."""
    from livemos.agent.settings import GrpcSettings, RtpSourceSettings, Settings

    source = RtpSourceSettings(
        name="demo", host="127.0.0.1", port=0, idle_seconds=1.5, payload_types={_PAYLOAD_TYPE: _ENCODING}
    )
    return Settings(grpc=GrpcSettings(host="127.0.0.1", port=0), sources=(source,))


def _watch(scenario: Scenario, *, rtp_port: int, grpc_port: int, plain: bool) -> list[SegmentScore]:
    """Play the call and show its scores until the agent says that it has ended."""
    from livemos.agent.commands.feed_client import FeedClient
    from livemos.agent.feed_filter import FeedFilter

    with FeedClient(f"127.0.0.1:{grpc_port}", FeedFilter()) as client:
        client.start()
        sender = threading.Thread(target=_send, args=(scenario, rtp_port), name="livemos-demo-sender", daemon=True)
        sender.start()
        return (_print_lines if plain else _draw_meter)(scenario, client)


def _send(scenario: Scenario, rtp_port: int) -> None:
    from livemos.agent.clock import SystemClock
    from livemos.agent.commands.rtp_player import encode, play

    clip = encode(scenario.samples, _ENCODING)
    destination = ("127.0.0.1", rtp_port)
    for _ in play(
        clip, scenario.lost, destination=destination, payload_type=_PAYLOAD_TYPE, ssrc=_SSRC, clock=SystemClock()
    ):
        pass


def _messages(client: FeedClient) -> Iterator[FeedMessage | None]:
    """The feed up to the end of the call; None a few times a second, so that a screen can be kept fresh."""
    import time

    from livemos.agent.errors import SourceError
    from livemos.agent.records import EventKind, FeedItem, SourceEvent

    heard = time.monotonic()
    while time.monotonic() - heard < _PATIENCE_SECONDS:
        message = client.next(_REDRAW_SECONDS)
        if message is not None:
            heard = time.monotonic()
        yield message
        payload = message.payload if isinstance(message, FeedItem) else None
        if isinstance(payload, SourceEvent) and payload.kind is EventKind.SOURCE_ENDED:
            return
    raise SourceError(f"the demo's agent was silent for {_PATIENCE_SECONDS:g} s; is loopback UDP blocked here?")


def _segment_of(message: FeedMessage | None) -> SegmentScore | None:
    from livemos.agent.records import FeedItem, SegmentScore

    return message.payload if isinstance(message, FeedItem) and isinstance(message.payload, SegmentScore) else None


def _print_lines(scenario: Scenario, client: FeedClient) -> list[SegmentScore]:
    """A line a segment, headed by what is done to the call."""
    from livemos.agent.records import SAMPLE_RATE_HZ

    segments: list[SegmentScore] = []
    announced: Phase | None = None
    for message in _messages(client):
        segment = _segment_of(message)
        if segment is None:
            continue
        segments.append(segment)
        phase = scenario.phase_at(segment.start_sample)
        if phase is not announced:
            print(f"-- {phase.title}", flush=True)
            announced = phase
        second = segment.start_sample / SAMPLE_RATE_HZ
        if segment.mos is None:
            print(f"{second:5.1f} s  {segment.reason.value if segment.reason else ''}", flush=True)
        else:
            bar = "#" * round(segment.mos * 8)
            print(f"{second:5.1f} s  MOS {segment.mos:.2f}  {bar}", flush=True)
    return segments


def _draw_meter(scenario: Scenario, client: FeedClient) -> list[SegmentScore]:
    """The live meter of `livemos watch`, with what is done to the call above it."""
    import time

    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from livemos.agent.commands.feed_client import Connected
    from livemos.agent.commands.meter import Meter, MeterHeader
    from livemos.agent.feed_ring import Gap
    from livemos.agent.records import FeedItem

    console, meter, segments = Console(), Meter(), []
    utf8 = console.encoding.startswith("utf")
    header, drawn = MeterHeader(server=client.address), 0.0
    with Live(console=console, auto_refresh=False) as live:
        for message in _messages(client):
            if isinstance(message, Connected):
                header = MeterHeader(server=client.address, model=message.model)
                meter.accept_snapshots(message.sources)
            elif isinstance(message, (FeedItem, Gap)):
                meter.accept(message)
            segment = _segment_of(message)
            if segment is not None:
                segments.append(segment)
            if time.monotonic() - drawn >= _REDRAW_SECONDS:
                phase = scenario.phase_at(segments[-1].start_sample if segments else 0)
                style = "bold red" if phase.damaged else "bold green"
                sent = Text.assemble("the line now: ", (phase.title, style))
                live.update(Group(sent, meter.draw(header, width=console.width, utf8=utf8)), refresh=True)
                drawn = time.monotonic()
    return segments


@dataclass(frozen=True, slots=True)
class _PhaseMean:
    phase: Phase
    mos: float | None
    segments: int


def _summarise(scenario: Scenario, segments: list[SegmentScore]) -> bool:
    """Mean MOS of the segments wholly inside each phase; True when every damage fell below its clean neighbours."""
    means = []
    for phase in scenario.phases:
        scored = [s.mos for s in segments if s.mos is not None and scenario.phase_of(s) is phase]
        means.append(_PhaseMean(phase, sum(scored) / len(scored) if scored else None, len(scored)))
    print("\nwhat was sent                mean signal MOS  segments")
    for mean in means:
        shown = "   -" if mean.mos is None else f"{mean.mos:.2f}"
        print(f"{mean.phase.title:<28} {shown:>15}  {mean.segments:>8}")
    clean = [mean.mos for mean in means if not mean.phase.damaged and mean.mos is not None]
    damaged = [mean.mos for mean in means if mean.phase.damaged and mean.mos is not None]
    right = len(clean) + len(damaged) == len(means) and max(damaged) < min(clean)
    print(
        "The score fell with every damage and rose when it ended."
        if right
        else "The score did NOT follow the damage; please report this with the output above."
    )
    return right
