"""The page of the 25 rules and their tests (test_rules_of_*.py) belong together."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_page_names_every_test_of_a_rule() -> None:
    """docs/rtp.md is where an operator looks up what is promised; a promise without its test is none."""
    here = Path(__file__).parent
    written = [file.read_text(encoding="utf-8") for file in here.glob("test_rules_of_*.py")]
    tests = [name for text in written for name in re.findall(r"^def test_rule_(\d\d_\w+)", text, re.MULTILINE)]
    page = (here.parents[2] / "docs" / "rtp.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"`(\d\d_\w+)`", page))) == sorted(tests)
    assert {name[:2] for name in tests} == {f"{rule:02d}" for rule in range(1, 26)}
