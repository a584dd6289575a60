"""Hydra's multirun with Optuna: each trial is a whole run, and the next one is drawn from the scores of the others."""

import importlib.util
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from conspecific.config.overrides import override
from conspecific.config.targets import build, takes
from conspecific.errors import ConfigError, RunError
from conspecific.tables import PlainConsole

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

STUDY, TRYING = "study.db", "dry_run=true"


# Hydra imports this module for every command, when it looks for sweepers: heavy imports are inside the functions.


class TrialSweeper(Sweeper):
    """Draws settings from an Optuna study, trains with them, and reports the validation score, never a test score.

    The study is stored in the folder of the sweep. An interrupted sweep continues where `hydra.sweep.dir` names that
    folder: interrupted trials start again, and `n_trials` is the total of all sessions. Trials run one after another,
    because each is drawn from the results before it. The state of a trial is PRUNED if the pruner stopped it, and FAIL
    if it ended in an error; `trials.json` has the same states and can be read without Optuna.
    """

    def __init__(
        self,
        n_trials: int,
        seed: int,
        sampler: Mapping[str, Any],
        pruner: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """sampler, pruner: nodes with a `_target_`. params: key -> values in Hydra's grammar, as `interval(1, 2)`."""
        self.n_trials, self.seed = n_trials, seed
        self.sampler, self.pruner = _plain(sampler), _plain(pruner)
        self.params = dict(params or {})
        self.console = PlainConsole()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra calls this before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.allow = list(config.allow)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> float | None:
        """Run trials until there are `n_trials`. Returns the best validation score, None where no trial has one."""
        require_optuna()
        from conspecific.cli.search_space import search_space

        assert self.hydra_context is not None and self.config is not None, "Hydra calls setup() first"
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        fixed, space = search_space(parser.parse_overrides(given))
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        with _quiet_optuna():
            study = self._open_study(folder, fixed, space)
            wanted = 1 if TRYING in fixed else self.n_trials
            while (done := len(_counted(study))) < wanted:
                self._run_trial(study, done + 1, fixed, space)
                if TRYING not in fixed:
                    _write_trials(study, folder)
            best = _best(study)
        again = shlex.join(["conspecific", "compare", str(folder)])
        self.console.print(f"Sweep: {again}", soft_wrap=True, highlight=False)
        return best

    def _open_study(self, folder: Path, fixed: list[str], space: Mapping[str, "BaseDistribution"]) -> "Study":
        """Create or continue the study of a folder. Raises RunError if its search space or fixed settings differ."""
        import optuna

        study = optuna.create_study(
            storage=None if TRYING in fixed else f"sqlite:///{(folder / STUDY).resolve()}",
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            pruner=build(self.pruner, "hydra.sweeper.pruner", self.allow),
        )
        asked = {"fixed": sorted(fixed), "space": {key: repr(found) for key, found in sorted(space.items())}}
        if (begun := study.user_attrs.get("asked", asked)) != asked:
            differing = sorted(set(_lines(begun)) ^ set(_lines(asked)))
            raise RunError(
                f"{folder / STUDY} is of a sweep with other settings ({'; '.join(differing)}). Give the same ones to "
                "go on with it, or another hydra.sweep.dir"
            )
        study.set_user_attr("asked", asked)
        drawn = (
            {"seed": self.seed + len(study.trials)}
            if takes(self.sampler, "hydra.sweeper.sampler", "seed", self.allow)
            else {}
        )
        study.sampler = build(
            self.sampler, "hydra.sweeper.sampler", self.allow, **drawn
        )  # with the seed alone, it would draw again what it has drawn
        _begin_again(study)
        return study

    def _run_trial(self, study: "Study", number: int, fixed: list[str], space: dict[str, "BaseDistribution"]) -> None:
        """Draw settings, train with them in a run directory of the trial's number, and tell the study."""
        from optuna.trial import TrialState

        from conspecific.training.pruning import watched

        assert self.config is not None, "sweep() was called"
        trial = study.ask(space)
        drawn = [f"{key}={value}" for key, value in trial.params.items()]
        self.console.print(f"Trial {number} of {self.n_trials}: {' '.join(drawn)}", soft_wrap=True, highlight=False)
        try:
            with watched(trial) as watch:
                [job] = self.launcher.launch([[*fixed, *drawn]], initial_job_idx=trial.number)
        except KeyboardInterrupt as stop:
            place = shlex.quote(override("hydra.sweep.dir", str(self.config.hydra.sweep.dir)))
            raise KeyboardInterrupt(f"; to go on: the same command, with {place}") from stop
        score = job.return_value  # raises what the job raised, where that was no error of the user's
        if score is None:
            study.tell(trial, state=TrialState.FAIL)
        elif watch.pruned_after is not None:
            trial.set_user_attr("score", score)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score)
        self._say(study, trial, number)

    def _say(self, study: "Study", trial: "Trial", number: int) -> None:
        found = study.trials[trial.number]
        score = _score(found)
        came_to = "failed" if score is None else f"{found.state.name.lower()}, validation {score:.4f}"
        best = _best(study)
        so_far = "" if best is None else f"; best so far {best:.4f}, run {study.best_trial.number}"
        self.console.print(f"Trial {number} of {self.n_trials}: {came_to}{so_far}\n", soft_wrap=True, highlight=False)


def _plain(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Plain containers in place of OmegaConf's, which Hydra hands over."""
    found = OmegaConf.to_container(OmegaConf.create(dict(node)))
    assert isinstance(found, dict), "sampler and pruner are mappings"
    return {str(name): value for name, value in found.items()}


def require_optuna() -> None:
    """Raise ConfigError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("hydra/sweeper=optuna needs Optuna: pip install -e '.[sweep]' in the clone")


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silence Optuna: the sweeper prints one line for the result of a trial."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def _begin_again(study: "Study") -> None:
    """Queue interrupted trials again, with the same settings."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.enqueue_trial(trial.params, user_attrs={"begun_before": trial.number})
        study.tell(trial.number, state=TrialState.FAIL)
        cut = study.user_attrs.get("cut_off", [])
        study.set_user_attr("cut_off", [*cut, trial.number])


def _counted(study: "Study") -> list[Any]:
    """Trials that ended, without those that were interrupted."""
    cut = study.user_attrs.get("cut_off", [])
    return [trial for trial in study.trials if trial.state.is_finished() and trial.number not in cut]


def _score(trial: Any) -> float | None:
    """The validation score of a trial's chosen epoch."""
    score: float | None = trial.user_attrs.get("score", trial.value)
    return score


def _best(study: "Study") -> float | None:
    """The best score of trials that had all their epochs; None before the first of them."""
    try:
        return float(study.best_value)
    except ValueError:
        return None


def _write_trials(study: "Study", folder: Path) -> None:
    """Write number, state, score and settings of every trial, whole or not at all."""
    from conspecific.files import write_json
    from conspecific.runs.sweeps import TRIALS

    rows = [
        {
            "number": trial.number,
            "state": "cut off" if trial.number in study.user_attrs.get("cut_off", []) else trial.state.name.lower(),
            "score": _score(trial),
            "params": trial.params,
        }
        for trial in study.trials
    ]
    write_json(folder / TRIALS, rows)


def _lines(asked: Mapping[str, Any]) -> list[str]:
    return [*asked["fixed"], *(f"{key}: {found}" for key, found in asked["space"].items())]
