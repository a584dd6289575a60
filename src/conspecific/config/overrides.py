"""Overrides as they come from a shell: the value of a key that names a path is taken literally."""

import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from conspecific.config.location import groups
from conspecific.config.yaml_file import read_yaml
from conspecific.errors import ConfigError

RECORDED = (
    "data.cache",
    "data.corrections",
    "data.labels",
    "data.path",
    "data.root",
    "model.backbone",
    "model.weights",
    "paths.cache",
    "paths.runs",
    "teacher.backbone",
    "teacher.weights",
)
"""Keys with a path that the record of a run holds."""
MOST_BYTES = 2**14  # of the overrides of a run; Hydra's parser takes half a minute for a list of that length
PLACES = frozenset({*RECORDED, "output", "resume", "run", "weights"})

OTHER_TYPE = re.compile(r"[+-]?\d[\d_.]*(e[+-]?\d+)?|\.\d+|true|false|inf|nan", re.IGNORECASE)  # read unless quoted


def override(key: str, value: str) -> str:
    """Return KEY=VALUE in Hydra's grammar, with the value taken literally.

    >>> print(override("run", "runs/it's (mine)"))
    run='runs/it\\'s (mine)'
    """
    return f"{key}={quoted(value)}"


def quoted(value: str) -> str:
    """Return a value in Hydra's quotes, so that it is taken literally."""
    text: str = QuotedString(value, Quote.single).with_quotes()
    return text


def literal(text: str) -> str:
    """Quote the value of a key that names a path, so that Hydra takes spaces, commas, quotes and brackets literally.

    A value that is quoted already, an interpolation, or several values with commas that do not exist as one file or
    folder (a sweep) are left to Hydra.

    >>> literal("data.root=/home/My Images")
    "data.root='/home/My Images'"
    >>> literal("seed=1,2")
    'seed=1,2'
    >>> literal("data.root=2024")
    "data.root='2024'"
    """
    key, _, value = text.partition("=")
    plain = re.fullmatch(r"[\w./:%-]*", value, re.ASCII) and not OTHER_TYPE.fullmatch(value)
    if key.lstrip("+") not in PLACES or plain or value[0] in "'\"" or "${" in value:
        return text
    if "," in value and not Path(value).expanduser().exists():
        return text
    return override(key, value)


def overrides_of_run(file: Path) -> list[str]:
    """Return the overrides of a run that is continued, without those that only the command line may give.

    The file can come from elsewhere. Left out are `resume`, and `allow`, because a run does not decide which code it
    may run. Raises ConfigError for an override of Hydra itself, which could name code or folders of configurations, and
    for an option that is a path out of the folders of configurations.
    """
    given = read_yaml(file, MOST_BYTES)
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise ConfigError(f"{file} does not hold a list of overrides, KEY=VALUE")
    kept = []
    for text in map(str, given):
        try:
            [parsed] = OverridesParser.create().parse_overrides([text])
        except (HydraException, RecursionError) as error:
            raise ConfigError(f"{file} holds {text[:100]!r}, which is no override, KEY=VALUE") from error
        first = re.split(r"[.\[/]", parsed.key_or_group)[0]
        if first == "hydra" or parsed.package is not None or (first in groups() and not _is_plain(parsed)):
            raise ConfigError(f"{file} holds {text}, which a run that is resumed may not set")
        if first not in ("allow", "resume"):
            kept.append(text)
    return kept


def _is_plain(parsed: Override) -> bool:
    """Whether an override of a group takes options by name, and not by a path or an interpolation."""
    value = parsed.value()
    names = value if isinstance(value, list) else [value]
    return "." in parsed.key_or_group or all(re.fullmatch(r"\w[\w/-]*", str(name)) for name in names)


def is_override(text: str) -> bool:
    """Whether an argument is KEY=VALUE, and not a path that has `=` in its name, or ends in a box, `#xywh=`."""
    key, given, _ = text.partition("=")
    return bool(given) and "#" not in key and not Path(text).expanduser().exists()
