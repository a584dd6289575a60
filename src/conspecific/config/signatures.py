"""Arguments of a class or function, read from its source: importing it can take seconds."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def written_arguments(target: str) -> dict[str, str] | None:
    """Return the arguments that `package.module.Name` takes, name -> annotation as it is written. Imports nothing.

    A class that hands **kwargs up takes its bases' too. None where the source does not say: for what is not written in
    Python, is imported with `*`, or takes any arguments.

    >>> written_arguments("conspecific.data.sources.from_images")
    {'root': 'str', 'on_bad': 'str', 'max_bad_share': 'float', 'max_pixels': 'int'}
    """
    module, _, name = target.rpartition(".")
    try:
        return _arguments(module, name)
    except (LookupError, SyntaxError, RecursionError):
        return None


def _arguments(module: str, name: str) -> dict[str, str]:
    """Raises LookupError where they are not known."""
    file = _file(module)
    for node in _tree(file).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_function(node)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(module, node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _arguments(_origin(module, file, node), alias.name)
    raise LookupError(name)


def _of_class(module: str, node: ast.ClassDef) -> dict[str, str]:
    own = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if own is None and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = (each for each in node.body if isinstance(each, ast.AnnAssign))
        return {ast.unparse(each.target): ast.unparse(each.annotation) for each in fields}
    found = {} if own is None else _of_function(own, hands_up=True)
    found.pop("self", None)
    if own is None or own.args.kwarg is not None:
        for base in node.bases:
            found = _arguments(module, ast.unparse(base)) | found
    return found


def _of_function(node: ast.FunctionDef, hands_up: bool = False) -> dict[str, str]:
    if node.args.kwarg is not None and not hands_up:
        raise LookupError(node.name)
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return {each.arg: ast.unparse(each.annotation) if each.annotation else "" for each in arguments}


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
