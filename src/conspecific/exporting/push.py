"""From an export to a repository of the Hugging Face hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, constants, get_token

from conspecific.config.schema import PushConfig
from conspecific.errors import ConfigError, RunError
from conspecific.exporting.card import TO_FILL
from conspecific.exporting.export import PARITY, PREPROCESSING, README, is_export
from conspecific.exporting.formats import FILES
from conspecific.models.networks import hub_is_reachable

CONFLICT, UNAUTHORIZED, FORBIDDEN = 409, 401, 403
OWN = (README, PREPROCESSING, PARITY, *FILES)


@dataclass(frozen=True)
class Pushed:
    """A repository that an export was pushed to. to_fill: how many fields its README leaves open."""

    url: str
    files: int
    bytes: int
    to_fill: int


def push(config: PushConfig) -> Pushed:
    """Make a repository of the hub and commit an export to it.

    The README is checked by the hub before anything is made. Raises ConfigError for a name that is none, a repository
    that exists, a missing or refused token and a refused README, and RunError where the folder holds no export or the
    upload fails.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", config.repo or ""):
        raise ConfigError(f"repo must be OWNER/NAME, a user or an organization and a new name; found {config.repo}")
    if config.export is None:
        raise ConfigError("give the folder of an export, or a run that holds one: conspecific push EXPORT repo=NAME")
    folder = find_export(Path(config.export).expanduser())
    token = _token()
    if not (folder / README).is_file():
        raise RunError(f"{folder} has no {README}, which becomes the model card. Export again")
    text = (folder / README).read_text(encoding="utf-8")
    files = [folder / name for name in OWN if (folder / name).is_file()]
    repo, api = str(config.repo), HfApi(token=token)
    with _explained(config):
        refused = _refusal(text)
    if refused:
        raise ConfigError(f"the hub refuses the header of the README. {refused} Export again with another license=...")
    with _explained(config):
        api.create_repo(repo, private=config.private, exist_ok=config.update)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[file.name for file in files],
            commit_message="Upload an export of conspecific",
        )
    return Pushed(
        f"{constants.ENDPOINT}/{repo}", len(files), sum(file.stat().st_size for file in files), text.count(TO_FILL)
    )


def find_export(folder: Path) -> Path:
    """Return the folder if it is an export, or the one export that a run holds. Raises RunError for anything else."""
    if is_export(folder):
        return folder
    found = sorted(path for path in (folder / "exports").glob("*") if is_export(path))
    if len(found) > 1:
        raise RunError(f"{folder} holds {len(found)} exports. Name one: {', '.join(map(str, found))}")
    if not found:
        raise RunError(f"{folder} is no export, and holds none. Make one: conspecific export RUN format=timm")
    return found[0]


def _token() -> str:
    """Return the token of the hub. Raises ConfigError where there is none, or no hub."""
    if (token := get_token()) is None:
        raise ConfigError(
            f"push needs a token of {constants.ENDPOINT} with the right to write: set HF_TOKEN, or run hf auth login"
        )
    if not hub_is_reachable():
        cause = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "it does not answer"
        raise ConfigError(f"nothing can be pushed to {constants.ENDPOINT}: {cause}")
    return token


def _refusal(text: str) -> str | None:
    """Return what the hub has against a README; None where it takes it."""
    try:
        ModelCard(text, ignore_metadata_errors=True).validate(repo_type="model")
    except ValueError as error:
        return " ".join(str(error).split())
    return None


@contextmanager
def _explained(config: PushConfig) -> Iterator[None]:
    """Say what was refused, and what to do about it."""
    try:
        yield
    except Exception as error:  # a server, the network and their client raise kinds that have no common class
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())[:500]
        if status == CONFLICT:
            raise ConfigError(
                f"{config.repo} exists. Name another repository, or commit to that one: update=true"
            ) from error
        if status in (UNAUTHORIZED, FORBIDDEN):
            raise ConfigError(
                f"the token may not write to {config.repo}: give one with the right to write, and a repository of its "
                f"user or organization. {reason}"
            ) from error
        raise RunError(f"{config.repo}: the push failed, and can be repeated with update=true. {reason}") from error
