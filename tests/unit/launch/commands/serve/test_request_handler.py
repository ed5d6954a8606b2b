"""The page as it is sent: its own script and style alone may run. What it answers: test_server.py."""

from __future__ import annotations

import base64
import hashlib
import re

from launch.commands.serve.request_handler import page, policy


def test_the_policy_names_what_is_in_the_page() -> None:
    text = page()[0].decode()
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy()


def test_no_text_of_a_run_becomes_markup() -> None:
    text = page()[0].decode()
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|style=|onclick=", text
    )
