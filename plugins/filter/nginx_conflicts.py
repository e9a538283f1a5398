"""The sites of an NGINX beside which another one can't stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

DOCUMENTATION = r"""
name: nginx_conflicts
short_description: Finds the sites of an NGINX that a further site would take requests from
description:
  - Takes what C(nginx -T) prints, without the further site, and says in words which of its sites the further one would
    take requests from, or would get none beside.
  - A further site without a name of its own, C(_), is to be the default site of its port. That conflicts with a site
    that is marked C(default_server) there, or that has no name either. Sites that listen on one address only are asked
    before any of them, and don't conflict.
  - A further site with names conflicts with a site that has one of them on the same port.
positional: port, names
options:
  _input:
    description: What C(nginx -T) prints.
    type: str
    required: true
  port:
    description: The port of the further site.
    type: int
    required: true
  names:
    description: The names of the further site, separated by spaces, as NGINX's C(server_name) takes them.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Print what is in the way of a default site
  ansible.builtin.debug:
    msg: "{{ __nginx_dump.stdout | nginx_conflicts(80, '_') }}"
"""

RETURN = r"""
_value:
  description: A phrase for each site in the way, with its file.
  type: list
  elements: str
  sample: ["/etc/nginx/sites-enabled/shop, the default site of port 80"]
"""

# A word of NGINX's language, quoted or not, or one of its signs; comments are found so that they can be left out.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[;{}]|(?:\\.|\$\{[^}]*\}|[^\s;{}])+""", re.DOTALL)
_FILE = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)
# Names that no request has.
_NO_NAMES = ("_", "")

# A directive: the file that it stands in, its words, and of a block what is inside.
Directive = tuple[str, list[str], "list[Directive]"]


def nginx_conflicts(dump: str, port: int | str, names: str) -> list[str]:
    """What RETURN describes."""
    port, wanted = int(port), {name.lower() for name in names.split()} - set(_NO_NAMES)
    found = []
    for file, listens, others in _servers(dump):
        here = [listen for listen in listens if _port(listen[0]) == port]
        everywhere = [listen for listen in here if _address(listen[0]) in ("*", "0.0.0.0", "[::]")]
        marked = any(mark in listen for listen in everywhere for mark in ("default_server", "default"))
        if wanted & others and here:
            found.append(f"{file}, which has the name {min(wanted & others)} on port {port}")
        elif not wanted and marked:
            found.append(f"{file}, the default site of port {port}")
        elif not wanted and everywhere and not others:
            found.append(f"{file}, which answers port {port} whatever name is asked for")
    return list(dict.fromkeys(found))


def _servers(dump: str) -> Iterator[tuple[str, list[list[str]], set[str]]]:
    """File, the words of each `listen` and the names of each server of HTTP."""
    _, *pairs = _FILE.split(dump)
    texts = dict(zip(pairs[::2], pairs[1::2], strict=True))
    # The first file is nginx.conf, which includes the others.
    for _, words, inside in _directives(next(iter(texts), ""), texts):
        for file, inner, block in inside if words == ["http"] else []:
            if inner == ["server"]:
                listens = [words[1:] for _, words, _ in block if words[0] == "listen"]
                names = {name.lower() for _, words, _ in block if words[0] == "server_name" for name in words[1:]}
                yield file, listens or [["80"]], names - set(_NO_NAMES)


def _directives(file: str, texts: dict[str, str]) -> list[Directive]:
    """The directives of `file`, with those of the files that it includes in place of an `include`."""
    outermost: list[Directive] = []
    open_blocks, words = [outermost], []
    for token in _TOKEN.findall(texts.get(file, "")):
        if token.startswith("#"):
            continue
        if token == "}":
            if len(open_blocks) > 1:
                open_blocks.pop()
        elif token == "{":
            block: list[Directive] = []
            open_blocks[-1].append((file, words, block))
            open_blocks.append(block)
            words = []
        elif token != ";":
            words.append(token.strip("\"'"))
        elif words:
            # A relative path starts where nginx.conf is.
            pattern = str(PurePosixPath(next(iter(texts))).parent / words[-1])
            if words[0] == "include":
                included = [name for name in texts if fnmatchcase(name, pattern) and name != file]
                open_blocks[-1] += [directive for name in included for directive in _directives(name, texts)]
            else:
                open_blocks[-1].append((file, words, []))
            words = []
    return outermost


def _port(listen: str) -> int | None:
    """The port of a `listen`; None for a socket of the file system."""
    port = listen.rpartition(":")[2]
    if listen.startswith("unix:"):
        return None
    return int(port) if port.isdecimal() else 80


def _address(listen: str) -> str:
    """The address of a `listen`, * where it has none."""
    if listen.isdecimal():
        return "*"
    return re.sub(r":\d+$", "", listen)


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"nginx_conflicts": nginx_conflicts}
