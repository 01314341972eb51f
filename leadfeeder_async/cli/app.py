"""The application: its commands and the texts around them.

Commands import aiohttp and other slow modules when they run, so that ``--help`` is fast.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from leadfeeder_async._version import __version__
from leadfeeder_async.cli.account_commands import accounts, usage
from leadfeeder_async.cli.brief_command import brief
from leadfeeder_async.cli.contract_command import contract
from leadfeeder_async.cli.demo_command import demo
from leadfeeder_async.cli.doctor_command import doctor
from leadfeeder_async.cli.enrich_command import enrich
from leadfeeder_async.cli.export_commands import export
from leadfeeder_async.cli.feed_commands import feeds
from leadfeeder_async.cli.global_options import HELP as GLOBAL_OPTIONS_HELP
from leadfeeder_async.cli.login_commands import login, logout
from leadfeeder_async.cli.options import OPTIONS_GROUP
from leadfeeder_async.cli.printing import print_out
from leadfeeder_async.cli.record_commands import companies, contacts, ip
from leadfeeder_async.cli.report_command import report
from leadfeeder_async.cli.sandbox_command import sandbox
from leadfeeder_async.cli.sync_command import sync
from leadfeeder_async.cli.tag_and_list_commands import lists, tags
from leadfeeder_async.cli.watch_command import watch

app = App(
    name="leadfeeder",
    help="Export, sync and look up Leadfeeder data.",
    help_epilogue="Environment variables: LEADFEEDER_API_KEY (required by commands that use the API, unless "
    "`leadfeeder login` stored a key), LEADFEEDER_ACCOUNT_ID (required if the key has several accounts), "
    "LEADFEEDER_BASE_URL (for a sandbox).\n\n" + GLOBAL_OPTIONS_HELP,
    group_parameters=OPTIONS_GROUP,
    version=__version__,
    suppress_keyboard_interrupt=False,
)
app["--help"].help = "Show this help and exit."
app["--version"].help = "Show the version and exit."


for command in (
    accounts,
    brief,
    companies,
    contacts,
    contract,
    demo,
    doctor,
    enrich,
    export,
    feeds,
    ip,
    lists,
    login,
    logout,
    report,
    sandbox,
    sync,
    tags,
    usage,
    watch,
):
    app.command(command)


@app.command
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that runs the script.")],
    /,
) -> None:
    """Print a script that completes commands and options in a shell.

    For bash and zsh: `source <(leadfeeder completion bash)`. For fish: `leadfeeder completion fish | source`.
    """
    print_out(app.generate_completion(shell=shell))
    if shell == "zsh":
        print_out(_ZSH_REGISTRATION)


_ZSH_REGISTRATION = """\
if [[ $funcstack[1] == (_leadfeeder|_cyclopts_leadfeeder) ]]; then
  _cyclopts_leadfeeder "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
  compdef _cyclopts_leadfeeder leadfeeder
fi"""
"""Registers the function that Cyclopts writes, in a sourced script, or runs it, in a file of a folder in ``fpath``."""
