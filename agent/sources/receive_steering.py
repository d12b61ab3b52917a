"""Several sockets on one port: the kernel gives each SSRC's packets, and its RTCP, to always the same one. Linux.

A classic BPF program on the SO_REUSEPORT group reads the SSRC; the kernel's own choice, by addresses, would part a
sender that moves from its stream.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from livemos.agent.errors import SourceError

_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h; Python does not name it
# linux/bpf_common.h: load an octet or a word of the payload, jump, take the remainder, return it
_LOAD_OCTET, _LOAD_WORD, _JUMP, _JUMP_NOT_BELOW, _JUMP_ABOVE, _REMAINDER, _RETURN = (
    0x30,
    0x20,
    0x05,
    0x35,
    0x25,
    0x94,
    0x16,
)


def share_port(opened: socket.socket) -> None:
    """Before binding: let others of this user bind the same port. Raises SourceError where the system cannot."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SourceError("this system has no SO_REUSEPORT: set receive_workers = 1")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def steer_by_ssrc(first: socket.socket, sockets: int) -> None:
    """After `sockets` sockets were bound to a port, `first` before the others. Raises SourceError."""
    program = (
        (_LOAD_OCTET, 0, 0, 1),
        # RTCP (RFC 5761: 192 to 223) has its sender's SSRC one word earlier
        (_JUMP_NOT_BELOW, 0, 3, 192),
        (_JUMP_ABOVE, 2, 0, 223),
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP, 0, 0, 1),
        (_LOAD_WORD, 0, 0, 8),
        (_REMAINDER, 0, 0, sockets),
        (_RETURN, 0, 0, 0),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    try:
        described = struct.pack("@HP", len(program), ctypes.addressof(code))
        first.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, described)
    except OSError as error:
        raise SourceError(f"packets cannot be steered by SSRC ({error.strerror}): set receive_workers = 1") from error
