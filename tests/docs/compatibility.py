"""What a reader of events can bear: the difference between the schemas that were published and those of the code.

Within a version a field that may be absent can be added. A reader that does not know it passes over it, and one that
does reads events from before it. Whatever else differs breaks somebody: old code with new events, or new code with old.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

WORDS = frozenset({"title", "description"})
"""What is for people."""
CHOICES = frozenset({"allOf", "anyOf"})
"""Lists of schemas."""


def versions(schema: Json) -> dict[str, Json]:
    """`DecisionMade.v1` and its like."""
    return {name: body for name, body in schema["$defs"].items() if "." in name}


def breaks(kept: Json, made: Json) -> list[str]:
    """What `made` would break, each with its version and place."""
    found: list[str] = []
    for title, old in versions(kept).items():
        if title in versions(made):
            found += (f"{title}{told}" for told in _differences(old, versions(made)[title], kept, made, ""))
        else:
            found.append(f"{title}: it is no longer declared")
    return found


def reworded(kept: Json, made: Json) -> list[str]:
    """Versions of which something else is said now."""
    names = [name.partition(".")[0] for name in versions(kept)]
    both = [name for name in names if name in kept["$defs"] and name in made["$defs"]]
    return [name for name in both if kept["$defs"][name].get("description") != made["$defs"][name].get("description")]


def _differences(old: Any, new: Any, kept: Json, made: Json, place: str) -> Iterator[str]:
    old, new = _resolved(old, kept), _resolved(new, made)
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new:
            yield f"{place}: it was {_told(old)}, it is {_told(new)}"
        return
    if "properties" in old and "properties" in new:
        yield from _of_fields(old, new, kept, made, place)
    for key in sorted((old.keys() | new.keys()) - WORDS - {"properties", "required"}):
        one, other = old.get(key), new.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, kept, made, place)
        elif key in CHOICES and isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for each, now in zip(one, other, strict=True):
                yield from _differences(each, now, kept, made, place)
        elif one != other:
            yield f"{place}: {key} was {_told(one)}, it is {_told(other)}"


def _of_fields(old: Json, new: Json, kept: Json, made: Json, place: str) -> Iterator[str]:
    before, after = old["properties"], new["properties"]
    always, now_always = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(before.keys() | after.keys()):
        where = f"{place}/{name}"
        if name not in after:
            yield f"{where}: the field is gone"
        elif name not in before:
            if name in now_always:
                yield f"{where}: the field is new and always there, which it is not in events from before"
        elif (name in always) != (name in now_always):
            yield f"{where}: it {'was always there' if name in always else 'could be absent'}, that changed"
        else:
            yield from _differences(before[name], after[name], kept, made, where)


def _resolved(schema: Any, document: Json) -> Any:
    while isinstance(schema, Mapping) and "$ref" in schema:
        schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _told(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
