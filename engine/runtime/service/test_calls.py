"""Calls to test addresses: they run the draft as it is now, live in the editor, and stop before changing anything."""

import asyncio

from engine.errors import StudioError
from engine.runtime.answers import Answer
from engine.runtime.parts import Parts
from engine.runtime.service.actor import Actor
from engine.runtime.service.drafts import Drafts
from engine.runtime.service.following import Following
from engine.runtime.store import StoreUnavailable
from engine.runtime.webhooks.ingress import Allowed, Call, Ingress, problem, unavailable
from engine.runtime.webhooks.keyring import Keyring
from engine.runtime.webhooks.routes import Route, Routes

CALLER = "test call"


class TestIngress(Ingress):
    """Answers calls to the webhooks of drafts, with the same checks as those of published ones."""

    __test__ = False  # pytest takes the name for its own

    def __init__(self, parts: Parts, drafts: Drafts, following: Following) -> None:
        super().__init__(Routes(parts.store, drafts=True), Keyring(parts.store, parts.vault), parts.bus)
        self._drafts = drafts
        self._following = following

    async def route(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The webhook of a path, as the drafts are now. Raises StoreUnavailable."""
        await self._refresh()
        return self._routes.table.match(path)

    async def answer(self, allowed: Allowed, call: Call) -> Answer:
        """Run the draft; answer as its webhook says, or `{"held": [labels]}` where it stopped. Raises nothing."""
        made = await self.item(allowed, call)
        if isinstance(made, Answer):
            return made
        route = allowed.route
        actor = Actor(CALLER, project_id=route.project_id)
        try:
            id_ = await asyncio.to_thread(self._drafts.test_call, actor, route, made[0])
            await self._following.until_ended(actor, id_, float(route.params.get("timeout_s", 30)))
            found = await asyncio.to_thread(self._drafts.test_answer, id_)
        except StoreUnavailable as exc:
            return unavailable(exc)
        except StudioError as exc:
            return problem(409, exc.code, exc.message, exc.hint)
        return found if found is not None else self.late(id_)
