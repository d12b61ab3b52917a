"""Commands by entry point: a room contributes them, and only the one that runs is imported.

An entry point names a Typer application or a plain function with Typer's annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

COMMANDS, BENCHMARKS = "livemos.commands", "livemos.bench"
_GROUPS_BELOW = {"bench": BENCHMARKS}


def contributed(group: str) -> dict[str, EntryPoint]:
    """The entry points of `group` by name."""
    return {entry_point.name: entry_point for entry_point in entry_points(group=group)}


def find(words: Sequence[str]) -> tuple[str, EntryPoint] | None:
    """What `livemos WORDS...` runs: its words, "bench kernels", and the entry point; None where there is none."""
    entry_point = contributed(COMMANDS).get(words[0]) if words else None
    if entry_point is None:
        return None
    below = contributed(_GROUPS_BELOW[words[0]]) if words[0] in _GROUPS_BELOW else {}
    if len(words) > 1 and words[1] in below:
        return f"{words[0]} {words[1]}", below[words[1]]
    return words[0], entry_point


class LazyGroup(TyperGroup):
    """A group with commands of its own and those of an entry-point group, each of these imported when it runs."""

    entry_point_group: ClassVar[str]
    # one line a command for --help: importing every room to ask it would cost seconds
    summaries: ClassVar[Mapping[str, str]]

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of `summaries`, then those of other packages."""
        found = set(contributed(self.entry_point_group)) | set(self.commands)
        return [name for name in self.summaries if name in found] + sorted(found - set(self.summaries))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The group's own command, or that of an entry point, imported now; None when there is none."""
        entry_point = contributed(self.entry_point_group).get(cmd_name)
        if cmd_name in self.commands or entry_point is None:
            return super().get_command(ctx, cmd_name)
        loaded = entry_point.load()
        if not isinstance(loaded, typer.Typer):
            function, loaded = loaded, typer.Typer(add_completion=False, rich_markup_mode=None)
            loaded.command()(function)
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One line a command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summaries.get(name, "")) for name in self.list_commands(ctx)])


class Commands(LazyGroup):
    """`livemos COMMAND`."""

    entry_point_group = COMMANDS
    summaries: ClassVar[Mapping[str, str]] = {
        "run": "Run the agent: sources in, scores out over gRPC.",
        "watch": "Watch a running agent: a live meter, or JSON lines when piped.",
        "score": "Score audio files and folders.",
        "demo": "Hear it work: real RTP over loopback, clean and damaged, on a live meter.",
        "devices": "List the sound devices that can be listened to.",
        "config": "Check a settings file, or show the effective settings with their origin.",
        "bench": "Measure: streams a core holds, latency, engines, kernels.",
        "evaluate": "Judge a bundle beside listeners and public models. Needs [train].",
        "train": "Train a model: simulate, label, fit. Needs [train].",
        "export": "Export a trained model to a bundle, or check one. Needs [export].",
    }


class Benchmarks(LazyGroup):
    """`livemos bench BENCHMARK`: measurements that rooms contribute."""

    entry_point_group = BENCHMARKS
    summaries: ClassVar[Mapping[str, str]] = {
        "rtp": "RTP streams a core holds, each promise checked; can search for the largest number.",
        "engine": "Segments a second of each engine, precision and batch.",
        "model": "Milliseconds a segment, audio to scores, beside public models. Those need [peers].",
        "kernels": "The GPU kernels against torch. Needs [gpu].",
    }
