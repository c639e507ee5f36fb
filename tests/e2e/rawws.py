"""A WebSocket client that may say anything: frames as RFC 6455 has them, and as it forbids them."""
import base64
import json
import os
import socket
import ssl
import struct
import time

from haltless import SLOW

PATH = "/api/v1/ws/dashboard"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\1\2\3\4", length=None, form=None):
    """form: 7, 16 or 64, the length's; length: what is claimed instead of what is there; mask None: none."""
    n = len(payload) if length is None else length
    form = form or (7 if n < 126 else 16 if n < 65536 else 64)
    word = n if form == 7 else 126 if form == 16 else 127
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if mask else 0) | word])
    head += b"" if form == 7 else struct.pack(">H", n) if form == 16 else struct.pack(">Q", n)
    if mask is None:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class Raw:
    """A connection behind its upgrade."""

    def __init__(self, server, headers=(), rcvbuf=None, tls=None, within=10):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(within * SLOW)
        s.connect(("127.0.0.1", server.port))
        if tls:
            s = tls.wrap_socket(s, server_hostname="localhost")
        self.socket, self.buffer, self.closed = s, b"", None
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {PATH} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""]
        s.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self.buffer:
            more = s.recv(65536)
            assert more, f"closed instead of an upgrade: {self.buffer}"
            self.buffer += more
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.status = int(self.head.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def text(self, text):
        self.send(frame(TEXT, text if isinstance(text, bytes) else text.encode()))

    def say(self, **message):
        self.text(json.dumps(message))

    def need(self, n):
        while len(self.buffer) < n:
            more = self.socket.recv(1 << 16)
            if not more:
                raise EOFError
            self.buffer += more

    def next(self):
        """(opcode, payload) of the next frame, which has to be a whole and unmasked one."""
        self.need(2)
        first, second = self.buffer[0], self.buffer[1]
        assert first & 0xF0 == 0x80 and second < 128, self.buffer[:10]
        size = {126: 2, 127: 8}.get(second, 0)
        self.need(2 + size)
        n = int.from_bytes(self.buffer[2:2 + size], "big") if size else second
        self.need(2 + size + n)
        payload, self.buffer = self.buffer[2 + size:2 + size + n], self.buffer[2 + size + n:]
        return first & 15, payload

    def json(self, kind=None, within=10, **match):
        """The next text frame, of that type; others are passed over."""
        end = time.monotonic() + within * SLOW
        while True:
            left = end - time.monotonic()
            assert left > 0, f"no {kind or 'frame'} {match}"
            self.socket.settimeout(left)
            try:
                opcode, payload = self.next()
            except TimeoutError:
                continue
            assert opcode != CLOSE, payload
            if opcode != TEXT:
                continue
            message = json.loads(payload)
            if kind in (None, message["type"]) and all(message.get(k) == v for k, v in match.items()):
                return message

    def close_code(self, within=15):
        """Reads on to the closing frame; its code, None: without one."""
        self.socket.settimeout(within * SLOW)
        try:
            while True:
                opcode, payload = self.next()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except (EOFError, ConnectionError, ssl.SSLError):
            return None


def live(server, token, **kw):
    """Authenticated, and known to be: the answer to a message that is not understood."""
    s = Raw(server, **kw)
    assert s.status == 101, s.head
    s.text(token)
    s.say(nothing=True)
    s.json("error")
    return s
