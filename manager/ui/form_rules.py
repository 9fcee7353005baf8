"""What the schemas of the API say of a field, in the words of HTML, so that browsers say it before anything is sent."""

from collections.abc import Iterator, Sequence
from typing import Any

import marshmallow as ma

from manager.api.fields import BaseUrl, Fallback, Origin
from manager.ui.form_fields import Choice, Field, Kind

type Rule = ma.fields.Field[Any]

_TEXTS = (Kind.TEXT, Kind.PASSWORD, Kind.TEXTAREA)
# Their patterns are of examples, and narrower than the rules.
_EXAMPLES = (BaseUrl, Fallback, Origin)


def schema_field(schema: ma.Schema, name: str) -> Rule:
    """Return the field of a schema that a name with dots leads to. Raises KeyError if there is none."""
    first, *more = name.split(".")
    by_key = {field.data_key: field for field in schema.fields.values() if field.data_key}
    found: Any = by_key[first] if first in by_key else schema.fields[first]
    for part in more:
        found = found.value_field if isinstance(found, ma.fields.Dict) else found.schema.fields[part]
    rule: Rule = found
    return rule


def is_required(rule: Rule, field: Field) -> bool:
    """Tell whether something has to be entered."""
    return field.kind is not Kind.CHECKBOX and (rule.required if field.required is None else field.required)


def attributes_of(rule: Rule, field: Field) -> dict[str, str]:
    """Return the attributes of a control."""
    found: dict[str, str] = {}
    if field.kind in _TEXTS:
        found |= _of_text(rule, field)
    if field.kind is Kind.NUMBER:
        low, high = _bounds(rule, "minimum", "maximum", ma.validate.Range)
        found |= _given(min=low, max=high, step="1" if isinstance(rule, ma.fields.Integer) else "any")
    found |= {name: value for name, value in field.attributes.items() if value is not None}
    return {name: value for name, value in found.items() if field.attributes.get(name, "") is not None}


def choices_of(rule: Rule) -> Sequence[Choice]:
    """Return what can be chosen, if the schema says so."""
    if isinstance(rule, ma.fields.Enum):
        return [Choice(str(member.value), _word(str(member.value))) for member in rule.enum]
    if isinstance(rule, ma.fields.Boolean):
        return [Choice("true", "Yes"), Choice("false", "No")]
    for validator in _validators(rule):
        if isinstance(validator, ma.validate.OneOf):
            return [Choice(str(value), _word(str(value))) for value in validator.choices]
    return ()


def _of_text(rule: Rule, field: Field) -> dict[str, str]:
    short, long = _bounds(rule, "minLength", "maxLength", ma.validate.Length)
    pattern = None if isinstance(rule, _EXAMPLES) or field.kind is Kind.TEXTAREA else rule.metadata.get("pattern")
    return _given(minlength=short, maxlength=long, pattern=pattern and _for_browsers(pattern))


def _bounds(rule: Rule, low: str, high: str, kind: type[Any]) -> tuple[Any, Any]:
    lowest, highest = rule.metadata.get(low), rule.metadata.get(high)
    for validator in _validators(rule):
        if isinstance(validator, kind):
            lowest, highest = validator.min if lowest is None else lowest, validator.max if highest is None else highest
    return lowest, highest


def _validators(rule: Rule) -> Iterator[Any]:
    yield from rule.validators


def _given(**attributes: Any) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items() if value is not None}


def _for_browsers(pattern: str) -> str:
    """Return a pattern as HTML has it: without the anchors that it has anyway, and in characters that can be seen."""
    bare = pattern.removeprefix("^").removesuffix("$")
    return "".join(each if " " <= each <= "~" else f"\\u{{{ord(each):x}}}" for each in bare)


def _word(value: str) -> str:
    return value.replace("_", " ").capitalize()
