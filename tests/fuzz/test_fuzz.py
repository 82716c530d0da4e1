"""Bombs that are known, and a short search by atheris that is the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import targets

RUNS = {"line": 300, "script": 300}
DEEP = 20_000
BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]" for n in range(20)
)
KNOWN = {
    "lexer": [b'"' * 70_000, b"|" * 60_000, b"'\\" * 9_000, b"\xff\xfe", b"a" * 65_536],
    "line": [b"\0servers " * 5_000, b"\0" + b"no " * 20_000, b"\0servers ip 10.1.1.1 " * 3_000, b"\0port 9" + b"9" * 6_000],
    "yaml": [
        b"\0" + BOMB.encode(),
        b"\0" + b"[" * DEEP,
        b"\0" + b"{a: " * DEEP,
        b"\0" + b"- " * DEEP,
        b"\0servers:\n" + b" - ip: {addr: 1.1.1.1, type: V4}\n" * 2_000,
        b"\0default_server_port: 1" + b"0" * 5_000,
        b"\0!!python/object/apply:os.system [true]",
        b"\0? {a: b}\n: c",
        b"\0<<: *x",
        b"\0a: .inf\nb: 1e999\nc: 0x" + b"f" * 5_000,
        b"\0name: !!binary |\n  aGk=",
    ],
    "flags": [
        b"\0--" + b"servers.1." * 6_000 + b"ip 1",
        b"\0--servers.999999999.ip 10.1.1.1",
        b"\0--servers.1.ip 10.1.1.1\n" * 2_000,
        b"\0--description --\nnever ends",
        b"\0--default_server_port 1" + b"0" * 5_000,
    ],
    "script": [b"configure pool p << END\n" * 300, b"configure pool p\n" + b"servers\n" * 3_000, b"\xef\xbb\xbf#\n\0\n"],
    "json": [
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b'{"Pool": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"Pool": [{"name": "p", "default_server_port": 1' + b"0" * 4_000 + b"}]}",
        b'{"Pool": [{"name": "p", "default_server_port": 1e400}]}',
        b'{"Pool": [{"name": {"a": []}, "servers": "x"}], "VirtualService": 7, "Nonsense": [[]]}',
        b'{"Pool": [{"name": "p", "vrf_ref": "/api/pool/?name=p", "servers": [{"ip": 5}, null, []]}]}',
        b'{"Pool": [null, true, 1, "x", {"name": null}, {}], "": [], "META": []}',
        b'{"PoolGroup": [{"name": "a", "members": [{"pool_ref": "a"}]}], "Pool": [{"name": "a", "health_monitor_refs": ["a"]}]}',
        b'"x"', b"null", b"NaN", b"[]", b"{}",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, found in KNOWN.items() for n in range(len(found))])
def test_bombs_are_refused_in_words(name, number):
    targets.once(name, KNOWN[name][number])


@pytest.mark.skipif(targets.atheris is None, reason="atheris has no wheel for this machine")
@pytest.mark.parametrize("name", targets.TARGETS)
def test_nothing_but_told_errors(name, tmp_path):
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for number, data in enumerate(KNOWN[name]):
        (seeds / str(number)).write_bytes(data[:4_000])
    argv = [
        sys.executable,
        targets.__file__,
        name,
        f"-runs={RUNS.get(name, 2_000)}",
        "-seed=1",
        "-max_len=4000",
        "-print_final_stats=0",
    ]
    done = subprocess.run([*argv, str(seeds)], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(Path(tmp_path).glob("crash-*"))
