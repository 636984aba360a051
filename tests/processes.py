"""How the processes of a stack are, for whoever reads why a test failed."""

from amana.infra.embedded.process import Process
from amana.operate.stack import Stack

LINES_MAX = 5
TROUBLE = ('"severity_text":"warning"', '"severity_text":"error"')


def ended(stack: Stack) -> list[Process]:
    """Those that ran and do not run any more."""
    return [process for process in stack.processes() if process.exit_code is not None]


def how_processes_are(stack: Stack) -> str:
    """A line for each that runs, with the last warnings and errors of its log; for each that ended, how, and the end
    of its log."""
    lines = []
    for process in stack.processes():
        if process.exit_code is not None:
            lines.append(f"{process.name} ended: {process.how_it_ended()}. {process.log_end()}")
            continue
        lines.append(f"{process.name} runs")
        logged = process.log.read_text(errors="replace").splitlines()
        trouble = [line for line in logged if any(severity in line for severity in TROUBLE)]
        lines += [f"  {line}" for line in trouble[-LINES_MAX:]]
    return "\n".join(lines)
