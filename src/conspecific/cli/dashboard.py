"""conspecific dashboard: one page over all runs in a folder."""

from pathlib import Path

from conspecific.config.schema import DashboardConfig
from conspecific.files import refuse_other_file
from conspecific.reporting.dashboard.page import write_dashboard
from conspecific.reporting.page.section import is_page
from conspecific.reporting.page.wording import plural
from conspecific.runs.overview import read_overview
from conspecific.tables import PlainConsole


def run(config: DashboardConfig) -> None:
    """Write the page, and print how many runs it has and which were left out."""
    folder = Path(config.folder or config.paths.runs).expanduser()
    page = Path(config.output).expanduser() if config.output else folder / "dashboard.html"
    refuse_other_file(page, "dashboard", lambda file: is_page(file, "dashboard"))
    found, console = read_overview(folder), PlainConsole()
    for name, reason in found.left_out:
        console.print(f"Left out: {name}: {reason}", style="yellow", soft_wrap=True, highlight=False)
    console.print(f"{plural(len(found.runs), 'run')}, {len(found.left_out)} left out", highlight=False)
    console.print(f"Dashboard: {write_dashboard(page, found).resolve()}", soft_wrap=True, highlight=False)
