"""What a call may be refused for, apart from the domain's own errors; status.py turns each into a status code."""

from __future__ import annotations

from livemos.agent.errors import CapacityError, LivemosError


class RequestError(LivemosError):
    """A request that cannot be served as it is; `field` is its path in the message."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}" if field else problem)


class UnknownSourceError(LivemosError):
    """No source of that id is open or remembered."""

    def __init__(self, source_id: str) -> None:
        self.source_id = source_id
        super().__init__(f"no source {source_id!r} is open or ended lately; ListSources tells which are")


class LimitError(CapacityError):
    """A cap on calls or bytes is reached; `subject` names what is capped, `passes` tells whether waiting helps."""

    def __init__(self, subject: str, problem: str, *, passes: bool = True) -> None:
        self.subject = subject
        self.passes = passes
        super().__init__(problem)


class NotServingError(LivemosError):
    """The model is not warm yet, or the server is about to stop."""

    def __init__(self, problem: str, retry_seconds: float) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(problem)
