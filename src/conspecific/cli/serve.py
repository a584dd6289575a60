"""conspecific serve: a search page and its API."""

from importlib.util import find_spec

from conspecific.config.schema import ServeConfig
from conspecific.errors import ConfigError
from conspecific.tables import PlainConsole


def run(config: ServeConfig) -> None:
    """Open the run or index, embed the images unless that was done before, and answer until Ctrl-C."""
    require_extra("serve")
    from conspecific.serving.open import open_gallery
    from conspecific.serving.server import listen, serve

    console = PlainConsole()
    with listen(config.host, config.port) as listening:  # a port that is taken is told before the work
        serve(open_gallery(config, console), config, listening, console)


def require_extra(command: str) -> None:
    """Raise ConfigError where the packages of the extra `serve` are not installed, which a command needs."""
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        needs = f"{command} needs the extra `serve` ({' and '.join(missing)})"
        raise ConfigError(f"{needs}: pip install 'conspecific[serve]'")
