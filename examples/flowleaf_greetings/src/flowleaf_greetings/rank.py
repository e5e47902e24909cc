"""Ranks items. Its function has a parameter called `frame`: it gets all items as a pandas DataFrame."""

from typing import TYPE_CHECKING, Literal

from engine.api import Context, NodeError, Params, did_you_mean, field, node

if TYPE_CHECKING:
    import pandas as pd


class RankParams(Params):
    by: str = field(help="Name of the field with the numbers.", min_length=1)
    best: Literal["largest", "smallest"] = field("largest", help="Which number is rank 1.")


@node("greetings.rank", group="transform", effects="pure", keywords=("place", "top", "order", "best"))
def rank(ctx: Context, frame: "pd.DataFrame", params: RankParams) -> "pd.DataFrame":
    """Put items in order of a number, and say the rank of each; equal numbers share theirs.

    Example:
      params: {by: points}
      main: [{name: Ada, points: 7}, {name: Ben, points: 9}, {name: Cleo, points: 7}]
      gives:
        - {name: Ben, points: 9, rank: 1}
        - {name: Ada, points: 7, rank: 2}
        - {name: Cleo, points: 7, rank: 2}
    """
    if params.by not in frame:
        raise NodeError(
            f"no item has the field {params.by!r}", hint=did_you_mean(params.by, frame.columns), retryable=False
        )
    ranks = frame[params.by].rank(method="min", ascending=params.best == "smallest", na_option="bottom")
    # Sorting keeps the frame's index, which says what each item came from.
    return frame.assign(rank=ranks.astype("int64")).sort_values("rank", kind="stable")
