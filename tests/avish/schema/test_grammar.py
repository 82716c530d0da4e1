"""The loader of the grammar: what it builds, and that it refuses a bad one with file and path."""

from __future__ import annotations

import os
import pickle

import pytest

from avish.errors import SchemaError
from avish.schema import types
from avish.schema.load import grammar_dir, load

POOL = """
object: pool
class: Pool
help: Servers
scope: cloud
fields:
  name: {type: name, required: true, help: Name}
  port: {type: int, default: 80, range: [1, 65535], special: [0], unit: sec, applied: dataplane, help: Port}
  servers:
    help: Servers
    list: true
    max_items: 2
    key: [ip]
    bare: ip
    fields:
      ip: {type: ip, required: true, help: Address}
  inner: {message: Inner, help: Inner}
  other_ref: {ref: pool, help: Other}
"""
SHARED = """
enums:
  Colour: [RED, GREEN]
messages:
  Inner:
    key: [colour]
    fields:
      colour: {enum: Colour, required: true, default: RED, help: Colour}
      again: {message: Inner, list: true, help: Itself}
"""


def write(folder, **files):
    """A grammar of the files given; ``objects_pool`` is objects/pool.yaml."""
    (folder / "objects").mkdir(exist_ok=True)
    (folder / "commands").mkdir(exist_ok=True)
    for name, text in {"objects_pool": POOL, "messages": SHARED, "shell": "show: Show\n", **files}.items():
        inside = name.startswith(("objects_", "commands_", "messages_"))
        path = folder / f"{name.replace('_', '/', 1) if inside else name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_a_small_grammar(tmp_path):
    schema = load(
        write(
            tmp_path,
            commands_pool="- {path: show pool <pool> server summary, help: State, run: pool.servers}\n"
            "- {path: show version, help: Version, run: version, api: cluster/version}\n",
            system_defaults="pool:\n- {name: p0, port: 81, inner: {colour: GREEN}}\n",
        )
    )
    pool = schema.object("pool")
    assert schema.index == {"pool": ("configure", "pool", "Servers")}
    assert list(pool.fields) == ["uuid", "name", "port", "servers", "inner", "other_ref", "url", "_last_modified"]
    assert [c.title for c in pool.columns] == ["Name", "UUID", "Cloud"]
    assert (pool.title, pool.scope, pool.word, pool.verb) == ("Pool", "cloud", "pool", "configure")
    port = pool.fields["port"]
    assert (port.default, port.applied, port.required, port.list) == (80, "dataplane", False, False)
    assert isinstance(port.type, types.Number)
    assert (port.type.low, port.type.high, port.type.extra, port.type.unit) == (1, 65535, (0,), "sec")
    servers = pool.fields["servers"]
    assert (servers.max_items, servers.nested.key, servers.nested.bare) == (2, ("ip",), "ip")
    assert servers.nested.only_field == "ip"
    inner = pool.fields["inner"].nested
    assert inner.fields["again"].nested is inner
    assert inner.fields["colour"].default == "RED"
    assert [(c.path, c.api) for c in schema.commands] == [
        (("show", "pool", "<pool>", "server", "summary"), "serversummary"),
        (("show", "version"), "cluster/version"),
    ]
    assert schema.defaults["pool"][0]["port"] == 81
    assert schema.object("pool") is schema.object("pool")
    assert [o.name for o in schema.objects()] == ["pool"]


ONLY = """
object: limits
class: Limits
words: [system, limits]
singleton: true
help: Limits of the system
fields:
  size: {type: int, default: 3, since: "20.1.1", help: Size}
"""


def test_a_singleton_of_two_words(tmp_path):
    schema = load(write(tmp_path, objects_limits=ONLY, system_defaults="limits: [{size: 4}]\n"))
    limits = schema.object("limits")
    assert schema.index["limits"] == ("configure", "system limits", "Limits of the system")
    assert (limits.singleton, limits.words, limits.word) == (True, ("system", "limits"), "system limits")
    assert [path for path, _ in limits.commands] == ["configure system limits", "show system limits"]
    assert limits.fields["size"].since == "20.1.1"
    pool = schema.object("pool")
    assert (pool.singleton, pool.words, pool.fields["port"].since) == (False, ("pool",), "")


def test_shared_messages_may_stand_in_several_files(tmp_path):
    more = "enums:\n  Size: [BIG]\nmessages:\n  Box: {fields: {inner: {message: Inner, help: x}, size: {enum: Size, help: x}}}\n"
    schema = load(write(tmp_path, messages_more=more, objects_pool=POOL + "  box: {message: Box, help: Box}\n"))
    box = schema.object("pool").fields["box"].nested
    assert box.fields["inner"].nested.fields["colour"].default == "RED"
    assert box.fields["size"].leaf.words() == ("big",)


def test_outside_nouns(tmp_path):
    schema = load(write(tmp_path, outside="- {reason: Not here, nouns: [pond, lake]}\n"))
    assert schema.outside == {"pond": "Not here", "lake": "Not here"}


def changed(old, new):
    assert POOL.count(old) == 1
    return {"objects_pool": POOL.replace(old, new)}


def field(text):
    """The pool with a further field ``x``."""
    return {"objects_pool": POOL + f"  x: {text}\n"}


TWIN = "object: other\nclass: Other\nword: pool\nhelp: x\nfields: {name: {type: name, help: x}}\n"
BAD = {
    "no yaml": ({"objects_pool": "a: [1"}, "objects/pool.yaml: while parsing"),
    "a key twice": (
        changed("scope: cloud", "scope: cloud\nscope: tenant"),
        "objects/pool.yaml: 'scope' stands here twice",
    ),
    "a field twice": (
        field("{type: ip, help: x}\n  x: {type: ip, help: x}"),
        "objects/pool.yaml: 'x' stands here twice",
    ),
    "no mapping": ({"objects_pool": "- 1"}, "objects/pool.yaml: a mapping is expected here"),
    "unknown attribute of an object": (changed("scope:", "scop:"), "objects/pool.yaml: unknown attribute 'scop'"),
    "no class": (changed("class: Pool\n", ""), "objects/pool.yaml: class is missing"),
    "no object": (changed("object: pool\n", ""), "objects/pool.yaml: object is missing"),
    "no help of an object": (changed("help: Servers\nscope", "scope"), "objects/pool.yaml: help is missing"),
    "unknown verb": (
        changed("scope: cloud", "verb: make"),
        "objects/pool.yaml: verb: 'make' is none of configure, debug, show",
    ),
    "unknown scope": (changed("scope: cloud", "scope: world"), "objects/pool.yaml: scope: 'world' is none of"),
    "unknown lender of names": (
        changed("scope: cloud", "names: what"),
        "objects/pool.yaml: names: unknown object 'what'",
    ),
    "unknown join": (changed("scope: cloud", "joins: [no_ref]"), "objects/pool.yaml: joins: unknown field 'no_ref'"),
    "unknown attribute of a column": (
        changed("scope: cloud", "columns: [{title: Name, way: name}]"),
        "objects/pool.yaml: columns[0]: unknown attribute 'way'",
    ),
    "a column without a path": (
        changed("scope: cloud", "columns: [{title: A}]"),
        "objects/pool.yaml: columns[0]: title and path are needed",
    ),
    "no fields": ({"objects_pool": POOL.partition("fields:")[0]}, "objects/pool.yaml: fields is missing"),
    "fields are no mapping": (
        {"objects_pool": POOL.partition("fields:")[0] + "fields: [1]"},
        "objects/pool.yaml: fields are no mapping",
    ),
    "a field is no mapping": (field("ip"), "objects/pool.yaml: x: a mapping is expected here"),
    "a field's name is no text": (
        {"objects_pool": POOL + "  1: {type: ip, help: x}\n"},
        "objects/pool.yaml: 1: a field's name is a text",
    ),
    "unknown attribute of a field": (
        field("{type: ip, help: x, max: 3}"),
        "objects/pool.yaml: x: unknown attribute 'max'",
    ),
    "no help of a field": (field("{type: ip}"), "objects/pool.yaml: x: help is missing"),
    "no type": (field("{help: x}"), "objects/pool.yaml: x: type: unknown type"),
    "unknown type": (field("{type: integer, help: x}"), "objects/pool.yaml: x: type: unknown type 'integer'"),
    "two types": (
        field("{type: ip, ref: pool, help: x}"),
        "objects/pool.yaml: x: only one of type, enum, ref, message, fields",
    ),
    "unknown reference": (field("{ref: pond, help: x}"), "objects/pool.yaml: x: ref: unknown object 'pond'"),
    "unknown enumeration": (field("{enum: Shape, help: x}"), "objects/pool.yaml: x: enum: unknown enumeration 'Shape'"),
    "no words in an enumeration": (field("{enum: [], help: x}"), "objects/pool.yaml: x: enum: unknown enumeration"),
    "lower-case enumeration": (field("{enum: [a], help: x}"), "objects/pool.yaml: x: enum: upper-case words"),
    "a word of an enumeration twice": (
        field("{enum: [A, A], help: x}"),
        "objects/pool.yaml: x: enum: upper-case words, each once",
    ),
    "unknown message": (field("{message: Outer, help: x}"), "objects/pool.yaml: x: unknown message 'Outer'"),
    "unknown key field": (changed("key: [ip]", "key: [port]"), "objects/pool.yaml: servers: key: unknown field 'port'"),
    "unknown key field of a shared message": (
        field("{message: Inner, list: true, key: [nope], help: x}"),
        "objects/pool.yaml: x: key: unknown field 'nope'",
    ),
    "unknown bare field": (changed("bare: ip", "bare: port"), "objects/pool.yaml: servers: bare: unknown field 'port'"),
    "bare range without ends": (
        changed("bare: ip", "bare: range"),
        "objects/pool.yaml: servers: bare: range needs begin and end",
    ),
    "applied nowhere": (
        field("{type: ip, help: x, applied: here}"),
        "objects/pool.yaml: x: applied: 'here' is neither",
    ),
    "a default out of range": (
        changed("default: 80", "default: 70000"),
        "objects/pool.yaml: port: default: its own type refuses it: 70000",
    ),
    "a default of another type": (
        changed("default: 80", "default: true"),
        "objects/pool.yaml: port: default: its own type refuses it: True",
    ),
    "a default that is no word": (
        field("{enum: [A], default: B, help: x}"),
        "objects/pool.yaml: x: default: its own type",
    ),
    "a list's default is no list": (
        field("{type: int, list: true, default: 1, help: x}"),
        "objects/pool.yaml: x: default: its own",
    ),
    "a message with a default": (
        field("{message: Inner, default: 1, help: x}"),
        "objects/pool.yaml: x: default: a message has none",
    ),
    "half a range": (field("{type: int, range: [1], help: x}"), "objects/pool.yaml: x: range: [low, high]"),
    "a range upside down": (field("{type: int, range: [9, 1], help: x}"), "objects/pool.yaml: x: range: [low, high]"),
    "a range of a text": (field("{type: string, range: [1, 2], help: x}"), "objects/pool.yaml: x: range: only numbers"),
    "two objects of one word": ({"objects_twin": TWIN}, "objects: 'configure pool' stands for both pool and other"),
    "two files of one object": ({"objects_twin": POOL}, "objects: two files describe 'pool'"),
    "unknown attribute of a message": (
        {"messages": SHARED.replace("key: [colour]", "keys: [colour]")},
        "messages.yaml: messages.Inner: unknown attribute 'keys'",
    ),
    "a bad message nobody uses": (
        {"messages": SHARED + "  Unused: {fields: {a: {type: b, help: c}}}\n"},
        "messages.yaml: messages.Unused.a: type: unknown type 'b'",
    ),
    "unknown section of shared things": (
        {"messages": SHARED + "others: {}\n"},
        "messages.yaml: unknown attribute 'others'",
    ),
    "a command without help": (
        {"commands_c": "- {path: show x, run: y}"},
        "commands/c.yaml: [0]: path, help and one of run, does, refused are needed",
    ),
    "unknown attribute of a command": (
        {"commands_c": "- {path: show x, help: x, run: y, rum: z}"},
        "commands/c.yaml: [0]: unknown attribute 'rum'",
    ),
    "unknown argument of a command": (
        {"commands_c": "- {path: show x <se>, help: x, run: y}"},
        "commands/c.yaml: [0].path: 'show x <se>': an argument is described under args, or stands behind its",
    ),
    "a command twice": (
        {"commands_c": "- &a {path: show x, help: x, run: y}\n- *a"},
        "commands/c.yaml: [1].path: 'show x' stands here twice",
    ),
    "a command that does two things": (
        {"commands_c": "- {path: clear x, help: x, run: y, does: z}"},
        "commands/c.yaml: [0]: path, help and one of run, does, refused are needed",
    ),
    "a command twice, once among several paths": (
        {"commands_c": "- {path: show x, help: x, run: y}\n- {paths: [show y, show x], help: x, refused: z}"},
        "commands/c.yaml: [1].path: 'show x' stands here twice",
    ),
    "a command without a verb": (
        {"commands_c": "- {path: <pool> x, help: x, run: y}"},
        "commands/c.yaml: [0].path: '<pool> x': a command begins with a verb",
    ),
    "an argument of which the path does not know": (
        {"commands_c": "- {path: show x, help: x, run: y, args: {z: {type: ip, help: z}}}"},
        "commands/c.yaml: [0].args.z: the path has no such argument",
    ),
    "a system object in groups that are no list": (
        {"system_defaults": "pool:\n- {name: x, servers: {ip: 10.0.0.1}}"},
        "system_defaults.yaml: pool.x.servers: a list is expected here, or a mapping with each and by",
    ),
    "an object's own list as a command": (
        {"commands_c": "- {path: show pool, help: x, run: y}"},
        "commands/c.yaml: [0].path: 'show pool': is made from the object already",
    ),
    "the name of an object as a command": (
        {"commands_c": "- {path: show pool <pool>, help: x, run: y}"},
        "commands/c.yaml: [0].path: 'show pool <pool>': is made from the object already",
    ),
    "an argument away from its word": (
        {"commands_c": "- {path: show x <pool>, help: x, run: y}"},
        "commands/c.yaml: [0].path: 'show x <pool>': an argument is described under args, or stands behind its",
    ),
    "a field with a word of the shell": (
        {"objects_pool": POOL + "  where: {type: ip, help: x}\n"},
        "objects/pool.yaml: where: the shell has this word for itself",
    ),
    "a bad value in a system object": (
        {"system_defaults": "pool:\n- {name: x, port: 0.5}"},
        "system_defaults.yaml: pool.x.port: 0.5 is not a whole number",
    ),
    "a bad value inside a system object": (
        {"system_defaults": "pool:\n- {name: x, servers: [{ip: 1.2.3}]}"},
        "system_defaults.yaml: pool.x.servers.ip: '1.2.3' is not an IP address",
    ),
    "two singletons": (
        {"objects_limits": ONLY, "system_defaults": "limits: [{size: 1}, {size: 2}]"},
        "system_defaults.yaml: limits: there is exactly one of it",
    ),
    "a system object without a name": (
        {"system_defaults": "pool: [{port: 1}]"},
        "system_defaults.yaml: pool: name is missing",
    ),
    "word and words": (
        {"objects_limits": ONLY + "word: limits\n"},
        "objects/limits.yaml: words: give word or words, not both",
    ),
    "a release that is a number": (
        field("{type: ip, since: 20.1, help: x}"),
        "objects/pool.yaml: x: since: write the release in quotes",
    ),
    "a message of another file again": (
        {"messages_more": "messages:\n  Inner: {fields: {a: {type: ip, help: x}}}\n"},
        "messages/more.yaml: messages.Inner: there is another one of this name (the other in messages.yaml)",
    ),
    "an enumeration of another file again": (
        {"messages_more": "enums:\n  Colour: [BLUE]\n"},
        "messages/more.yaml: enums.Colour: there is another one of this name",
    ),
    "a bad message of another file": (
        {"messages_more": "messages:\n  Box: {fields: {a: {type: b, help: x}}}\n"},
        "messages/more.yaml: messages.Box.a: type: unknown type 'b'",
    ),
    "a noun that is an object type": (
        {"outside": "- {reason: x, nouns: [pool]}\n"},
        "outside.yaml: [0]: 'pool' is an object type, or stands here twice",
    ),
    "a noun without a reason": ({"outside": "- {nouns: [pond]}\n"}, "outside.yaml: [0]: reason and nouns are needed"),
    "help of a shell word": ({"shell": "show:\n"}, "shell.yaml: show: help is missing"),
    "unknown system object": ({"system_defaults": "pond:\n- {name: x}"}, "system_defaults.yaml: pond: unknown object"),
    "unknown field of a system object": (
        {"system_defaults": "pool:\n- {name: x, inner: {size: 1}}"},
        "system_defaults.yaml: pool.x.inner.size: unknown field",
    ),
    "a system object that is no mapping": (
        {"system_defaults": "pool: [x]"},
        "system_defaults.yaml: pool: a mapping is expected here",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_grammar_is_refused_with_file_and_path(tmp_path, case):
    files, text = BAD[case]
    with pytest.raises(SchemaError) as caught:
        load(write(tmp_path, **files))
    assert str(caught.value).startswith(text.partition(" ")[0].rstrip(":")), str(caught.value)
    assert text in " ".join(str(caught.value).split()), str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    for name in ("objects", "commands"):
        (tmp_path / name).mkdir()
    with pytest.raises(SchemaError, match="no grammar here"):
        load(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(SchemaError, match="no grammar here"):
        load(tmp_path / "away")


class TestCompiledForm:
    def test_it_is_kept_and_used(self, tmp_path):
        grammar, cache = write(tmp_path), tmp_path / "cache"
        first = load(grammar, cache)
        (kept,) = cache.glob("grammar-*.pickle")
        before = kept.stat().st_mtime_ns
        again = load(grammar, cache)
        assert again.index == first.index
        assert again.object("pool").fields.keys() == first.object("pool").fields.keys()
        assert kept.stat().st_mtime_ns == before

    def test_a_change_of_the_grammar_replaces_it(self, tmp_path):
        cache = tmp_path / "cache"
        load(write(tmp_path), cache)
        (old,) = cache.glob("*")
        schema = load(write(tmp_path, objects_pool=POOL.replace("help: Servers\nscope", "help: Other\nscope")), cache)
        assert schema.index["pool"][2] == "Other"
        assert [p.name for p in cache.glob("*")] != [old.name]

    @pytest.mark.parametrize("junk", [b"", b"junk", pickle.dumps("a text")[:-3]])
    def test_a_damaged_one_is_made_again(self, tmp_path, junk):
        cache = tmp_path / "cache"
        load(write(tmp_path), cache)
        (kept,) = cache.glob("*")
        kept.write_bytes(junk)
        assert load(tmp_path, cache).index
        assert kept.read_bytes() != junk

    def test_every_user_may_read_it(self, tmp_path):
        before = os.umask(0o077)
        try:
            load(write(tmp_path), tmp_path / "cache")
        finally:
            os.umask(before)
        (kept,) = (tmp_path / "cache").glob("*")
        assert kept.stat().st_mode & 0o777 == 0o644

    def test_a_bug_in_reading_it_is_not_hidden(self, tmp_path, monkeypatch):
        def fails(_):
            raise RuntimeError("a bug")

        load(write(tmp_path), tmp_path / "cache")
        monkeypatch.setattr("avish.schema.load.pickle.loads", fails)
        with pytest.raises(RuntimeError):
            load(tmp_path, tmp_path / "cache")

    def test_it_is_left_out_where_it_cannot_be_written(self, tmp_path):
        (tmp_path / "cache").write_text("a file, no folder")
        assert load(write(tmp_path), tmp_path / "cache").index


def test_the_real_grammar_loads_and_is_complete():
    schema = load(grammar_dir())
    assert set(schema.index) >= {"pool", "virtualservice", "natpolicy", "networkservice", "debugserviceengine"}
    assert all(o.help and (o.singleton or o.fields["name"]) for o in schema.objects())


@pytest.mark.parametrize("object_type", load(grammar_dir()).objects(), ids=lambda o: o.name)
def test_help_of_the_real_grammar_is_one_short_line(object_type):
    for place, one in helps(object_type, object_type.name, set()):
        assert 3 <= len(one.help) <= 160, place
        assert "\n" not in one.help, place
        assert not one.help.endswith("."), place


def helps(message, place, seen):
    if id(message) in seen:
        return
    seen.add(id(message))
    for one in message.fields.values():
        yield f"{place}.{one.name}", one
        if one.message is not None:
            yield from helps(one.message, f"{place}.{one.name}", seen)
