#!/usr/bin/python3
"""Sends garbage to a daemon's control socket: `ipc_garbage.py NAME FRAMES`, inside its node.

FRAMES connections speak libqb and then send one frame that is none of clusterd's; each waits for
the refusal. As many others send random bytes to the socket itself, below libqb. Prints how many
were refused in so many words.
"""

import contextlib
import ctypes
import random
import socket
import struct
import sys

BUFFER = 256 * 1024
PATIENCE_MS = 5000
# qb_ipc_response_header: id, size, error, each aligned to 8 bytes.
HEADER = struct.Struct("=i4xi4xi4x")
KIND = 1  # clusterd's only kind of frame


def main(name, frames):
    chance = random.Random(frames)
    refused = sum(frame_refused(name, frame(chance, number)) for number in range(frames))
    for _ in range(frames):
        raw_bytes(name, chance.randbytes(chance.randrange(1, 4000)))
    print(refused)


def frame(chance, number):
    """A frame of wrong content, of a kind unknown, or with a lie about its size."""
    payload = chance.randbytes(chance.randrange(16, 4000))
    honest = HEADER.size + len(payload)
    kind, size = ((KIND, honest), (chance.randrange(2, 2**31), honest),
                  (KIND, chance.choice((0, 8, 200_000, 2**31 - 1))))[number % 3]
    return HEADER.pack(kind, size, 0) + payload


def frame_refused(name, data):
    """Whether the daemon answers the frame at all; it does so with a refusal only."""
    library = ctypes.CDLL("libqb.so.100")
    library.qb_ipcc_connect.restype = ctypes.c_void_p
    library.qb_ipcc_send.restype = library.qb_ipcc_event_recv.restype = ctypes.c_ssize_t
    connection = library.qb_ipcc_connect(name.encode(), ctypes.c_size_t(BUFFER))
    if not connection:
        sys.exit("the daemon takes no connection")
    connection = ctypes.c_void_p(connection)
    answer = ctypes.create_string_buffer(BUFFER)
    sent = library.qb_ipcc_send(connection, data, ctypes.c_size_t(len(data)))
    got = library.qb_ipcc_event_recv(connection, answer, ctypes.c_size_t(BUFFER), PATIENCE_MS)
    library.qb_ipcc_disconnect(connection)
    return sent > 0 and got > 0


def raw_bytes(name, data):
    """To the socket on which libqb greets its clients; an abstract one, filled up with zeros."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as greeter:
        greeter.settimeout(PATIENCE_MS / 1000)
        greeter.connect(b"\0" + name.encode().ljust(107, b"\0"))
        with contextlib.suppress(OSError):
            greeter.sendall(data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
