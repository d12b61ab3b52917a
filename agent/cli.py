"""The command `livemos`: finds its sub-commands by entry point and imports only the one that runs."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from livemos.agent.errors import LivemosError, MissingExtraError
from livemos.agent.lazy_commands import Commands, find

app = typer.Typer(cls=Commands, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


def _show_version(asked: bool) -> None:
    if asked:
        print(f"livemos {version('livemos')}")
        raise typer.Exit()


@app.callback()
def livemos(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Live, reference-free speech quality: how good does this call sound, twice a second?"""


def main() -> None:
    """Entry point. Exit codes: 0 fine, 1 a limit that was asked for was missed, 2 a mistake of use or input."""
    try:
        app(prog_name="livemos")
    except LivemosError as error:
        _refuse(error)
    except ModuleNotFoundError as missing:
        extra = _missing_extra(missing)
        if extra is None:
            raise
        _refuse(extra)


def _refuse(error: LivemosError) -> None:
    print(f"livemos: {error}", file=sys.stderr)
    sys.exit(2)


def _missing_extra(missing: ModuleNotFoundError) -> MissingExtraError | None:
    """What to install, when the module belongs to the extra of the command that ran; None is a fault of ours."""
    found = find([word for word in sys.argv[1:] if not word.startswith("-")])
    module = (missing.name or "").partition(".")[0]
    if found is None or not found[1].extras or module == "livemos":
        return None
    command, entry_point = found
    return MissingExtraError(command, entry_point.extras[0], module)
