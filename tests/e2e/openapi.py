"""A small checker of OpenAPI 3.1 documents and of bodies against their schemas: the rules this server's document uses."""
import datetime
import re
import uuid

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
TYPES = {"null": type(None), "boolean": bool, "object": dict, "array": list, "string": str, "number": (int, float),
         "integer": int}
SCHEMA_WORDS = {"$ref", "type", "format", "enum", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
                "items", "properties", "additionalProperties", "required", "description", "oneOf"}
NUMBERS = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}


def resolve(doc, ref):
    assert ref.startswith("#/"), ref
    at = doc
    for step in ref[2:].split("/"):
        at = at[step.replace("~1", "/").replace("~0", "~")]
    return at


def follow(doc, thing):
    return resolve(doc, thing["$ref"]) if "$ref" in thing else thing


def references(thing):
    if isinstance(thing, dict):
        for k, v in thing.items():
            if k == "$ref":
                yield v
            else:
                yield from references(v)
    elif isinstance(thing, list):
        for v in thing:
            yield from references(v)


def check_schema(schema, at):
    assert isinstance(schema, dict) and schema.keys() <= SCHEMA_WORDS, (at, schema)
    types = schema.get("type", [])
    for t in [types] if isinstance(types, str) else types:
        assert t in TYPES, (at, t)
    for word in NUMBERS & schema.keys():
        assert isinstance(schema[word], (int, float)), at
    if "enum" in schema:
        assert schema["enum"] and len(set(schema["enum"])) == len(schema["enum"]), at
    if schema.get("type") == "array" and "items" in schema:
        check_schema(schema["items"], at + ".items")
    if types == "object":       # of one that says neither, nothing may be in it for those who make types of it
        assert "properties" in schema or schema.get("additionalProperties") is True, at
    for name, member in schema.get("properties", {}).items():
        check_schema(member, f"{at}.{name}")
    required = schema.get("required", ["?"])
    assert required and len(set(required)) == len(required), at
    assert "required" not in schema or set(required) <= schema["properties"].keys(), at


def check_content(content, at):
    assert content, at
    for media, value in content.items():
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", media), at
        check_schema(value["schema"], at)


def check_parameters(path, operation, at):
    named = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
    assert len(set(named)) == len(named), at
    assert {n for i, n in named if i == "path"} == set(re.findall(r"{([^}]*)}", path)), at
    for p in operation.get("parameters", []):
        assert p["in"] in ("path", "query") and (p["in"] != "path" or p["required"] is True), at
        check_schema(p["schema"], f"{at} {p['name']}")


def check_answers(doc, operation, at):
    assert any(s[0] in "12" for s in operation["responses"]), at
    for status, answer in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d", status), at
        answer = follow(doc, answer)
        assert answer["description"], at
        if "content" in answer:
            check_content(answer["content"], at)


def check(doc):
    """Raises AssertionError or KeyError where the document breaks a rule."""
    assert re.fullmatch(r"3\.1\.\d+", doc["openapi"])
    assert doc["info"]["title"] and doc["info"]["version"]
    assert doc.keys() <= {"openapi", "info", "servers", "paths", "components", "tags", "security"}
    for ref in references(doc):
        resolve(doc, ref)
    ids = []
    for path, item in doc["paths"].items():
        assert path.startswith("/") and item.keys() <= METHODS, path
        for method, operation in item.items():
            at = f"{method} {path}"
            ids.append(operation["operationId"])
            assert operation["summary"] and operation["tags"], at
            check_parameters(path, operation, at)
            if "requestBody" in operation:
                check_content(operation["requestBody"]["content"], at)
            check_answers(doc, operation, at)
            for demand in operation["security"]:
                assert demand.keys() <= doc["components"]["securitySchemes"].keys(), at
    assert len(set(ids)) == len(ids)
    for name, schema in doc["components"]["schemas"].items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        check_schema(schema, name)


def is_of(value, name):
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, TYPES[name])


def conforms(doc, schema, value, at="body"):
    """Raises AssertionError where the value is not what the schema says."""
    schema = follow(doc, schema)
    types = schema.get("type", list(TYPES))
    types = [types] if isinstance(types, str) else types
    assert any(is_of(value, t) for t in types), (at, types, value)
    if value is None:
        return
    if "enum" in schema:
        assert value in schema["enum"], (at, value)
    if schema.get("format") == "uuid":
        uuid.UUID(value)
    if schema.get("format") == "date-time":
        datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            conforms(doc, schema["items"], item, f"{at}[{i}]")
    if isinstance(value, dict):
        assert set(schema.get("required", [])) <= value.keys(), (at, set(schema.get("required", [])) - value.keys())
        for k, member in schema.get("properties", {}).items():
            if k in value:
                conforms(doc, member, value[k], f"{at}.{k}")
