"""The terminal meter's drawing, pure: payloads and snapshots in, a rich renderable out. For `watch` and `demo`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livemos.agent.causes import Cause
from livemos.agent.feed_ring import Gap
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    STRIDE_SECONDS,
    FeedItem,
    FeedPayload,
    MediaStatistics,
    RollingScore,
    SegmentScore,
    SourceSnapshot,
    StreamState,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

SPARKLINE_SECONDS = 60.0
_HISTORY = round(SPARKLINE_SECONDS / STRIDE_SECONDS)
_GOOD_MOS, _FAIR_MOS = 3.6, 2.6  # between "good" and "fair", "fair" and "poor" of P.800, with half a grade of room
_WIDE_COLUMNS, _MEDIUM_COLUMNS = 120, 96
_KEPT_ENDED = 300  # rows of calls that have ended; no terminal shows more
_CAUSE_CELLS = 9
_LEAST_CAUSE_COLUMNS = 80  # with a shorter sparkline; on a narrower terminal the numbers come first
_SHORT_CAUSES = {Cause.ECHO_OR_TALKER: "echo/talk", Cause.REVERBERATION: "reverb"}
_DIMENSIONS = ("noisiness", "coloration", "discontinuity", "loudness")
_SYMBOLS = {  # on a UTF-8 terminal, and elsewhere
    StreamState.WAITING: ("○", "o"),
    StreamState.ACTIVE: ("●", "*"),
    StreamState.STALLED: ("▲", "!"),
    StreamState.UNDESCRIBED: ("?", "?"),
    StreamState.ENDED: ("■", "x"),
}
_STATE_STYLES = {StreamState.ACTIVE: "green", StreamState.STALLED: "yellow", StreamState.UNDESCRIBED: "yellow"}
_SPARKS = ("▁▂▃▄▅▆▇█", "_.-=+*%#")
_BARS = (("█", "░"), ("#", "."))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterHeader:
    """What the first line says."""

    server: str
    model: str = ""
    notice: str = ""  # for example that the connection is lost


@dataclass(slots=True)
class MeterRow:
    """One source as the meter shows it: `mos` of the newest segment, and what came before."""

    source_id: str
    state: StreamState = StreamState.WAITING
    reason: Reason | None = Reason.WARMING_UP
    segment: SegmentScore | None = None
    media: MediaStatistics = field(default_factory=MediaStatistics)
    call_mos: float | None = None
    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    @property
    def loss_ratio(self) -> float | None:
        """Lost and late packets over expected ones: what the listener did not hear."""
        expected, lost = self.media.expected_packets, self.media.lost_packets
        if not expected or lost is None:
            return None
        return min(1.0, (lost + (self.media.late_packets or 0)) / expected)


class Meter:
    """Collects updates; `draw` shows them. One thread."""

    def __init__(self) -> None:
        self._rows: dict[str, MeterRow] = {}
        self._ended: dict[str, None] = {}  # the ids of rows that have ended, the newest last
        self.updates = 0
        self.missed = 0

    def rows(self) -> list[MeterRow]:
        """In order of source_id, the ended ones last."""
        return sorted(self._rows.values(), key=lambda row: (row.state is StreamState.ENDED, row.source_id))

    def accept(self, update: FeedItem | Gap) -> None:
        """One update of a feed."""
        if isinstance(update, Gap):
            self.missed += sum(part.missed_items for part in update.missed)
            return
        self.updates += 1
        row = self._rows.setdefault(update.payload.source_id, MeterRow(update.payload.source_id))
        _accept_payload(row, update.payload)
        self._note_end(row)

    def accept_snapshots(self, snapshots: Iterable[SourceSnapshot]) -> None:
        """What a list of all sources says; a row keeps its sparkline, unless the agent knows nothing of it any more."""
        known = {snapshot.description.source_id: snapshot for snapshot in snapshots}
        for gone in self._rows.keys() - known.keys():
            self._forget(gone)
        for source_id, snapshot in known.items():
            row = self._rows.setdefault(source_id, MeterRow(source_id))
            if snapshot.segment is not None and row.segment is None:
                _accept_payload(row, snapshot.segment)
            if snapshot.rolling is not None:
                row.call_mos = _call_mos(snapshot.rolling)
            row.state, row.media = snapshot.state, snapshot.media
            if snapshot.reason is not None:
                row.reason = snapshot.reason
            self._note_end(row)

    def _note_end(self, row: MeterRow) -> None:
        """Of the ended rows keep the newest: a meter on a wall sees calls come and go for months."""
        self._ended.pop(row.source_id, None)
        if row.state is StreamState.ENDED:
            self._ended[row.source_id] = None
            if len(self._ended) > _KEPT_ENDED:
                self._forget(next(iter(self._ended)))

    def _forget(self, source_id: str) -> None:
        del self._rows[source_id]
        self._ended.pop(source_id, None)

    def draw(self, header: MeterHeader, *, width: int, height: int | None = None, utf8: bool = True) -> RenderableType:
        """Header, one row a source, footer, within `width` columns and `height` lines (unset: as many as there are)."""
        from rich.console import Group
        from rich.text import Text

        rows = self.rows()
        room = len(rows) if height is None else max(1, height - 6)
        shown = rows[:room]
        lines: list[RenderableType] = [_header(header), _table(shown, width=width, utf8=utf8)]
        if not rows:
            lines.append(Text("no sources yet", style="dim"))
        if len(rows) > len(shown):
            lines.append(Text(f"and {len(rows) - len(shown)} more; choose with --source or --label", style="dim"))
        lines.append(_footer(rows, updates=self.updates, missed=self.missed, width=width, utf8=utf8))
        return Group(*lines)


def _accept_payload(row: MeterRow, payload: FeedPayload) -> None:
    from livemos.agent.records import EventKind

    if isinstance(payload, SegmentScore):
        row.segment, row.reason = payload, payload.reason
        row.history.append(payload.mos)
        if row.state is StreamState.WAITING:
            row.state = StreamState.ACTIVE
    elif isinstance(payload, RollingScore):
        row.state, row.media, row.call_mos = payload.state, payload.media, _call_mos(payload)
    elif payload.kind is EventKind.SOURCE_STARTED:
        row.state, row.reason, row.segment, row.call_mos = StreamState.WAITING, Reason.WARMING_UP, None, None
        row.history.clear()
    elif payload.kind is EventKind.SOURCE_ENDED:
        row.state = StreamState.ENDED
    elif payload.kind in (EventKind.MEDIA_STALLED, EventKind.DEVICE_LOST):
        row.state, row.reason = StreamState.STALLED, Reason.NO_MEDIA
    elif payload.kind in (EventKind.MEDIA_RESUMED, EventKind.DEVICE_BACK):
        row.state = StreamState.ACTIVE
    elif payload.kind is EventKind.UNKNOWN_PAYLOAD_TYPE:
        row.state, row.reason = StreamState.UNDESCRIBED, Reason.UNSUPPORTED_CODEC


def _call_mos(rolling: RollingScore) -> float | None:
    return next((window.mos for window in rolling.windows if window.window_seconds is None), None)


def _header(header: MeterHeader) -> Text:
    from rich.text import Text

    line = Text.assemble(("livemos ", "bold"), header.server)
    if header.model:
        line.append(f"  {header.model}", style="dim")
    if header.notice:
        line.append(f"  {header.notice}", style="bold yellow")
    return line


def _table(rows: Sequence[MeterRow], *, width: int, utf8: bool) -> Table:
    from rich.table import Table

    causes = width >= _LEAST_CAUSE_COLUMNS and any(row.segment and row.segment.cause for row in rows)
    room = width - (_CAUSE_CELLS + 1) * causes
    wide, medium = room >= _WIDE_COLUMNS, room >= _MEDIUM_COLUMNS
    bar_cells, spark_cells = (16, 24) if wide else (10, 16) if medium else (6, 6 if causes and room < 74 else 10)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=False, header_style="dim")
    name_cells = 30 if wide else 18
    table.add_column("source", no_wrap=True, overflow="crop", max_width=name_cells)
    table.add_column("signal MOS", no_wrap=True, min_width=bar_cells + 10)
    table.add_column(f"{SPARKLINE_SECONDS:.0f} s", no_wrap=True, min_width=spark_cells)
    for letter in "NCDL":
        table.add_column(letter, justify="right", no_wrap=True, min_width=3)
    if causes:
        table.add_column("cause", no_wrap=True, min_width=_CAUSE_CELLS)
    table.add_column("dBov", justify="right", no_wrap=True, min_width=4)
    table.add_column("loss%", justify="right", no_wrap=True, min_width=5)
    if medium:
        table.add_column("codec", no_wrap=True, overflow="crop", max_width=13)
    if wide:
        table.add_column("state", no_wrap=True)
    for row in rows:
        cells = [
            _name(row, name_cells, utf8),
            _mos(row, bar_cells, utf8),
            sparkline(row.history, spark_cells, utf8=utf8),
        ]
        cells += [_dimension(row, name) for name in _DIMENSIONS]
        cells += [_cause(row)] if causes else []
        cells += [_number(None if row.segment is None else row.segment.level_dbov, "{:.0f}")]
        cells += [_number(None if row.loss_ratio is None else 100 * row.loss_ratio, "{:.1f}")]
        cells += [_number(row.media.codec, "{}")] if medium else []
        cells += [_number(row.state.value, "{}")] if wide else []
        table.add_row(*cells)
    return table


def _name(row: MeterRow, cells: int, utf8: bool) -> Text:
    from rich.text import Text

    symbol = _SYMBOLS[row.state][0 if utf8 else 1]
    return Text.assemble((symbol, _STATE_STYLES.get(row.state, "dim")), " ", _shorten(row.source_id, cells - 2, utf8))


def _mos(row: MeterRow, cells: int, utf8: bool) -> Text:
    """A bar from 1 to 5 with number and deviation; the reason in its place when there is no score."""
    from rich.text import Text

    score = row.segment
    live = row.state is StreamState.ACTIVE
    if score is None or score.mos is None or not live:
        words = row.state.value if row.state is StreamState.ENDED or row.reason is None else row.reason.value
        if row.state is StreamState.ENDED and row.call_mos is not None:
            words = f"ended, call {row.call_mos:.2f}"
        return Text(words.replace("_", " "), style="dim" if row.state is StreamState.ENDED else "yellow")
    full, empty = _BARS[0 if utf8 else 1]
    filled = round((min(5.0, max(1.0, score.mos)) - 1) / 4 * cells)
    bar = Text(full * filled, style=mos_style(score.mos)).append(empty * (cells - filled), style="dim")
    bar.append(f" {score.mos:.2f}", style=f"bold {mos_style(score.mos)}")
    if score.mos_std is not None:
        bar.append(f"{'±' if utf8 else '~'}{score.mos_std:.2f}", style="dim")
    return bar


def sparkline(history: Sequence[float | None], cells: int, *, utf8: bool = True) -> Text:
    """The newest 60 s of MOS from 1 to 5, each cell the lowest of its share; a blank where nothing was scored."""
    from rich.text import Text

    sparks = _SPARKS[0 if utf8 else 1]
    padded = [None] * (_HISTORY - len(history)) + list(history)
    line = Text()
    for cell in range(cells):
        share = padded[cell * _HISTORY // cells : (cell + 1) * _HISTORY // cells]
        scored = [mos for mos in share if mos is not None]
        if not scored:
            line.append(" ")
            continue
        lowest = min(scored)
        step = int((min(5.0, max(1.0, lowest)) - 1) / 4 * (len(sparks) - 1) + 0.5)
        line.append(sparks[step], style=mos_style(lowest))
    return line


def mos_style(mos: float) -> str:
    """Colour by grade; the bar's length says the same without colour."""
    return "green" if mos >= _GOOD_MOS else "yellow" if mos >= _FAIR_MOS else "red"


def _dimension(row: MeterRow, name: str) -> Text:
    value = None if row.segment is None or row.state is not StreamState.ACTIVE else getattr(row.segment, name)
    return _number(value, "{:.1f}", style=None if value is None else mos_style(value))


def _cause(row: MeterRow) -> Text:
    """Of the newest segment, in a word; nothing to explain is dim."""
    cause = row.segment.cause if row.segment is not None and _is_scored(row) else None
    word = None if cause is None else _SHORT_CAUSES.get(cause, cause.value)
    return _number(word, "{}", style="dim" if cause is Cause.NONE else None)


def _number(value: object, template: str, style: str | None = None) -> Text:
    from rich.text import Text

    return Text("-", style="dim") if value is None else Text(template.format(value), style=style or "")


def _footer(rows: Sequence[MeterRow], *, updates: int, missed: int, width: int, utf8: bool) -> Text:
    from rich.text import Text

    active = sum(row.state is StreamState.ACTIVE for row in rows)
    scored = [(row.segment.mos, row.source_id) for row in rows if _is_scored(row) and row.segment and row.segment.mos]
    parts = [f"{len(rows)} sources, {active} active"]
    if scored:
        mean = sum(mos for mos, _ in scored) / len(scored)
        lowest, where = min(scored)
        parts += [f"mean {mean:.2f}", f"lowest {lowest:.2f} ({where})"]
    parts.append(f"{updates} updates" + (f", {missed} missed" if missed else ""))
    key = "N noisiness  C coloration  D discontinuity  L loudness: 1-5, higher is better"
    return Text("\n").join([Text(_shorten("  ".join(parts), width, utf8)), Text(key[:width], style="dim")])


def _shorten(text: str, cells: int, utf8: bool) -> str:
    """Cut out of the middle: ids begin with the source's name and end with what tells its streams apart."""
    if len(text) <= cells:
        return text
    mark = "…" if utf8 else "~"
    tail = (cells - len(mark)) // 2
    return text[: cells - len(mark) - tail] + mark + text[len(text) - tail :]


def _is_scored(row: MeterRow) -> bool:
    return row.state is StreamState.ACTIVE and row.segment is not None and row.segment.mos is not None
