"""The command `livemos`: finds its sub-commands by entry point and imports only the one that runs."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click
import typer

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
    "train": "Train a model: simulate, label, fit. Needs [train].",
    "export": "Export a trained model to a bundle, or check one. Needs [export].",
}


class LazyGroup(click.Group):
    """Sub-commands by entry point, each imported when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = set(_entry_points())
        return [name for name in SUMMARIES if name in found] + sorted(found - set(SUMMARIES))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry_point = _entry_points().get(cmd_name)
        if entry_point is None:
            return None
        try:
            app = entry_point.load()
        except ModuleNotFoundError as missing:
            raise _missing_extra(entry_point, missing) from missing
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)])


def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=COMMAND_GROUP)}


def _missing_extra(entry_point: EntryPoint, missing: ModuleNotFoundError) -> Exception:
    module = (missing.name or "").partition(".")[0]
    if module == "livemos" or not entry_point.extras:
        return missing  # a fault of the installation, not of the user
    return MissingExtraError(entry_point.name, entry_point.extras[0], module)


def _show_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        click.echo(f"livemos {version('livemos')}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version.")
def livemos() -> None:
    """Live, reference-free speech quality: how good does this call sound, twice a second?

    Shell completion: eval "$(_LIVEMOS_COMPLETE=bash_source livemos)" (or zsh_source, fish_source).
    """


def main() -> None:
    """Entry point. Exit codes: 0 fine, 1 a limit that was asked for was missed, 2 a mistake of use or input."""
    try:
        livemos(standalone_mode=False, prog_name="livemos")
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as mistake:
        mistake.show()
        sys.exit(mistake.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except LivemosError as error:
        print(f"livemos: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as missing:
        _exit_for_missing(missing)
    except BrokenPipeError:
        # the reader of our output has gone (`| head`): not an error of ours
        sys.stderr.close()
        sys.exit(0)


def _exit_for_missing(missing: ModuleNotFoundError) -> None:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    entry_point = _entry_points().get(name)
    error = missing if entry_point is None else _missing_extra(entry_point, missing)
    if not isinstance(error, MissingExtraError):
        raise error
    print(f"livemos: {error}", file=sys.stderr)
    sys.exit(2)
