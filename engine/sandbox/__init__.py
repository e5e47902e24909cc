"""Runs the author's Python in a child process: walled in, with a share of time and memory."""

from engine.sandbox.contract import CodeResult, Limits
from engine.sandbox.host import check_source, run_code

__all__ = ["CodeResult", "Limits", "check_source", "run_code"]
