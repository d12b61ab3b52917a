"""The command `livemos`: finds its sub-commands by entry point and imports only the one that runs."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from livemos.agent.errors import LivemosError, MissingExtraError

COMMAND_GROUP = "livemos.commands"
# one line a command for --help: importing every room to ask it would cost seconds
SUMMARIES = {
    "run": "Run the agent: sources in, scores out over gRPC.",
    "watch": "Watch a running agent: a live meter, or JSON lines when piped.",
    "score": "Score audio files and folders.",
    "demo": "Hear it work: real RTP over loopback, clean and damaged, on a live meter.",
    "devices": "List the sound devices that can be listened to.",
    "config": "Check a settings file, or show the effective settings with their origin.",
    "bench": "Measure: streams a core holds, latency, CPU share.",
    "evaluate": "Judge a bundle beside listeners and public models. Needs [train].",
    "train": "Train a model: simulate, label, fit. Needs [train].",
    "bench-kernels": "Time the GPU kernels against torch. Needs [gpu].",
    "export": "Export a trained model to a bundle, or check one. Needs [export].",
}


class LazyGroup(TyperGroup):
    """Sub-commands by entry point, each imported when it runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of SUMMARIES, then those of other packages."""
        found = set(_entry_points())
        return [name for name in SUMMARIES if name in found] + sorted(found - set(SUMMARIES))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of an entry point, imported now; None when there is none."""
        entry_point = _entry_points().get(cmd_name)
        if entry_point is None:
            return None
        command = typer.main.get_command(entry_point.load())
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One line a command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)])


app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=COMMAND_GROUP)}


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
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    entry_point = _entry_points().get(command)
    module = (missing.name or "").partition(".")[0]
    if entry_point is None or not entry_point.extras or module == "livemos":
        return None
    return MissingExtraError(command, entry_point.extras[0], module)
