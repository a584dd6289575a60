"""conspecific completion: a script with which a shell completes commands, keys and their values."""

from collections.abc import Iterator

from conspecific.cli.commands import COMMANDS, Command
from conspecific.cli.keys import keys_of
from conspecific.config.location import all_groups, config_dir, options
from conspecific.config.schema import CompletionConfig
from conspecific.config.yaml_file import read_yaml
from conspecific.errors import ConfigError

GLOBAL = "# @package _global_"  # how a file begins whose keys are not below the name of its group
BASH = """# bash completion of conspecific: eval "$(conspecific completion bash)"
_conspecific() {{
  local line="${{COMP_LINE:0:COMP_POINT}}" keys values
  local current="${{line##*[[:space:]]}}"
  local -a given=($line)
  [[ -z $current ]] && given+=("")
  COMPREPLY=()
  if (( ${{#given[@]}} <= 2 )); then
    COMPREPLY=($(compgen -W "{commands}" -- "$current"))
    COMPREPLY=("${{COMPREPLY[@]/%/ }}")
    return
  fi
  case "${{given[1]}}" in
{cases}
    *) return ;;
  esac
  if [[ $current == *=* ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
    COMPREPLY=("${{COMPREPLY[@]/%/ }}")
    [[ $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{current%"${{current##*=}}"}}"}}")
  else
    COMPREPLY=($(compgen -W "$keys" -- "$current"))
  fi
}}
complete -o default -o nospace -F _conspecific conspecific
"""
ZSH = """#compdef conspecific
# zsh completion of conspecific: source <(conspecific completion zsh), after compinit
_conspecific() {{
  local -a commands keys values
  if (( CURRENT == 2 )); then
    commands=(
{commands}
    )
    _describe command commands
    return
  fi
  case "${{words[2]}}" in
{cases}
    *) return ;;
  esac
  if [[ ${{words[CURRENT]}} == *=* ]]; then
    compadd -a values || {{ compset -P '*='; _files }}
  else
    compadd -S '' -a keys
    _files
  fi
}}
(( $+functions[compdef] )) && compdef _conspecific conspecific
"""
FISH = """# fish completion of conspecific: conspecific completion fish | source
{commands}
{cases}
"""


def run(config: CompletionConfig) -> None:
    """Print the script of a shell."""
    if config.shell not in SCRIPTS:
        raise ConfigError(f"completion takes {', '.join(SCRIPTS)}; found {config.shell or 'no shell'}")
    print(SCRIPTS[config.shell](), end="")


def words_of(command: Command) -> tuple[list[str], list[str]]:
    """Return `KEY=` of each key and group of a command, and `KEY=VALUE` of those whose values are known."""
    keys = list(keys_of(command.schema))
    groups = all_groups() if command.groups is None else list(command.groups)
    names = {key.name for key in keys} | {name for group in groups for name in (group, *_keys_of_group(group))}
    values = [f"{key.name}={value}" for key in keys for value in key.values]
    values += [f"{group}={option}" for group in groups for option in options(group)]
    return sorted(f"{name}=" for name in names), sorted(set(values))


def _keys_of_group(group: str) -> Iterator[str]:
    """The keys of the options of a group that are set on the command line as GROUP.KEY=VALUE."""
    for option in options(group):
        file = config_dir() / group / f"{option}.yaml"
        if file.read_text(encoding="utf-8").startswith(GLOBAL):
            continue
        found = read_yaml(file)
        yield from (f"{group}.{key}".replace("/", ".") for key in found or () if key != "defaults" and key[0] != "_")


def _bash() -> str:
    cases = []
    for command in COMMANDS.values():
        keys, values = words_of(command)
        cases.append(f'    {command.name}) keys="{" ".join(keys)}"; values="{" ".join(values)}" ;;')
    return BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


def _zsh() -> str:
    commands = [f"      {_quoted(f'{command.name}:{command.summary}')}" for command in COMMANDS.values()]
    cases = []
    for command in COMMANDS.values():
        keys, values = words_of(command)
        cases.append(f"    {command.name}) keys=({' '.join(keys)}); values=({' '.join(map(_quoted, values))}) ;;")
    return ZSH.format(commands="\n".join(commands), cases="\n".join(cases))


def _fish() -> str:
    commands = [
        f"complete -c conspecific -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.summary)}"
        for command in COMMANDS.values()
    ]
    cases = []
    for command in COMMANDS.values():
        words = " ".join(word for part in words_of(command) for word in part)
        cases.append(f"complete -c conspecific -n '__fish_seen_subcommand_from {command.name}' -a '{words}'")
    return FISH.format(commands="\n".join(commands), cases="\n".join(cases))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
