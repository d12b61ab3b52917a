"""Commands that rooms contribute: found by name, imported late, and refused with the extra they need."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from livemos.agent import cli, lazy_commands
from livemos.agent.commands.bench import app as bench_app


def measured(times: Annotated[int, typer.Option(help="How often.")] = 1) -> None:
    """A benchmark that another package contributes as a plain function."""
    typer.echo(f"measured {times} times")


@pytest.fixture
def contributed(monkeypatch: pytest.MonkeyPatch) -> dict[str, EntryPoint]:
    """Entry points of a package that is not installed here."""
    found = {
        "measured": EntryPoint("measured", f"{__name__}:measured", lazy_commands.BENCHMARKS),
        "broken": EntryPoint("broken", "no_such_package.command:app [gpu]", lazy_commands.BENCHMARKS),
    }
    real = lazy_commands.contributed
    monkeypatch.setattr(
        lazy_commands, "contributed", lambda group: found if group == lazy_commands.BENCHMARKS else real(group)
    )
    return found


@pytest.mark.usefixtures("contributed")
def test_a_plain_function_of_another_room_runs_as_a_benchmark() -> None:
    """A room adds `livemos bench NAME` with one entry point, without touching the agent."""
    ran = CliRunner().invoke(bench_app, ["measured", "--times", "3"])
    assert (ran.exit_code, ran.output) == (0, "measured 3 times\n")


@pytest.mark.usefixtures("contributed")
def test_help_lists_a_benchmark_whose_room_cannot_be_imported() -> None:
    """`livemos bench --help` imports no room, so a missing extra of one hides nothing."""
    ran = CliRunner().invoke(bench_app, ["--help"])
    assert ran.exit_code == 0
    listed = [line.split()[0] for line in ran.output.split("Commands:")[1].splitlines() if line.strip()]
    assert listed == ["broken", "measured"]


@pytest.mark.usefixtures("contributed")
def test_a_benchmark_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extra of the sub-command counts, not that of `bench`, which has none."""
    monkeypatch.setattr(sys, "argv", ["livemos", "bench", "broken"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        "livemos: `livemos bench broken` needs the extra [gpu] (no_such_package is not installed); "
        "install it with: pip install 'livemos[gpu]'\n"
    )
