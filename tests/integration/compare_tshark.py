"""The table of docs/interop.md, from captures that the tests with bridges left.   compare_tshark.py FOLDER [DOCUMENT]

FOLDER is what pytest was given as --basetemp. With DOCUMENT the table takes the place of the one that is there.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from comparison import RECORD, Comparison, compare

BEGIN, END = "<!-- begin: written by tests/integration/compare_tshark.py -->", "<!-- end -->"
HEADINGS = (
    "sender",
    "codec",
    "packets: tshark, livemos",
    "lost: line, tshark, live, replay",
    "repeated, out of order",
    "mean jitter ms: tshark, livemos",
    "highest jitter ms: tshark, livemos",
    "last jitter ms: replay, live",
    "scored segments, mean MOS",
)


def row(both: Comparison) -> list[str]:
    """One sender; livemos' figures are of all packets (`rfc_jitter`), as tshark's are."""
    record, tshark, livemos, live = both.record, both.tshark, both.livemos, both.record.live
    (codec,) = record.payload_types.values()
    return [
        record.sender,
        codec,
        f"{tshark.received_packets}, {live['received_packets']}",
        f"{record.lost_packets}, {tshark.lost_packets}, {live['lost_packets']}, {both.score['lost_packets']}",
        f"{live['duplicate_packets']}, {live['reordered_packets']}",
        f"{tshark.jitter_mean_ms:.3f}, {livemos.jitter_mean_ms:.3f}",
        f"{tshark.jitter_highest_ms:.3f}, {livemos.jitter_highest_ms:.3f}",
        f"{livemos.jitter_last_ms:.3f}, {live['rfc_jitter']:.3f}",
        f"{live['scored_segments']}, {live['mos_mean']:.2f}",
    ]


def table(comparisons: list[Comparison]) -> str:
    """Markdown: where and with what it was measured, then a row a sender."""
    packages = sorted({name for both in comparisons for name in both.record.programs} | {"tshark"})
    versions = "; ".join(f"{name} {package_version(name)}" for name in packages)
    debian = Path("/etc/debian_version").read_text().strip()
    told = f"{datetime.now(UTC):%Y-%m-%d}, Linux {platform.release().partition('-')[0]}, Debian {debian}"
    lines = [f"{told}, livemos {version('livemos')}; {versions}.", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(row(both))} |" for both in comparisons]
    return "\n".join(lines)


def package_version(name: str) -> str:
    return subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", name], check=True, capture_output=True, text=True
    ).stdout


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folders = [path.parent for path in Path(sys.argv[1]).glob(f"*/{RECORD}") if not path.parent.is_symlink()]
    if not folders:
        sys.exit(f"no {RECORD} below {sys.argv[1]}; run tests/integration/bridges.sh")
    comparisons = sorted((compare(folder) for folder in folders), key=lambda both: both.record.sender.lower())
    written = table(comparisons)
    if len(sys.argv) == 2:
        print(written)
        return
    document = Path(sys.argv[2])
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    document.write_text(f"{before}{BEGIN}\n{written}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
