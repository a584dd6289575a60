"""conspecific doctor: one page about this installation, to paste into an issue."""

from conspecific.config.schema import DoctorConfig
from conspecific.runs.doctor import examine
from conspecific.tables import PlainConsole

WIDTH = 26  # of the names, in characters


def run(config: DoctorConfig) -> None:
    """Print what is installed, on which machine, and what does not work; the last line says what to do next."""
    console = PlainConsole()
    found = examine(config.paths)
    for title, rows in found.sections.items():
        console.print(title, style="bold", highlight=False)
        for name, value in rows:
            console.print(f"  {name:<{WIDTH}}{value}", soft_wrap=True, highlight=False)
    for fault in found.faults:
        console.print(f"Fault: {fault}", style="red", soft_wrap=True, highlight=False)
    console.print(f"Next: {found.next}", soft_wrap=True, highlight=False)
