"""A controller on engines in memory behind real HTTPS: what clients that nobody here wrote talk to."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1] / "avish"))
from rig import Rig

from avish.server.http import Door, Front
from avish.server.sockets import listen, listen_at
from avish.server.tls import context, own_names

PASSWORD = "Correct-horse-1"
HANG = 30.0


class HttpsRig(Rig):
    """``port``: where HTTPS answers; admin's password is PASSWORD. The home's Unix socket is served as well."""

    def __init__(self, path, *more):
        super().__init__(path, *more)
        self.accounts.set_password(self.accounts.existing("admin"), PASSWORD)
        listener = listen_at("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        tls = context(self.home.keys, own_names("127.0.0.1"))
        doors = [Door(listener, "https", tls), Door(listen(self.home.socket, None))]
        self.loop, self.ended = asyncio.new_event_loop(), asyncio.Event()
        front = Front(self.controller.api.handle)
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(front.run(doors, self.ended),))
        self.thread.start()

    @property
    def accounts(self):
        return self.controller.accounts

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(HANG)
        self.loop.close()
        super().close()


class Web:
    """One HTTPS connection that does nothing by itself: no cookies, no retries."""

    def __init__(self, port):
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=HANG, context=trust)
        self.headers = {}

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body as JSON, or as text where it is none)."""
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        self.connection.request(method, path, body=data, headers={**self.headers, **(headers or {})})
        response = self.connection.getresponse()
        text = response.read().decode()
        try:
            return response.status, response.headers, json.loads(text) if text else None
        except ValueError:
            return response.status, response.headers, text

    def log_in(self, user="admin", password=PASSWORD):
        """Log in with a form, and keep what proves it."""
        form = urlencode({"username": user, "password": password})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, headers, body = self.ask("POST", "/login", form, kind)
        if status == 200:
            jar = dict(one.split(";")[0].split("=", 1) for one in headers.get_all("Set-Cookie"))
            pairs = "; ".join(f"{name}={value}" for name, value in jar.items())
            self.headers = {"Cookie": pairs, "X-CSRFToken": jar["csrftoken"], "Referer": "https://c"}
        return status, body

    def close(self):
        self.connection.close()
