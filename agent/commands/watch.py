"""`livemos watch HOST:PORT`: a live meter on a terminal, one JSON line an update elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from livemos.agent.commands.output import silence_output
from livemos.agent.errors import ConfigError

if TYPE_CHECKING:
    from livemos.agent.commands.feed_client import FeedClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

REDRAW_SECONDS = 0.25


@app.command("watch")
def watch(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the agent listens, e.g. 127.0.0.1:50561.")],
    source: Annotated[
        list[str] | None, typer.Option("--source", "-s", help="Source id, or a pattern with *; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE a source must carry; may be repeated.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show what is known now and end.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.0, help="End after so many seconds. Unset: at Ctrl-C.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """Watch a running agent: a live meter, or JSON lines when the output is not a terminal."""
    from livemos.agent.commands.feed_client import FeedClient
    from livemos.agent.feed_filter import FeedFilter

    wanted = FeedFilter(source_ids=tuple(source or ()), labels=_labels(label or []))
    meter = sys.stdout.isatty() and not json_lines
    try:
        with FeedClient(_address(address), wanted) as client:
            if once:
                _show_once(client, meter=meter)
                return
            client.start()
            deadline = None if seconds is None else time.monotonic() + seconds
            (_show_meter if meter else _print_lines)(client, deadline)
    except KeyboardInterrupt:
        pass  # how a watch is meant to end
    except BrokenPipeError:
        silence_output()


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"{text!r} is no address; write HOST:PORT, for example 127.0.0.1:50561 or [::1]:50561")
    return text


def _labels(pairs: list[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ConfigError(f"--label {pair!r} is no label; write KEY=VALUE, for example --label room=north")
        labels[key] = value
    return labels


def _show_once(client: FeedClient, *, meter: bool) -> None:
    sources = client.sources()
    if not meter:
        from livemos.agent.commands.feed_lines import source_line

        for snapshot in sources:
            print(source_line(snapshot), flush=True)
        return
    from rich.console import Console

    from livemos.agent.commands.meter import Meter, MeterHeader

    console, shown = Console(), Meter()
    shown.accept_snapshots(sources)
    header = MeterHeader(server=client.address)
    console.print(shown.draw(header, width=console.width, utf8=console.encoding.startswith("utf")))


def _print_lines(client: FeedClient, deadline: float | None) -> None:
    """One JSON line an update on standard output; what happens to the connection goes to standard error."""
    from livemos.agent.commands.feed_client import Connected, Lost
    from livemos.agent.commands.feed_lines import update_lines

    was_lost = False
    while deadline is None or time.monotonic() < deadline:
        message = client.next(1.0 if deadline is None else min(1.0, deadline - time.monotonic()))
        if isinstance(message, Lost):
            if not was_lost:
                print(f"livemos: {message.why}; trying again", file=sys.stderr, flush=True)
            was_lost = True
        elif isinstance(message, Connected):
            if was_lost:
                print(f"livemos: connected to {client.address} again", file=sys.stderr, flush=True)
            was_lost = False
        elif message is not None:
            for line in update_lines(message):
                print(line, flush=True)


def _show_meter(client: FeedClient, deadline: float | None) -> None:
    """The meter, redrawn when something came, at most four times a second."""
    from rich.console import Console
    from rich.live import Live

    from livemos.agent.commands.feed_client import Connected, Lost
    from livemos.agent.commands.meter import Meter, MeterHeader

    console, meter = Console(), Meter()
    header = MeterHeader(server=client.address, notice="connecting")
    utf8 = console.encoding.startswith("utf")
    with Live(console=console, auto_refresh=False, screen=False, transient=False) as live:
        drawn = 0.0
        while deadline is None or time.monotonic() < deadline:
            message = client.next(REDRAW_SECONDS)
            if isinstance(message, Lost):
                header = MeterHeader(server=client.address, model=header.model, notice=f"{message.why}; trying again")
            elif isinstance(message, Connected):
                header = MeterHeader(server=client.address, model=message.model)
                meter.accept_snapshots(message.sources)
            elif message is not None:
                meter.accept(message)
            if time.monotonic() - drawn >= REDRAW_SECONDS:
                height = console.height
                live.update(meter.draw(header, width=console.width, height=height, utf8=utf8), refresh=True)
                drawn = time.monotonic()
