"""SRTP with keys from SDES (RFC 3711, RFC 4568, RFC 7714): packets are authenticated and opened, or counted.

The work is libsrtp's, through pylibsrtp (extra `srtp`). A join after the sequence number wrapped needs the sender's
roll-over counter: without it every packet fails, and that is what is told. Of senders that were heard before it is
remembered.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from livemos.agent.errors import MissingExtraError, PacketError, SdpError
from livemos.agent.rtp.wraparound import extend16

SUITES: dict[str, tuple[str, int]] = {  # pylibsrtp's profile, octets of master key and salt together
    "AES_CM_128_HMAC_SHA1_80": ("SRTP_PROFILE_AES128_CM_SHA1_80", 30),
    "AES_CM_128_HMAC_SHA1_32": ("SRTP_PROFILE_AES128_CM_SHA1_32", 30),
    "AEAD_AES_128_GCM": ("SRTP_PROFILE_AEAD_AES_128_GCM", 28),
    "AEAD_AES_256_GCM": ("SRTP_PROFILE_AEAD_AES_256_GCM", 44),
}
_TAG_BYTES = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}  # behind the MKI; with GCM nothing is
_CONTROL_TAG_BYTES = 10  # of RTCP in either suite (RFC 4568 section 6.2)
_LONGEST_MKI_BYTES = 128  # RFC 4568 section 6.1
_STEP = 0x7000  # libsrtp follows an index that grows by less than 2**15 at once
REPLAY_WINDOW_PACKETS = 1_024
REMEMBERED_SENDERS = 4_096  # whose roll-over counter outlives their session

_Place = tuple[Hashable, int]  # where the packets go, and their SSRC
_Kept = TypeVar("_Kept")


class SealError(PacketError):
    """A packet that the keys do not open, or that was opened before."""


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """A suite's name and its master key with salt; the key is left out of every text."""

    suite: str
    master: bytes = field(repr=False)
    roc: int = 0  # the sender's roll-over counter when listening begins
    mki: bytes = b""  # in every packet, where the sender names its key

    @classmethod
    def parse(cls, suite: str, encoded: str, *, where: str, roc: int = 0) -> SrtpKey:
        """`encoded` is what SDES writes behind "inline:"; of several keys, parted by ";", the first (RFC 4568, 9.1).

        Raises SdpError naming `where`, never the key.
        """
        if suite not in SUITES:
            raise SdpError(f"{where}: the suite {suite[:40]} is not supported; use one of {', '.join(SUITES)}")
        key, *parameters = encoded.partition(";")[0].split("|")
        try:
            master = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise SdpError(f"{where}: the key of {suite} is not base64") from None
        if len(master) != SUITES[suite][1]:
            raise SdpError(f"{where}: key and salt of {suite} have {SUITES[suite][1]} bytes, got {len(master)}")
        return cls(suite, master, roc, _mki([each for each in parameters if ":" in each], where))


@dataclass(slots=True)
class _Opened:
    """A sender whose packets open; `index` is roll-over counter and number of the newest (RFC 3711 section 3.3.1)."""

    session: Any
    index: int


class Unsealer:
    """One key for all SSRCs of a port, with replay window and roll-over counter for each SSRC.

    at: where the packets go, when they are seen on the way to more than one address: a relay hands them on as they are.
    """

    def __init__(self, key: SrtpKey) -> None:
        """Raises MissingExtraError where pylibsrtp is not installed."""
        try:
            self._srtp: Any = importlib.import_module("pylibsrtp")
        except ImportError:
            raise MissingExtraError("run", "srtp", "pylibsrtp") from None
        self._key = key
        self._opened: dict[_Place, _Opened] = {}
        self._indices: dict[_Place, int] = {}  # of those forgotten, the last one last
        self._control: dict[_Place, Any] = {}  # of RTCP, which has an index of its own

    @property
    def sessions(self) -> int:
        """Senders that are held open."""
        return len(self._opened)

    def unseal(self, datagram: bytes, ssrc: int, at: Hashable = None) -> bytes:
        """The plain RTP datagram. Raises SealError; a failed packet changes no state."""
        number = int.from_bytes(datagram[2:4])
        opened = self._opened.get((at, ssrc))
        try:
            sealed = self._without_mki(datagram, _TAG_BYTES.get(self._key.suite, 0))
            if opened is None:
                return self._unseal_first(sealed, ssrc, number, at)
            plain: bytes = opened.session.unprotect(sealed)
        except (self._srtp.Error, ValueError) as error:
            raise SealError(f"not authenticated: {error}") from error
        opened.index = max(opened.index, extend16(number, opened.index))
        return plain

    def _unseal_first(self, sealed: bytes, ssrc: int, number: int, at: Hashable) -> bytes:
        """With the roll-over counter at which the sender was left, or the key's where it began anew."""
        rocs = [self._key.roc]
        if (last := self._indices.get((at, ssrc))) is not None and (index := extend16(number, last)) >= 0:
            rocs = list(dict.fromkeys([index >> 16, *rocs]))
        for roc in rocs:
            session = self._session(ssrc, number, roc)
            with contextlib.suppress(self._srtp.Error):
                plain: bytes = session.unprotect(sealed)
                self._opened[at, ssrc] = _Opened(session, (roc << 16) + number)
                return plain
        raise SealError(f"not authenticated with roll-over counter {' or '.join(map(str, rocs))}")

    def unseal_control(self, datagram: bytes, at: Hashable = None) -> bytes:
        """The plain compound RTCP packet. Raises SealError; the far side's reports have another key (RFC 4568, 6.1)."""
        ssrc = int.from_bytes(datagram[4:8])
        session = self._control.get((at, ssrc)) or self._srtp.Session(
            self._policy(self._srtp.Policy.SSRC_SPECIFIC, ssrc)
        )
        tag_bytes = _CONTROL_TAG_BYTES if self._key.suite in _TAG_BYTES else 0
        try:
            plain: bytes = session.unprotect_rtcp(self._without_mki(datagram, tag_bytes))
        except (self._srtp.Error, ValueError) as error:
            raise SealError(f"RTCP not authenticated: {error}") from error
        if (at, ssrc) not in self._control:
            # RTCP bears its whole index: a session that makes room costs nothing
            _keep(self._control, (at, ssrc), session)
        return plain

    def _without_mki(self, datagram: bytes, tag_bytes: int) -> bytes:
        """It is not authenticated (RFC 3711 section 3.1), so that the rest is a sealed packet as any."""
        mki = self._key.mki
        if not mki:
            return datagram
        end = len(datagram) - tag_bytes
        if datagram[end - len(mki) : end] != mki:
            raise ValueError("its MKI names another key")
        return datagram[: end - len(mki)] + datagram[end:]

    def forget(self, ssrc: int, at: Hashable = None) -> None:
        """The stream has ended; a call that was held goes on with the same roll-over counter."""
        opened = self._opened.pop((at, ssrc), None)
        if opened is not None:
            _keep(self._indices, (at, ssrc), opened.index)
        self._control.pop((at, ssrc), None)

    def _session(self, ssrc: int, first_number: int, roc: int) -> Any:
        session = self._srtp.Session(self._policy(self._srtp.Policy.SSRC_SPECIFIC, ssrc))
        if roc:
            # the binding cannot set the counter, so it is walked there by packets of our own under the same key
            walker = self._srtp.Session(self._policy(self._srtp.Policy.SSRC_SPECIFIC, ssrc))
            last = (roc << 16) + first_number - 1
            for index in [*range(0, last, _STEP), last]:
                header = b"\x80\x00" + (index & 0xFFFF).to_bytes(2) + bytes(4) + ssrc.to_bytes(4)
                session.unprotect(walker.protect(header + b"\0"))
        return session

    def _policy(self, kind: int, ssrc: int) -> Any:
        profile = getattr(self._srtp.Policy, SUITES[self._key.suite][0])
        policy = self._srtp.Policy(key=self._key.master, ssrc_type=kind, ssrc_value=ssrc, srtp_profile=profile)
        policy.window_size = REPLAY_WINDOW_PACKETS
        return policy


def _keep(kept: dict[_Place, _Kept], place: _Place, value: _Kept) -> None:
    """The newest last; the oldest makes room."""
    kept.pop(place, None)
    kept[place] = value
    if len(kept) > REMEMBERED_SENDERS:
        del kept[next(iter(kept))]


def _mki(given: list[str], where: str) -> bytes:
    """Of "VALUE:LENGTH" (RFC 4568 section 6.1): the value in so many octets; none where none is given."""
    if not given:
        return b""
    value, _, length = given[0].partition(":")
    if not (value.isdigit() and length.isdigit() and 0 < int(length) <= _LONGEST_MKI_BYTES):
        raise SdpError(f"{where}: what stands behind a key is no MKI; SDES writes KEY|LIFETIME|VALUE:LENGTH")
    if int(value) >= 1 << (8 * int(length)):
        raise SdpError(f"{where}: the MKI of a key does not fit into its {length} bytes")
    return int(value).to_bytes(int(length))
