"""The name of a payload format as SDP writes it: "PCMU/8000", "L16/16000/1", "opus/48000/2" (RFC 8866 section 6.6).

Where its format parameters decide how a payload is read, they follow: "AMR/8000;octet-align=1".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from livemos.agent.errors import CodecError

# a name is a token of RFC 8866 section 9: "AMR-WB+" is one
_FORM = re.compile(
    r"(?P<name>[A-Za-z0-9!#$%&'*+.^_`{|}~-]+)/(?P<clock>[1-9][0-9]{0,6})(?:/(?P<channels>[1-9][0-9]?))?"
    r"(?P<parameters>(?:;[a-z-]+=[A-Za-z0-9.,_-]+)*)"
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Name as written, RTP clock rate, channels (1 when not written)."""

    name: str
    clock_rate_hz: int
    channels: int = 1
    parameters: tuple[tuple[str, str], ...] = ()  # of a=fmtp, those given

    @classmethod
    def parse(cls, text: str) -> Encoding:
        """Raises CodecError when `text` is not NAME/CLOCK[/CHANNELS][;PARAMETER=VALUE...]."""
        form = _FORM.fullmatch(text.strip())
        if form is None:
            raise CodecError(f'"{text}" is not an encoding; write NAME/CLOCK[/CHANNELS], for example "opus/48000/2"')
        pairs = [pair.split("=") for pair in form["parameters"].split(";")[1:]]
        parameters = tuple((name, value) for name, value in pairs)
        return cls(form["name"], int(form["clock"]), int(form["channels"] or 1), parameters)

    @property
    def key(self) -> str:
        """For comparison: encoding names ignore case (RFC 8866 section 6.6)."""
        return self.name.lower()

    def __str__(self) -> str:
        suffix = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate_hz}{suffix}"
