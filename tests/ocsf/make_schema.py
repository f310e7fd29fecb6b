#!/usr/bin/env python3
"""Makes a JSON Schema of the OCSF 1.8.0 classes that Tasrih writes: 4001, 4002 and 6002.

    tests/ocsf/make_schema.py DIR > tests/ocsf/schema-1.8.0.json

DIR holds `compiled.json.gz` (classes and objects with their attributes resolved) and `raw.tar.gz` (the schema's own files,
ocsf/ocsf-schema tag v1.8.0). Attributes come from the former, constraints from the latter, because the compiler that made the former
let a parent's constraints overwrite the child's. What is stricter here than a reader of OCSF need be:

- members that the schema does not name are refused, `unmapped` apart;
- a member that a profile brings needs that profile in `metadata.profiles`, and what a profile requires is required if it is listed;
- `type_uid` is `class_uid * 100 + activity_id`, and a caption beside an enumerated id is that id's caption.
"""

import gzip
import json
import pathlib
import sys
import tarfile

CLASSES = ["http_activity", "network_activity", "application_lifecycle"]
BASE = {
    "boolean_t": {"type": "boolean"},
    "float_t": {"type": "number"},
    "integer_t": {"type": "integer"},
    "json_t": True,
    "long_t": {"type": "integer"},
    "string_t": {"type": "string"},
    "object": {"type": "object"},
}


def main(folder):
    compiled = json.loads(gzip.decompress((folder / "compiled.json.gz").read_bytes()))
    constraints = read_constraints(folder / "raw.tar.gz")
    maker = Maker(compiled, constraints)
    classes = {compiled["classes"][name]["uid"]: maker.of_class(compiled["classes"][name]) for name in CLASSES}
    maker.defs.update((f"class_{uid}", schema) for uid, schema in classes.items())
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by make_schema.py from ocsf/ocsf-schema v1.8.0, Apache-2.0; see NOTICE.md.",
        "type": "object",
        "required": ["class_uid"],
        "properties": {"class_uid": {"enum": sorted(classes)}},
        "allOf": [
            {"if": {"properties": {"class_uid": {"const": uid}}}, "then": {"$ref": f"#/$defs/class_{uid}"}} for uid in sorted(classes)
        ],
        "$defs": maker.defs,
    }
    print(json.dumps(schema, sort_keys=True, separators=(",", ":")))


def read_constraints(archive):
    """Own constraints of each class and object by name, with the name of what it extends."""
    found = {}
    with tarfile.open(archive) as raw:
        for member in raw.getmembers():
            kind = member.name.split("/")[0]
            if kind not in ("events", "objects") or not member.name.endswith(".json"):
                continue
            text = json.load(raw.extractfile(member))
            name = text.get("name") or text.get("extends")
            found[kind, name] = (text.get("constraints"), text.get("extends"))
    return found


class Maker:
    def __init__(self, compiled, constraints):
        self.compiled = compiled
        self.constraints = constraints
        self.defs = {}

    def of_class(self, one):
        schema = self.members(one, "events")
        uid = one["uid"]
        schema["properties"]["class_uid"] = {"const": uid}
        rules = schema.setdefault("allOf", [])
        for activity in one["attributes"]["activity_id"]["enum"]:
            activity = int(activity)
            rules.append(when("activity_id", activity, {"type_uid": {"const": uid * 100 + activity}}))
        for profile in sorted({a["profile"] for a in one["attributes"].values() if a.get("profile")}):
            rules.append(self.of_profile(one, profile))
        return schema

    def of_profile(self, one, profile):
        brought = {n: a for n, a in one["attributes"].items() if a.get("profile") == profile}
        required = sorted(n for n, a in brought.items() if a["requirement"] == "required")
        listed = {"properties": {"metadata": {"required": ["profiles"], "properties": {"profiles": {"contains": {"const": profile}}}}}}
        return {"if": listed, "then": {"required": required}, "else": {"properties": {name: False for name in sorted(brought)}}}

    def of_object(self, name):
        if name not in self.defs:
            self.defs[name] = True  # a place for what refers to itself
            self.defs[name] = self.members(self.compiled["objects"][name], "objects")
        return {"$ref": f"#/$defs/{name}"}

    def members(self, one, kind):
        attributes = one["attributes"]
        always = sorted(n for n, a in attributes.items() if a["requirement"] == "required" and not a.get("profile"))
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": always,
            "properties": {name: self.of_attribute(a) for name, a in sorted(attributes.items())},
        }
        rules = self.of_constraints(one, kind) + captions(attributes)
        if rules:
            schema["allOf"] = rules
        return schema

    def of_constraints(self, one, kind):
        name = one["name"]
        while name:
            own, parent = self.constraints.get((kind, name), (None, None))
            if own:
                return [self.of_constraint(rule, names) for rule, names in sorted(own.items())]
            name = parent if parent != name else None
        return []

    def of_constraint(self, rule, names):
        word = {"at_least_one": "anyOf", "just_one": "oneOf"}[rule]
        return {word: [{"required": [name]} for name in names]}

    def of_attribute(self, attribute):
        schema = self.of_type(attribute)
        enum = attribute.get("enum")
        if enum and attribute["type"] in ("integer_t", "long_t"):
            schema = {"enum": sorted(int(value) for value in enum)}
        elif enum:
            schema = {"enum": sorted(enum)}
        return {"type": "array", "items": schema} if attribute.get("is_array") else schema

    def of_type(self, attribute):
        name = attribute["type"]
        if name in BASE:
            return BASE[name]
        if name in self.compiled["objects"]:
            return self.of_object(name)
        kind = self.compiled["types"].get(name)
        if kind is None:
            return {"type": "object"}  # an object outside the compiled part; Tasrih writes none
        schema = dict(BASE[kind["type"]])
        if kind.get("regex"):
            schema["pattern"] = kind["regex"]
        if kind.get("max_len"):
            schema["maxLength"] = kind["max_len"]
        if kind.get("range"):
            schema["minimum"], schema["maximum"] = kind["range"]
        if kind.get("values") and kind["type"] != "boolean_t":
            schema["enum"] = kind["values"]
        return schema


def captions(attributes):
    rules = []
    for name, attribute in sorted(attributes.items()):
        sibling, enum = attribute.get("sibling"), attribute.get("enum")
        if not sibling or not enum or attribute.get("is_array") or sibling not in attributes:
            continue
        for value, meaning in sorted(enum.items()):
            if value != "99" and value.isdigit():
                rules.append(when(name, int(value), {sibling: {"const": meaning["caption"]}}))
    return rules


def when(name, value, then):
    return {"if": {"required": [name], "properties": {name: {"const": value}}}, "then": {"properties": then}}


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
