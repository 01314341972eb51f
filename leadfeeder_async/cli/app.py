"""The application: its commands and the texts around them.

The module of a command is imported when the command runs, so that the application starts fast.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from leadfeeder_async._version import __version__
from leadfeeder_async.cli.global_options import HELP as GLOBAL_OPTIONS_HELP
from leadfeeder_async.cli.options import OPTIONS_GROUP
from leadfeeder_async.cli.printing import print_out

_EPILOGUE = (
    "Environment variables: LEADFEEDER_API_KEY (required by commands that use the API, unless "
    "'leadfeeder login' stored a key), LEADFEEDER_ACCOUNT_ID (required if the key has several accounts), "
    "LEADFEEDER_BASE_URL (for a sandbox).\n\n" + GLOBAL_OPTIONS_HELP
)

_COMMANDS = {
    "account_commands:accounts": "List the accounts that the API key can access.",
    "brief_command:brief": "Rank the companies that visited your website.",
    "record_commands:companies": "Search for companies and look them up.",
    "record_commands:contacts": "Search for contacts at companies.",
    "contract_command:contract": "Check this package against the API's OpenAPI document.",
    "demo_command:demo": "Export, sync and report the visits of a generated account.",
    "doctor_command:doctor": "Check the key, account, credits, quota, tracker, visits and clock.",
    "enrich_command:enrich": "Look up a company for each row of a file.",
    "export_commands:export": "Export a list to a file or to stdout.",
    "feed_commands:feeds": "Show and change the account's custom feeds.",
    "record_commands:ip": "Look up the company, location and network of an IP address.",
    "tag_and_list_commands:lists": "Show and change the account's lists.",
    "login_commands:login": "Store the API key in the keyring of the operating system.",
    "login_commands:logout": "Delete the API key from the keyring of the operating system.",
    "report_command:report": "Write an HTML page about the visits in a synced database. Sends no requests.",
    "sandbox_command:sandbox": "Run a local server that behaves like the API.",
    "sync_command:sync": "Update a DuckDB database with visits, companies, tags, lists and usage.",
    "tag_and_list_commands:tags": "Show and change the account's tags.",
    "account_commands:usage": "Show requests and credits by month and endpoint.",
    "watch_command:watch": "Print new visits as they come, until Ctrl-C or SIGTERM.",
}
"""The commands and groups of commands, with the first line of their help."""


def build_app(*, help_only: bool = False) -> App:
    """Return the application.

    Args:
        help_only: Return an application that can only show the list of its commands. This imports none of them.
    """
    app = App(
        name="leadfeeder",
        help="Export, sync and look up Leadfeeder data.",
        help_epilogue=_EPILOGUE,
        help_format="plaintext" if help_only else None,
        group_parameters=OPTIONS_GROUP,
        version=__version__,
        suppress_keyboard_interrupt=False,
    )
    app["--help"].help = "Show this help and exit."
    app["--version"].help = "Show the version and exit."
    for path, summary in _COMMANDS.items():
        # With the summary, `leadfeeder COMMAND --help` would not show the longer help of the command itself.
        app.command(f"leadfeeder_async.cli.{path}", help=summary if help_only else None)
    app.command(completion)
    return app


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that runs the script.")],
    /,
) -> None:
    """Print a script that completes commands and options in a shell.

    For bash and zsh: `source <(leadfeeder completion bash)`. For fish: `leadfeeder completion fish | source`.
    """
    print_out(build_app().generate_completion(shell=shell))
    if shell == "zsh":
        print_out(_ZSH_REGISTRATION)


_ZSH_REGISTRATION = """\
if [[ $funcstack[1] == (_leadfeeder|_cyclopts_leadfeeder) ]]; then
  _cyclopts_leadfeeder "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
  compdef _cyclopts_leadfeeder leadfeeder
fi"""
"""Registers the function of Cyclopts if the script is sourced. Runs it if the script is a file in ``fpath``."""
