"""The lines NAME="value" of a settings file, read as systemd reads an EnvironmentFile (systemd.exec(5)).

Shells and dotenv read some of them otherwise: systemd has no comments behind a value, joins what is quoted, and escapes
the next character outside of quotes, too.
"""

from __future__ import annotations

import re

_QUOTED = r"""'([^']*)'|"((?:[^"\\]|\\.)*)\""""
_BARE = r"(?:[^\\\n\r]|\\.)"
_LINE = re.compile(
    rf"""(?P<comment>[#;][^\n\r]*)|(?P<name>[^=\n\r]*?)[ \t]*=(?P<quoted>(?:[ \t]|{_QUOTED})*)(?P<bare>{_BARE}*)""",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = re.compile(r"[ \t\n\r]*")


def parse_environment(text: str) -> dict[str, str]:
    """The variables that `text` sets, the last one of a name.

    :raises ValueError: a line that systemd leaves out, or that its versions read differently; a quote without its end.
    """
    environment, position = {}, _BLANK.match(text).end()
    while position < len(text):
        line = _LINE.match(text, position)
        if not line or not _is_clear(line):
            shown = text[position:].splitlines()[0].strip()
            raise ValueError(f'the line {shown!r}, expected NAME="value"')
        if line["name"]:
            environment[line["name"]] = _quoted(line["quoted"]) + _bare(line["bare"])
        position = _BLANK.match(text, line.end()).end()
    return environment


def _is_clear(line: re.Match) -> bool:
    if line["comment"]:
        # Up to version 253, systemd takes the next line for a part of this one.
        return not line["comment"].endswith("\\")
    ends = line.end() == len(line.string) or line.string[line.end()] in "\n\r"
    return bool(_NAME.fullmatch(line["name"])) and ends and not line["bare"].startswith(("'", '"'))


def _quoted(text: str) -> str:
    values = []
    for single, double in re.findall(_QUOTED, text, re.DOTALL):
        values.append(single or re.sub(r'\\(?:\n|(["\\`$]))', lambda escape: escape[1] or "", double))
    return "".join(values)


def _bare(text: str) -> str:
    # Blanks at the end count only if they are escaped.
    kept = re.fullmatch(rf"({_BARE}*?)[ \t]*", text, re.DOTALL)[1]
    return re.sub(r"\\(?:[\n\r]|(.))", lambda escape: escape[1] or "", kept, flags=re.DOTALL)
