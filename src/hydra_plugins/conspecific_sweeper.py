"""Where Hydra looks for sweepers: it takes none that is defined in a package of another name."""

from conspecific.cli.sweeper import TrialSweeper


class OptunaSweeper(TrialSweeper):
    """`override /hydra/sweeper: optuna`; see `configs/hydra/sweeper/optuna.yaml`."""
