"""Addresses that are as good as a password: where they are kept, and that nobody else can read them.

They stand in a variable of the environment, or in a file of the user's; settings name the file. So they come
into no run folder, script, log or snapshot.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from launch.node.notices.message import NoticeError
from shards.files.home import in_home

VARIABLES = {"slack": "SLACK_WEBHOOK_URL", "ntfy": "NTFY_TOPIC"}
_ADDRESS = re.compile(r"https?://[!-~]+")
_TOPIC = re.compile(r"[-\w]{1,64}", re.ASCII)  # ntfy's own rule
NTFY = "https://ntfy.sh"  # where a topic without an address is


def usual_file(service: str) -> Path:
    """Return the file that is read where none is named; without a home folder it isn't there."""
    return in_home(".config", "dnw", service) or Path("~", ".config", "dnw", service)


def read(service: str, file: str = "") -> list[str]:
    """Return the words in the variable or the file of a service: an address first.

    Args:
        service: slack or ntfy.
        file: that holds them; "": the variable if it is set, else the usual file.

    Raises:
        NoticeError: there is none, others may read it, or it holds no address.
    """
    variable = VARIABLES[service]
    if not file and os.environ.get(variable, "").strip():
        return _checked(service, f"${variable}", os.environ[variable])
    path = Path(file) if file else usual_file(service)
    if path.is_dir():
        raise NoticeError(f"{path}: a folder; must be a file that holds {_what(service)}")
    if not path.is_file():
        or_variable = "" if file else f", and ${variable} is not set"
        raise NoticeError(f"{path}: not there{or_variable}; {_how(service, path)}")
    try:
        if path.stat().st_mode & 0o077:
            raise NoticeError(
                f"{path}: others may read it, and it is as good as a password; chmod 600 {path}"
            )
        return _checked(service, str(path), path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise NoticeError(f"{path}: can't be read ({type(error).__name__}); {_how(service, path)}") from None


def _checked(service: str, where: str, text: str) -> list[str]:
    words = text.split()
    if service == "ntfy" and words and _TOPIC.fullmatch(words[0]):
        words[0] = f"{NTFY}/{words[0]}"
    if not words or not _ADDRESS.fullmatch(words[0]) or len(words) > (2 if service == "ntfy" else 1):
        raise NoticeError(f"{where}: must hold {_what(service)}, and nothing else")
    return words


def _what(service: str) -> str:
    if service == "slack":
        return "the address of an incoming webhook, https://hooks.slack.com/services/..."
    return "a topic, or its address https://SERVER/TOPIC, and after a space an access token if it needs one"


def _how(service: str, path: Path) -> str:
    """Return how such a file is made, so that the address comes into no history of a shell."""
    return f"(umask 077; mkdir -p {path.parent}; cat > {path}), then paste {_what(service)}, Enter, Ctrl-D"
