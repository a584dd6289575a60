"""What the documentation site has besides the pages of this folder, and what is checked of it; a hook of mkdocs."""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from conspecific.cli.commands import COMMANDS
from conspecific.cli.keys import Key, about, keys_of
from conspecific.config.location import all_groups, config_dir, options
from conspecific.config.schema import EvaluateConfig, TrainConfig

FROM_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\s\"')]+)")
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?<![`\[/\w])(?<!\]\()docs/(\w+)\.md\b(?![`\]#])")
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made of the code, those that lie beside the README, and the examples that pages link."""
    made = {"commands.md": commands_page(), "configuration.md": configuration_page()}
    made |= {page: moved(name, (ROOT / name).read_text()) for name, page in FROM_ROOT.items()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for example in sorted((ROOT / "examples").iterdir()):
        if example.is_file():
            files.append(File.generated(config, f"examples/{example.name}", abs_src_path=str(example)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links to files beside the README lead to their pages, and those to examples to the copies of the site.

    Pages that are named in the text, as docs/log.md, become links too.
    """
    for name, target in FROM_ROOT.items():
        markdown = markdown.replace(f"](../{name}", f"]({target}")
    markdown = markdown.replace("](../examples/", "](examples/")
    parts = FENCE.split(markdown)  # every second one is a block of code
    parts[::2] = [
        NAMED.sub(lambda found: f"[{found[1].replace('_', ' ')}]({found[1]}.md)", part) for part in parts[::2]
    ]
    return "".join(parts)


def on_post_build(config: Any) -> None:
    """Raise where a page would load something from elsewhere when it is viewed, or names a file that is not there."""
    if found := list(faults(Path(config.site_dir))):
        raise PluginError("the site is not complete in itself:\n" + "\n".join(found))


def faults(site: Path) -> Iterator[str]:
    """Name each file of a site with what it loads from elsewhere, and with each local file that is missing."""
    for file in sorted(site.rglob("*.css")):
        yield from (f"{file.relative_to(site)} loads {host}" for host in IN_STYLES.findall(file.read_text("utf-8")))
    for file in sorted(site.rglob("*.html")):
        name, page = file.relative_to(site), Page(file.read_text("utf-8"))
        yield from (f"{name} loads {host}" for host in IN_STYLES.findall("".join(page.styles)))
        for tag, address in page.addresses:
            path = unquote(address.partition("#")[0].partition("?")[0])
            if ELSEWHERE.match(address):
                if tag != "a":
                    yield f"{name} loads {address}"
            elif path and not re.match(r"(?:mailto|data|javascript):", path) and not _place(site, file, path).exists():
                yield f"{name} names {address}, which is not there"


def _place(site: Path, file: Path, path: str) -> Path:
    return site / path[1:] if path.startswith("/") else file.parent / path  # 404.html names its files from the top


class Page(HTMLParser):
    """What a page refers to. addresses: tag and address of each link, image and script. styles: texts of its styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str]] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [(tag, value) for name, value in attrs if name in ("src", "href") and value]
        self.styles += [value for name, value in attrs if name == "style" and value]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.styles.append(data)


def moved(name: str, text: str) -> str:
    """Return a page that was written beside the README, with links as from this folder."""
    text = re.sub(r"\]\(docs/", "](", text)
    for other, page in FROM_ROOT.items():
        text = text.replace(f"]({other}", f"]({page}")
    return text


def commands_page() -> str:
    """Return what every command is for, its examples and its note."""
    parts = [
        "# Commands",
        "`conspecific COMMAND --help` has the same, and the keys, which are also on the page "
        "[Configuration](configuration.md).",
    ]
    for command in COMMANDS.values():
        parts += [f"## {command.name}", f"{command.summary[0].upper()}{command.summary[1:]}."]
        parts += [f"```text\nconspecific {command.name} {command.words}".rstrip() + "\n```"]
        rows = [f"| `conspecific {line}` | {_cell(meaning)} |" for line, meaning in command.examples]
        parts += ["\n".join(["| for example | |", "|---|---|", *rows]), *filter(None, [command.note])]
    return "\n\n".join(parts)


def configuration_page() -> str:
    """Return every key of every command: type, default, meaning; and the file of every option of every group."""
    lines = [INTRODUCTION, "## Keys of train", *_tables(TrainConfig, [*keys_of(TrainConfig)])]
    shared = {key.name: key for key in keys_of(EvaluateConfig) if key in _everywhere()}
    lines += ["## Keys of every command that uses a run", *_table(list(shared.values()))]
    for command in COMMANDS.values():
        keys = [key for key in keys_of(command.schema) if key != shared.get(key.name)]
        if command.schema is not TrainConfig and keys:
            lines += [f"## Keys of {command.name}", *_tables(command.schema, keys)]
    lines += ["## Groups", GROUPS]
    for group in all_groups():
        lines += [f"### {group}", *(_option(group, name) for name in options(group))]
    return "\n\n".join(lines)


INTRODUCTION = """# Configuration

Every key is set as `KEY=VALUE` on the command line, `conspecific train loader.image_size=192`, and in Python,
`cs.train(["loader.image_size=192"])`. A key that is misspelt is an error that names its neighbour. This page is made of
the schemas that the commands check against."""
GROUPS = """An option of a group is chosen by `GROUP=NAME`, and its keys are set as `GROUP.KEY=VALUE`: `loss=triplet
loss.loss.margin=0.1`. These are the files, with the defaults and what each key means."""


def _everywhere() -> set[Key]:
    found = [
        set(keys_of(COMMANDS[name].schema)) for name in ("evaluate", "embed", "search", "index", "export", "serve")
    ]
    return set.intersection(*found)


def _tables(schema: type[Any], keys: list[Key]) -> Iterator[str]:
    """A table of the keys without a section, then one for each section."""
    for section in sorted({key.section for key in keys}, key=[key.section for key in keys].index):
        if section:
            said = about(schema, section)
            yield f"**`{section}`**" + (f": {said[0].lower()}{said[1:]}." if said else "")
        yield from _table([key for key in keys if key.section == section])


def _table(keys: list[Key]) -> Iterator[str]:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{key.name}` | {_cell(key.kind)} | `{key.default}` | {_cell(key.meaning)} |" for key in keys]
    yield "\n".join(['<div class="keys" markdown>', "", *rows, "", "</div>"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _option(group: str, name: str) -> str:
    text = (config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8").rstrip()
    block = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
    return f'??? note "{group}={name}"\n\n    ```yaml\n{block}\n    ```'
