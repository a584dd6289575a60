"""Argument names of a class or function, read from its source: importing it can take seconds."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def argument_names(target: str) -> frozenset[str] | None:
    """Return the names of the arguments that `package.module.Name` takes. Imports nothing.

    A class that hands **kwargs up takes its bases' too. None where the source does not say: for what is not written in
    Python, is imported with `*`, or takes any arguments.

    >>> sorted(argument_names("conspecific.data.sources.from_images"))
    ['max_bad_share', 'max_pixels', 'on_bad', 'root']
    """
    module, _, name = target.rpartition(".")
    try:
        return _arguments(module, name)
    except (LookupError, SyntaxError, RecursionError):
        return None


def _arguments(module: str, name: str) -> frozenset[str]:
    """Raises LookupError where they are not known."""
    file = _file(module)
    for node in _tree(file).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _names(node)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _names_of_class(module, node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _arguments(_origin(module, file, node), alias.name)
    raise LookupError(name)


def _names_of_class(module: str, node: ast.ClassDef) -> frozenset[str]:
    own = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if own is None and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return frozenset(ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign))
    names = frozenset() if own is None else _names(own, hands_up=True) - {"self"}
    if own is not None and own.args.kwarg is None:
        return names
    return names.union(*(_arguments(module, ast.unparse(base)) for base in node.bases))


def _names(node: ast.FunctionDef, hands_up: bool = False) -> frozenset[str]:
    if node.args.kwarg is not None and not hands_up:
        raise LookupError(node.name)
    return frozenset(argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))


def _origin(module: str, file: Path, node: ast.ImportFrom) -> str:
    """Return the module that `from ... import` names; relative ones spelt out."""
    if not node.level:
        return str(node.module)
    package = module.split(".") if file.stem == "__init__" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def _file(module: str) -> Path:
    """Return the source of a module. Only the folder of its top package is looked up, which imports nothing."""
    top, *rest = module.split(".")
    found = find_spec(top)
    if found is None or not found.submodule_search_locations:
        raise LookupError(module)
    for path in _candidates(Path(found.submodule_search_locations[0]).joinpath(*rest)):
        if path.is_file():
            return path
    raise LookupError(module)


def _candidates(place: Path) -> Iterator[Path]:
    yield place / "__init__.py"
    yield place.with_suffix(".py")


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
