"""One sender's capture as tshark reads it, beside what livemos said of it live and says of it again in a replay."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture_tools import StreamFigures, livemos_figures, tshark_figures

CAPTURE, RECORD = "capture.pcapng", "record.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What a test knows of a sender that the capture does not say.

    programs: Debian packages of everything between the clip and livemos. live: the stream's figures at the subscriber.
    lost_packets: what the line took away, counted where it was taken.
    """

    sender: str
    programs: list[str]
    port: int
    payload_types: dict[int, str]
    lost_packets: int
    live: dict[str, Any]

    def write(self, folder: Path) -> None:
        values = {name: getattr(self, name) for name in self.__slots__}
        (folder / RECORD).write_text(json.dumps(values, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Record:
        values = json.loads((folder / RECORD).read_text())
        return cls(**{**values, "payload_types": {int(k): v for k, v in values["payload_types"].items()}})


@dataclass(frozen=True, slots=True)
class Comparison:
    """tshark: its own figures. livemos: the session asked after every packet. score: `livemos score`'s row."""

    record: Record
    tshark: StreamFigures
    livemos: StreamFigures
    score: dict[str, Any]


def compare(folder: Path) -> Comparison:
    """Of a folder that holds capture.pcapng and record.json, with one stream to the recorded port."""
    record, capture = Record.read(folder), folder / CAPTURE
    (tshark,) = tshark_figures(capture, record.port, record.payload_types)
    (livemos,) = livemos_figures(capture, record.port, record.payload_types)
    flags = [f"--payload-type={number}={encoding}" for number, encoding in record.payload_types.items() if number >= 96]
    command = [sys.executable, "-m", "livemos.agent", "score", str(capture), "--format", "jsonl", *flags]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in said.splitlines()]
    (score,) = [row for row in rows if row["source_id"].endswith(f"{tshark.ssrc:08x}")]
    return Comparison(record, tshark, livemos, score)
