"""What commands print for people is what was given to them, to the letter."""

from __future__ import annotations

import pytest

from livemos.agent.commands.output import Format, print_rows


def test_a_table_shows_names_as_they_are_brackets_and_colons_too(capsys: pytest.CaptureFixture[str]) -> None:
    """The name is what is pasted into the next command; a table's own marks must not be read into it."""
    names = ["call[1].wav", "[bold]x.wav", "ring:bell:.wav", "[/].wav"]
    print_rows([{"file": name, "mos": 3.456} for name in names], ("file", "mos"), Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["file", "mos"], *([name, "3.46"] for name in names)]
    assert len({line.index("3.46") for line in lines[1:]}) == 1
