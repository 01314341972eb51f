"""Messages for a command line that cannot be parsed."""

from __future__ import annotations

from difflib import get_close_matches

from cyclopts import CycloptsError, UnusedCliTokensError


def usage_message(error: CycloptsError) -> str:
    """Return the message of an error, with the option or argument that helps."""
    error.verbose = False
    command = " ".join(("leadfeeder", *(error.command_chain or ())))
    if not isinstance(error, UnusedCliTokensError) or not error.unused_tokens or error.app is None:
        return f"{error}\nRun `{command} --help` for all options."
    word = error.unused_tokens[0]
    arguments, options = _names(error)
    problem = f"`{command}` takes {_arguments_text(arguments)}, so {word!r} has no meaning here."
    near = get_close_matches(word.lstrip("-").lower(), [option[2:] for option in options], 1)
    if near:
        return f"{problem} Did you mean --{near[0]}?"
    return (
        f"{problem} If it belongs to a value with spaces, put the value in quotes. "
        f"Its options are {', '.join(options)}; `{command} --help` explains them."
    )


def _names(error: CycloptsError) -> tuple[list[str], list[str]]:
    """Return the names of a command's arguments and of its options."""
    arguments, options = list[str](), list[str]()
    assert error.app is not None
    collection = error.app.assemble_argument_collection()
    for argument in collection:
        if argument.index is not None and argument.names:
            arguments.append(argument.names[0].lstrip("-").upper().replace("-", "_"))
        else:
            options += [name for name in argument.names[:1] if name.startswith("--")]
    return arguments, options


def _arguments_text(arguments: list[str]) -> str:
    if not arguments:
        return "only options"
    return f"one argument, {arguments[0]}" if len(arguments) == 1 else f"the arguments {', '.join(arguments)}"
