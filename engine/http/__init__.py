"""The one way out: every HTTP call of the product goes through `HttpClient`."""

from engine.http.addresses import Allow, parse_allow
from engine.http.client import HttpClient
from engine.http.connecting import Resolve

__all__ = ["Allow", "HttpClient", "Resolve", "parse_allow"]
