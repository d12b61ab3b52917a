"""`livemos config`: check a settings file before it is used, show what is in force and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from livemos.agent.commands.output import Format, choose_format, print_rows

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="Settings, TOML.")]) -> None:
    """Say whether a settings file is valid; exit code 2 and the reason when it is not."""
    from livemos.agent.rtp.addresses import Transport
    from livemos.agent.settings import load_settings

    settings = load_settings(file).settings
    count = len(settings.sources)
    address = Transport(settings.grpc.host, settings.grpc.port)
    print(f"{file}: valid, {count} source{'' if count == 1 else 's'}, gRPC on {address}")


@app.command()
def show(
    file: Annotated[Path | None, typer.Option("--config", help="Settings, TOML; default: $LIVEMOS_CONFIG.")] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """Show every effective setting with its origin: default, the file, environment."""
    from livemos.agent.settings import load_settings

    rows = [
        {
            "setting": key,
            "value": value if isinstance(value, (int, float, str)) else json.dumps(value),
            "origin": origin,
        }
        for key, value, origin in load_settings(file).rows()
    ]
    print_rows(rows, ("setting", "value", "origin"), choose_format(output_format))
