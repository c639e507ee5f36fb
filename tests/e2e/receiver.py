"""Targets of notifications: a web server whose paths behave as their names say, and a mail server."""
import base64
import email
import email.policy
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.strip("/")
        with self.server.lock:
            seen = self.server.got.setdefault(name, [])
            seen.append((dict(self.headers), body, time.time()))
            mend = name in self.server.mended
        getattr(self, "on_" + (name.split("-")[0] if not mend else "ok"))(len(seen))

    do_GET = do_POST

    def log_message(self, *_):
        pass

    def on_ok(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def on_error(self, _):
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def on_hang(self, _):
        self.server.stopping.wait(60)

    def on_close(self, _):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def on_redirect(self, _):
        self.send_response(302)
        self.send_header("Location", "/ok-redirected")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def on_drip(self, _):
        """The head of an answer, byte by byte, never to its end."""
        try:
            for c in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 1000:
                self.wfile.write(bytes([c]))
                if self.server.stopping.wait(0.2):
                    break
        except OSError:
            pass
        self.close_connection = True

    def on_trickle(self, _):
        """An answer that says 200 at once, and its body byte by byte, never to its end."""
        try:
            self.send_response(200)
            self.end_headers()
            while not self.server.stopping.wait(0.2):
                self.wfile.write(b"z")
        except OSError:
            pass
        self.close_connection = True

    def on_heads(self, _):
        """200, and header lines without an end."""
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.stopping.is_set():
                self.wfile.write(b"X-More: " + b"h" * 4096 + b"\r\n")
        except OSError:
            pass
        self.close_connection = True

    def on_flood(self, _):
        self.on_endless(_, status=500)

    def on_endless(self, _, status=200):
        try:
            self.send_response(status)
            self.end_headers()
            while not self.server.stopping.is_set():
                self.wfile.write(b"y" * 65536)
        except OSError:
            pass
        self.close_connection = True


class Receiver:
    """got[path] = [(headers, body, time)]; mended: paths that behave from now on."""

    def __init__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.daemon_threads = True
        self.http.lock, self.http.got, self.http.mended = threading.Lock(), {}, set()
        self.http.stopping = threading.Event()
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.http.server_address[1]}/{path}"

    def got(self, path):
        with self.http.lock:
            return list(self.http.got.get(path, []))

    def mend(self, path):
        with self.http.lock:
            self.http.mended.add(path)

    def close(self):
        self.http.stopping.set()
        self.http.shutdown()
        self.http.server_close()


def certificate(folder):
    """A certificate of 127.0.0.1 that is its own authority."""
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return key, cert


class _Smtp(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 here")
        secure, lines, message = False, None, {}
        while line := self.rfile.readline():
            if lines is not None:
                if line == b".\r\n":
                    message.update(data=b"".join(lines), secure=secure)
                    self.server.messages.append(dict(message))
                    lines = None
                    self.say("250 taken")
                else:
                    lines.append(line[1:] if line.startswith(b".") else line)
                continue
            word = line.split(b" ")[0].strip().upper()
            if word == b"EHLO":
                self.wfile.write(b"250-here\r\n" + (b"" if secure else b"250-STARTTLS\r\n") + b"250 AUTH PLAIN\r\n")
            elif word == b"STARTTLS":
                self.say("220 go on")
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                secure = True
            elif word == b"AUTH":
                words = line.split()
                if len(words) == 2:
                    self.say("334 ")
                    words = self.rfile.readline().split()
                message["auth"] = base64.b64decode(words[-1])
                self.say("235 good")
            elif word == b"MAIL":
                message["from"] = line.decode().strip()
                self.say("250 ok")
            elif word == b"RCPT":
                message["to"] = line.decode().strip()
                self.say("550 no such mailbox" if b"nobody" in line else "250 ok")
            elif word == b"DATA":
                lines = []
                self.say("354 go on")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")


class MailServer:
    """messages = [{"from", "to", "auth", "data", "secure"}]"""

    def __init__(self, folder):
        key, self.cert = certificate(folder)
        self.tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp)
        self.tcp.daemon_threads = True
        self.tcp.messages = self.messages = []
        self.tcp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tcp.tls.load_cert_chain(self.cert, key)
        threading.Thread(target=self.tcp.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.tcp.server_address[1]}"

    def parsed(self, i):
        return email.message_from_bytes(self.messages[i]["data"], policy=email.policy.default)

    def close(self):
        self.tcp.shutdown()
        self.tcp.server_close()
