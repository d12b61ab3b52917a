"""`livemos devices`: what can be listened to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from livemos.agent.commands.output import Format, choose_format, print_rows

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def devices(
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """List the capture devices; `livemos run --microphone` takes an index or a part of a name."""
    from livemos.agent.sources.sound_system import CaptureDevice, list_devices

    rows = [asdict(device) for device in list_devices()]
    print_rows(rows, tuple(CaptureDevice.__dataclass_fields__), choose_format(output_format))
