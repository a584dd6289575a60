"""The names of the package root: imported late, documented, complete."""

import asyncio
import subprocess
import sys

import pytest

import conspecific as cs

FRESH = """
import sys, time
start = time.process_time()
import conspecific
seconds = time.process_time() - start
heavy = sorted({"torch", "numpy", "polars", "pytorch_lightning", "hydra", "faiss"} & set(sys.modules))
print(seconds, ",".join(heavy), conspecific.__version__ != "", "evaluate" in dir(conspecific))
"""


def test_the_import_is_fast_and_imports_no_torch() -> None:
    seconds, *found = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True).stdout.split(" ")
    assert found == ["", "True", "True\n"]
    assert float(seconds) < 0.1


def test_every_public_name_is_there_and_documented() -> None:
    functions = {"compare", "evaluate", "load", "serve", "train"}
    assert set(cs.__all__) == functions | {"Embedder", "FineTuner", "Index", "RetrievalCallback", "__version__"}
    for name in set(cs.__all__) - {"__version__"}:
        found = getattr(cs, name)
        assert name in dir(cs)
        assert found.__name__ == name and found.__module__.startswith("conspecific.")
        assert found.__doc__ and len(found.__doc__.splitlines()) > 3
    assert set(cs._HOMES) | {"__version__"} == set(cs.__all__)


def test_training_from_python_takes_no_options() -> None:
    with pytest.raises(ValueError, match="train makes one run and takes KEY=VALUE only; found -m"):
        cs.train(["-m", "seed=1,2"])


def test_a_notebook_cannot_serve() -> None:
    async def cell() -> None:
        cs.serve("runs/first")

    with pytest.raises(ValueError, match="an event loop is running here, as in a notebook: run conspecific serve in"):
        asyncio.run(cell())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'conspecific' has no attribute 'evalute'"):
        cs.evalute  # noqa: B018
