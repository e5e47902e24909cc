"""The library of expressions, a file for each group. Importing this package fills `engine.expressions.library`."""

from engine.expressions.functions import dates as dates
from engine.expressions.functions import hashes as hashes
from engine.expressions.functions import json_text as json_text
from engine.expressions.functions import lists as lists
from engine.expressions.functions import logic as logic
from engine.expressions.functions import numbers as numbers
from engine.expressions.functions import objects as objects
from engine.expressions.functions import order as order
from engine.expressions.functions import patterns as patterns
from engine.expressions.functions import predicates as predicates
from engine.expressions.functions import texts as texts
from engine.expressions.functions import urls as urls
