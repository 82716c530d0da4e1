"""References as they stand in the vendor's files: made and taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from avish.config.config import Body, Config

ESCAPED = str.maketrans({"%": "%25", "&": "%26", "#": "%23", "+": "%2B"})
"""The vendor writes names as they are; what would tear a query apart is escaped."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference names; "" for what it leaves open. ``names``: as it may be meant, escaped or not."""

    name: str = ""
    uuid: str = ""
    tenant: str = ""
    cloud: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, ref: Any) -> Target:
        """``/api/pool/?tenant=admin&name=web``, ``https://c/api/pool/pool-1#web``, a bare name or uuid."""
        if not isinstance(ref, str) or not ref:
            return cls()
        if not ref.startswith(("/", "http://", "https://")):
            return cls(ref, ref, names=(ref,))
        path, _, name = ref.partition("#")
        if name and "?" not in path:
            return cls(name, path.rpartition("/")[2], names=_both(name))
        path, _, query = ref.partition("?")
        parts = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if "name" in parts:
            names = _both(parts["name"])
            return cls(names[0], "", _plain(parts.get("tenant")), _plain(parts.get("cloud")), names)
        return cls(uuid=_last(path))


def _both(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([unquote_plus(text.replace("+", "%2B")), text, unquote_plus(text)]))


def _plain(text: str | None) -> str:
    return unquote_plus(text.replace("+", "%2B")) if text else ""


def _last(path: str) -> str:
    try:
        return urlsplit(path).path.rstrip("/").rpartition("/")[2]
    except ValueError:  # brackets where a host would stand
        return ""


def named(config: Config, ref: str) -> str:
    """A stored reference as the vendor's files have it: by tenant, name and cloud."""
    body = config.target(ref)
    if body is None or "name" not in body:
        return ref
    kind = ref.split("/")[2]
    home = [f"tenant={_home(config, body, 'tenant_ref')}"] if "tenant_ref" in body else []
    where = [f"cloud={_home(config, body, 'cloud_ref')}"] if "cloud_ref" in body else []
    return f"/api/{kind}/?{'&'.join([*home, 'name=' + body['name'].translate(ESCAPED), *where])}"


def _home(config: Config, body: Body, field: str) -> str:
    return str((config.target(body[field]) or {"name": ""})["name"]).translate(ESCAPED)
