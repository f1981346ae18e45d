"""The vectors that must be refused: each is an accepted one with one thing wrong.

A vector says how it is read (``reader``), gives its bytes (``text``, or ``base64`` where they are
no UTF-8; with spaces up to ``padded_to`` bytes), why it is refused, and a part of our own message.

Readers: ``json`` any bounded JSON; ``payload`` the payload of a statement of any type; all others
name a document of ``docs/wire-format.md``.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from interlock_core.statement import Opened

Vector = dict[str, Any]
Change = Callable[[Any], None]

SMALL_LIMIT: Final = 4096
"""What the reader ``json`` reads at most, in bytes."""


def _canonical(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _vector(reader: str, why: str, says: str, text: str | bytes, **more: Any) -> Vector:
    try:
        shown = {"text": text.decode() if isinstance(text, bytes) else text}
    except UnicodeDecodeError:
        shown = {"base64": base64.b64encode(text if isinstance(text, bytes) else b"").decode()}
    return {"reader": reader, "why": why, "says": says, **shown, **more}


def put(*path: str | int, to: Any) -> Change:
    """Set the value at ``path``."""

    def change(tree: Any) -> None:
        *way, last = path
        for step in way:
            tree = tree[step]
        tree[last] = to

    return change


def drop(*path: str | int) -> Change:
    """Remove the value at ``path``."""

    def change(tree: Any) -> None:
        *way, last = path
        for step in way:
            tree = tree[step]
        del tree[last]

    return change


def said(field: str, to: Any) -> Change:
    return put("predicate", field, to=to)


def both(*changes: Change) -> Change:
    def change(tree: Any) -> None:
        for one in changes:
            one(tree)

    return change


JSON: Final = (
    ("a key stands twice", "twice", '{"a":1,"a":1}'),
    ("a key stands twice, once escaped", "twice", '{"a":1,"\\u0061":2}'),
    ("a key stands twice, deeper down", "twice", '[{"x":{"a":1,"b":2,"a":3}}]'),
    ("a fraction", "not an integer", '{"a":1.5}'),
    ("a whole number with a point", "not an integer", '{"a":1.0}'),
    ("an exponent", "not an integer", '{"a":1e2}'),
    ("not a number", "not an integer", '{"a":NaN}'),
    ("infinity", "not an integer", '{"a":-Infinity}'),
    ("an integer of 54 bits", "53 bits", '{"a":9007199254740992}'),
    ("a negative integer of 54 bits", "53 bits", '{"a":-9007199254740992}'),
    ("an integer of 1,000 digits", "53 bits", '{"a":' + 1_000 * "9" + "}"),
    ("33 levels of lists", "deeper than 32", 33 * "[" + 33 * "]"),
    ("33 levels of objects", "deeper than 32", 33 * '{"a":' + "1" + 33 * "}"),
    ("2,000 levels", "deeper than 32", 2_000 * "[" + 2_000 * "]"),
    ("half of a surrogate pair", "surrogate", '{"a":"\\ud83d"}'),
    ("half of a surrogate pair in a key", "surrogate", '{"\\udede":1}'),
    ("no UTF-8", "not UTF-8", b'{"a":"\xff"}'),
    ("an overlong slash", "not UTF-8", b'{"a":"\xc0\xaf"}'),
    ("a surrogate in UTF-8", "not UTF-8", b'{"a":"\xed\xa0\x80"}'),
    ("a byte order mark", "not JSON", b'\xef\xbb\xbf{"a":1}'),
    ("UTF-16", "not UTF-8", '{"a":1}'.encode("utf-16")),
    ("nothing", "not JSON", ""),
    ("cut off", "not JSON", '{"a":'),
    ("two values", "not JSON", "{} {}"),
    ("a comment", "not JSON", '{"a":1} // one'),
    ("a raw newline in a string", "not JSON", '{"a":"\n"}'),
    ("a comma too many", "not JSON", '{"a":[1,]}'),
    ("single quotes", "not JSON", "{'a':1}"),
)

SIGNATURE: Final = {"keyid": 64 * "a", "sig": "AAAA"}
SMALL_ENVELOPE: Final = {"payload": "", "payloadType": "", "signatures": [SIGNATURE]}
ENVELOPE: Final[tuple[tuple[str, str, Change], ...]] = (
    ("an unknown field", "unknown field", put("note", to="")),
    ("no signatures field", "missing required field", drop("signatures")),
    ("no signature", "length >= 1", put("signatures", to=[])),
    ("17 signatures", "length <= 16", put("signatures", to=17 * [SIGNATURE])),
    ("an empty signature", "length >= 1", put("signatures", 0, "sig", to="")),
    ("a key id in capitals", "regex", put("signatures", 0, "keyid", to=64 * "A")),
    ("another payload type", "in-toto", put("payloadType", to="application/json")),
    ("a payload that is no base64", "not base64", put("payload", to="{}")),
    ("a payload in base64url", "not base64", put("payload", to="_-8=")),
    ("a payload with a line break", "not base64", put("payload", to="e30=\n")),
    ("a payload with stray bits", "not in canonical base64", put("payload", to="e31=")),
    ("a payload without padding", "not base64", put("payload", to="e30")),
    ("a payload that is no text", "str", put("payload", to=None)),
)

TIME: Final = "2027-03-01T08:00:00"
PAYLOAD: Final[tuple[tuple[str, str, str, Change], ...]] = (
    ("stop", "an unknown field", "unknown field", said("severity", 1)),
    ("stop", "a field left out", "missing required field", drop("predicate", "site")),
    ("stop", "a null field left out", "canonical", drop("predicate", "checkpoint")),
    ("stop", "an unknown field outside", "unknown field", put("note", to=1)),
    ("stop", "another statement type", "statement is a", put("_type", to="x")),
    ("stop", "another version", "statement is a", put("predicateType", to="urn:interlock:stop:v2")),
    (
        "stop",
        "another predicate type than its fields",
        "unknown field",
        put("predicateType", to="urn:interlock:go:v1"),
    ),
    ("stop", "a predicate that is no object", "object", put("predicate", to=[])),
    ("stop", "another subject's name", "subject differs", put("subject", 0, "name", to="orders")),
    (
        "stop",
        "another subject's digest",
        "subject differs",
        put("subject", 0, "digest", "sha256", to=64 * "0"),
    ),
    ("stop", "no subject", "subject differs", put("subject", to=[])),
    (
        "stop",
        "a subject too many",
        "subject differs",
        lambda tree: tree["subject"].append(copy.deepcopy(tree["subject"][0])),
    ),
    ("stop", "a time with an offset of zero", "canonical", said("at", TIME + "+00:00")),
    ("stop", "a time with an offset", "UTC", said("at", TIME + "+01:00")),
    ("stop", "a time without a zone", "UTC", said("at", TIME)),
    ("stop", "a time with a fraction", "whole seconds", said("at", TIME + ".5Z")),
    ("stop", "a time with a fraction of zero", "canonical", said("at", TIME + ".000Z")),
    ("stop", "a time with a small z", "canonical", said("at", TIME + "z")),
    ("stop", "a time with a space", "canonical", said("at", TIME.replace("T", " ") + "Z")),
    ("stop", "a leap second", "RFC3339", said("at", "2026-12-31T23:59:60Z")),
    ("stop", "a day that is none", "RFC3339", said("at", "2027-02-30T08:00:00Z")),
    ("stop", "a year before 1970", "1970 to 9998", said("at", "1969-12-31T23:59:59Z")),
    ("stop", "the year 9999", "1970 to 9998", said("at", "9999-01-01T00:00:00Z")),
    ("stop", "a time as a number", "datetime", said("at", 1_800_000_000)),
    ("stop", "an empty reason", "length >= 1", said("reason", "")),
    ("stop", "a reason of 1,001 characters", "length <= 1000", said("reason", 1_001 * "a")),
    ("stop", "a cohort in capitals", "regex", said("cohort", "Canary")),
    ("stop", "a cohort with a line break at its end", "regex", said("cohort", "canary\n")),
    ("stop", "a cohort of 64 characters", "regex", said("cohort", 64 * "a")),
    ("stop", "a cohort in Cyrillic", "regex", said("cohort", "\u0441anary")),
    ("stop", "an author with a slash", "regex", said("author", "olga/omar")),
    ("stop", "a digest in capitals", "regex", said("order", 64 * "A")),
    ("order", "a number as text", "int", said("seq", "7")),
    ("order", "a truth value as a number", "int", said("seq", True)),
    ("order", "the number 0", ">= 1", said("seq", 0)),
    ("order", "a reserved product", "reserved", said("product", "targets")),
    ("order", "an unknown kind", "Invalid enum value", said("kind", "downgrade")),
    ("order", "no target", "length >= 1", said("targets", [])),
    (
        "order",
        "one path twice",
        "twice",
        lambda tree: tree["predicate"]["targets"].append(tree["predicate"]["targets"][0]),
    ),
    *(
        ("order", why, says, put("predicate", "targets", 0, "path", to=path))
        for why, says, path in (
            ("a target of another product", "under the order's product", "pump/2.0.0/image.img"),
            ("a path that climbs", "regex", "gateway/../image.img"),
            ("a version with two dots", "regex", "gateway/2..0/image.img"),
            ("a file that begins with a dot", "regex", "gateway/2.0.0/.image"),
            ("a path with an escape", "regex", "gateway/2.0.0/%2e%2e"),
            ("a path with a backslash", "regex", "gateway\\2.0.0\\image.img"),
            ("a path from the root", "regex", "/gateway/2.0.0/image.img"),
            ("a path with an empty part", "regex", "gateway//image.img"),
            ("a path of four parts", "regex", "gateway/2.0.0/a/image.img"),
            ("a path of two parts", "<product>/<version>/<file>", "gateway/image.img"),
        )
    ),
    ("order", "an empty target", ">= 1", put("predicate", "targets", 0, "length", to=0)),
    ("order", "no stage", "length >= 1", said("stages", [])),
    (
        "order",
        "17 stages",
        "length <= 16",
        lambda tree: tree["predicate"].update(stages=17 * tree["predicate"]["stages"][:1]),
    ),
    (
        "order",
        "an automatic first stage",
        "stage 0 must be manual",
        put("predicate", "stages", 0, "gate", to="auto"),
    ),
    (
        "order",
        "a share that falls",
        "falls",
        put("predicate", "stages", 1, "basis_points", to=2_499),
    ),
    ("order", "a share of nothing", ">= 1", put("predicate", "stages", 0, "basis_points", to=0)),
    (
        "order",
        "a share of more than all",
        "<= 10000",
        put("predicate", "stages", 1, "basis_points", to=10_001),
    ),
    (
        "order",
        "a cohort twice in a stage",
        "one cohort twice",
        put("predicate", "stages", 0, "cohorts", to=["canary", "canary"]),
    ),
    ("order", "a stage of nobody", "length >= 1", put("predicate", "stages", 0, "cohorts", to=[])),
    (
        "order",
        "a soak of more than 90 days",
        "<= 7776000",
        put("predicate", "stages", 0, "soak_seconds", to=7_776_001),
    ),
    ("order", "an end at its beginning", "after `not_before`", said("expires", TIME + "Z")),
    (
        "order",
        "a window that is never open",
        "never open",
        said("window", {"opens": "02:00", "closes": "02:00"}),
    ),
    (
        "order",
        "a time of day that is none",
        "regex",
        said("window", {"opens": "24:00", "closes": "02:00"}),
    ),
    ("authorisation, approved", "an unknown meaning", "Invalid enum", said("meaning", "authored")),
    ("authorisation, approved", "a stop authorised", "Invalid enum", said("authorises", "stop")),
    ("go, open", "an unknown act", "Invalid enum", said("act", "extend")),
    ("go, open", "an opening that renews", "`renews`", said("renews", 64 * "0")),
    ("go, open", "an opening that clears", "`clears`", said("clears", [64 * "0"])),
    ("go, renew", "a renewal of nothing", "`renews`", said("renews", None)),
    ("go, renew", "a renewal that clears", "`clears`", said("clears", [64 * "0"])),
    ("go, resume", "one stop cleared twice", "twice", said("clears", 2 * [64 * "0"])),
    ("go, open", "stage 16", "<= 15", said("stage", 16)),
    ("go, open", "valid no longer than its signing", "30 days", said("valid_until", TIME + "Z")),
    (
        "go, open",
        "valid for 30 days and a second",
        "30 days",
        both(said("at", TIME + "Z"), said("valid_until", "2027-03-31T08:00:01Z")),
    ),
    ("exclusion, of a device", "of nothing", "a device or a reason", said("device", None)),
    ("exclusion, of a device", "of both", "a device or a reason", said("failure", "bad_health")),
    ("assignment", "a move to where it is", "same cohort", said("to", "st-anna")),
    ("enrolment", "a key without a value", "missing", put("predicate", "key", "keyval", to={})),
    ("report, the first", "a first report with one before", "first", said("previous", 64 * "0")),
    ("report, after an update", "a second with none before", "first", said("previous", None)),
    ("report, the first", "a field for a patient", "unknown field", said("patient", "M. Muster")),
    (
        "recall",
        "an image twice",
        "one image twice",
        lambda tree: tree["predicate"].update(images=2 * tree["predicate"]["images"]),
    ),
    ("recall", "nothing taken back", "length >= 1", said("images", [])),
    ("disposition", "an unknown word", "Invalid enum", said("disposition", "lost")),
    ("disposition", "a fact of tomorrow", "`since`", said("since", "2027-03-04T08:00:00Z")),
    ("session", "a challenge of 15 characters", "length >= 16", said("challenge", 15 * "a")),
)

RANGE: Final = ("frames", 0, "prefix", 1)


def _doubled(field: str) -> Change:
    def change(tree: Any) -> None:
        tree[field] = 2 * tree[field]

    return change


def _to_itself(tree: Any) -> None:
    tree["to_sha256"] = tree["from_sha256"]


DOCUMENTS: Final[tuple[tuple[str, str, str, Change], ...]] = (
    ("roster", "an unknown field", "unknown field", put("note", to="")),
    ("roster", "its type left out", "canonical", drop("type")),
    ("roster", "another type", "Invalid enum", put("type", to="urn:interlock:roster:v2")),
    ("roster", "nobody", "length >= 1", put("persons", to=[])),
    ("roster", "no rule", "length >= 1", put("rules", to=[])),
    ("roster", "the number 0", ">= 1", put("seq", to=0)),
    (
        "roster",
        "one person twice",
        "two persons named olga",
        lambda tree: tree["persons"][1].update(name="olga"),
    ),
    (
        "roster",
        "a key of two people",
        "two people never share a key",
        lambda tree: tree["persons"][1].update(keys=tree["persons"][0]["keys"]),
    ),
    (
        "roster",
        "a key twice with one person",
        "one public key twice",
        lambda tree: tree["persons"][0]["keys"].append(tree["persons"][0]["keys"][0]),
    ),
    (
        "roster",
        "a key under another id",
        "id or spelling",
        put("persons", 0, "keys", 0, "keyid", to=64 * "0"),
    ),
    (
        "roster",
        "a key in capitals",
        "lower-case",
        lambda tree: tree["persons"][0]["keys"][0]["keyval"].update(
            public=tree["persons"][0]["keys"][0]["keyval"]["public"].upper()
        ),
    ),
    (
        "roster",
        "a kind of key that is not accepted",
        "not accepted",
        put("persons", 0, "keys", 0, "scheme", to="rsa-pkcs1v15-sha256"),
    ),
    (
        "roster",
        "two rules for one pattern",
        "two rules",
        lambda tree: tree["rules"].append(tree["rules"][0]),
    ),
    ("roster", "a star in the middle", "regex", put("rules", 0, "pattern", to="st-*a")),
    ("roster", "a rule that asks nobody", ">= 1", put("rules", 0, "start", to={"approver": 0})),
    (
        "roster",
        "a rule that asks the monitor",
        "the monitor can authorise nothing",
        put("rules", 0, "advance", to={"monitor": 1}),
    ),
    (
        "roster",
        "a monitor who is an operator too",
        "holds another role",
        lambda tree: tree["persons"][0]["grants"].append(tree["persons"][5]["grants"][0]),
    ),
    ("roster", "a time with an offset of zero", "canonical", put("issued", to=TIME + "+00:00")),
    ("directive", "a percentage of the server's own", "unknown field", put("percentage", to=50)),
    (
        "directive",
        "a stage of the server's own",
        "unknown field",
        put("products", "gateway", "stage", to=1),
    ),
    ("directive", "its type left out", "canonical", drop("type")),
    ("directive", "no chain", "missing", drop("products", "gateway", "chain")),
    (
        "directive",
        "65 stops",
        "length <= 64",
        put("products", "gateway", "stops", to=65 * [SMALL_ENVELOPE]),
    ),
    ("bundle", "an unknown field", "unknown field", put("authority", to=True)),
    ("bundle", "root version 0", ">= 1", put("roots", "image", to=0)),
    ("bundle", "17 files", "length <= 16", put("files", to={f"/{n}": "" for n in range(17)})),
    ("image", "an unknown fact", "unknown field", put("certified", to=True)),
    ("image", "its kind left out", "leave out a field", drop("kind")),
    ("image", "another product than its path", "not what its path says", put("product", to="pump")),
    ("image", "another version than its path", "not what its path", put("version", to="2.0.1")),
    ("image", "no hardware", "length >= 1", put("hardware_ids", to=[])),
    ("image", "no slot", "length >= 1", put("slots", to=[])),
    (
        "image",
        "a slot twice",
        "one slot twice",
        lambda tree: tree["slots"].append(tree["slots"][0]),
    ),
    ("image", "a floor above itself", "must not exceed", put("raises_floor_to", to=21)),
    ("image", "a barrier at itself", "must be below", put("min_counter_installed", to=20)),
    ("image", "a country in small letters", "regex", put("markets", to=["de"])),
    (
        "image",
        "a last day that is none",
        "day is out of range",
        put("support_end", to="2031-02-30"),
    ),
    ("delta", "an unknown fact", "unknown field", put("window", to=27)),
    ("delta", "its kind left out", "leave out a field", drop("kind")),
    ("delta", "another version than its path", "not what its path", put("version", to="2.0.1")),
    ("delta", "to where it comes from", "from one image to another", _to_itself),
    ("delta", "no header", ">= 1", put("header_length", to=0)),
    ("delta", "a header of more than 1 MiB", "<= 1048576", put("header_length", to=2**20 + 1)),
    ("delta header", "an unknown field", "unknown field", put("window", to=27)),
    ("delta header", "its type left out", "canonical", drop("type")),
    ("delta header", "another old image", "other images", put("old", "sha256", to=64 * "0")),
    ("delta header", "an old image that is longer", "other images", put("old", "length", to=7201)),
    ("delta header", "another new image", "other images", put("new", "sha256", to=64 * "0")),
    ("delta header", "a segment that is no power of two", "power of two", put("segment", to=4097)),
    ("delta header", "a segment of 2 MiB", "<= 1048576", put("segment", to=2**21)),
    ("delta header", "a segment without a frame", "must hold 2", drop("frames", 1)),
    ("delta header", "a frame without a segment", "must hold 2", _doubled("frames")),
    ("delta header", "an empty frame", ">= 1", put("frames", 0, "length", to=0)),
    (
        "delta header",
        "a frame that is too long",
        "can need",
        put("frames", 0, "length", to=5137),
    ),
    ("delta header", "a range beyond the old image", "beyond", put(*RANGE, to=[5000, 2201])),
    ("delta header", "an empty range", ">= 1", put(*RANGE, to=[5000, 0])),
    ("delta header", "a range before the image", ">= 0", put(*RANGE, to=[-1, 1200])),
    ("delta header", "ranges over one another", "overlap", put(*RANGE, to=[3999, 1200])),
    ("delta header", "ranges that fall", "do not rise", put(*RANGE, to=[0, 10])),
    ("fleet", "a name in capitals", "regex", put("fleet", to="North")),
    ("public key file", "another's proof", "no proof", put("name", to="omar")),
    ("public key file", "a name that is none", "regex", put("name", to="Olga")),
)


def vectors(
    statements: Mapping[str, Opened[Any]], documents: Mapping[str, bytes]
) -> list[dict[str, Any]]:
    """All of them, from the statements and documents that are accepted."""
    return [
        *_json(),
        *_envelopes(msgspec.to_builtins(statements["stop"].envelope)),
        *_payloads({name: opened.payload.decode() for name, opened in statements.items()}),
        *_documents({name: data.decode() for name, data in documents.items()}),
    ]


def _json() -> Iterator[Vector]:
    for why, says, text in JSON:
        yield _vector("json", why, says, text)
    yield _vector("json", "a byte too long", "at most 4096", '{"a":1}', padded_to=SMALL_LIMIT + 1)


def _envelopes(good: Any) -> Iterator[Vector]:
    yield from (_changed("envelope", why, says, good, change) for why, says, change in ENVELOPE)
    yield _vector(
        "envelope", "a byte too long", "at most 65536", _canonical(good), padded_to=65_537
    )


def _payloads(good: Mapping[str, str]) -> Iterator[Vector]:
    for name, why, says, change in PAYLOAD:
        yield _changed("payload", why, says, msgspec.json.decode(good[name]), change)
    text = good["stop"]
    for why, other in (
        ("white space", text.replace(",", ", ", 1)),
        ("a line break at its end", text + "\n"),
        ("an escaped letter", text.replace("Ä", "\\u00c4")),
        ("an escaped slash", text.replace("</stop>", "<\\/stop>")),
        ("a long escape for a short one", text.replace("\\n", "\\u000a")),
        ("keys out of order", "{" + ",".join(reversed(_members(text))) + "}"),
    ):
        assert other != text
        yield _vector("payload", f"not canonical: {why}", "canonical", other)


def _members(text: str) -> list[str]:
    tree = msgspec.json.decode(text)
    return [f"{_canonical(key)}:{_canonical(value)}" for key, value in sorted(tree.items())]


def _documents(good: Mapping[str, str]) -> Iterator[Vector]:
    for name, why, says, change in DOCUMENTS:
        yield _changed(name, why, says, msgspec.json.decode(good[name]), change)
    for name, limit in (("fleet", 4_096), ("public key file", 32_768), ("roster", 1_048_576)):
        yield _vector(name, "a byte too long", f"at most {limit}", good[name], padded_to=limit + 1)


def _changed(reader: str, why: str, says: str, good: Any, change: Change) -> Vector:
    tree = copy.deepcopy(good)
    change(tree)
    return _vector(reader, why, says, _canonical(tree))
