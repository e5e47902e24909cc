"""Greets people by name. Its function has a parameter called `item`: it runs once for each."""

from typing import Literal

from engine.api import Context, Item, Params, field, node

WORDS = {"de": "Guten Tag", "en": "Hello", "fr": "Bonjour", "no": "Hei"}


class GreetParams(Params):
    name: str = field(help="Who is greeted, such as {{ item.name }}.", min_length=1)
    language: Literal["de", "en", "fr", "no"] = field("en", help="In which language.")
    into: str = field("greeting", help="Name of the field for the greeting.", min_length=1)


@node("greetings.greet", group="transform", effects="pure", keywords=("hello", "welcome", "name"))
def greet(ctx: Context, item: Item, params: GreetParams) -> Item:
    """Add a greeting to each item.

    Example:
      params: {name: "{{ item.first }} {{ item.last }}", language: fr}
      main: [{first: Ada, last: Lovelace}]
      gives: [{first: Ada, last: Lovelace, greeting: "Bonjour Ada Lovelace!"}]
    """
    return item.derive(**{params.into: f"{WORDS[params.language]} {params.name}!"})
