"""`python -m livemos.agent` is `livemos`, for where scripts are not on the path."""

from __future__ import annotations

from livemos.agent.cli import main

main()
