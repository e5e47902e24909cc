"""What every process of an installation is made of, from its settings: database, bus, queue, files, secrets."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engine.errors import DefinitionError
from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime.bus import Bus, MemoryBus, RedisBus
from engine.runtime.credentials.vault import Vault, load_key
from engine.runtime.data.payloads import Payloads
from engine.runtime.intake import Order
from engine.runtime.queue import Wakes
from engine.runtime.settings import Settings
from engine.runtime.store import Store


class Parts:
    """Opened from settings; what costs something is made when first asked for.

    Args:
        samples: folders beside those of the settings where file nodes may read: the shipped samples.
        bus: another bus, as tests have it.
    """

    def __init__(self, settings: Settings, *, samples: Sequence[Path] = (), bus: Bus | None = None) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self.store = Store(settings.database_url or f"sqlite:///{self.home / 'flowleaf.db'}")
        self.payloads = Payloads(self.home / "payloads")
        self.registry = Registry()
        self.samples = tuple(samples)
        self._bus = bus
        self._wakes: Wakes | None = None
        self._vault: Vault | None = None
        self._lock = threading.Lock()

    @property
    def bus(self) -> Bus:
        """The bus; of this process alone where no Redis is named."""
        if self._bus is None:
            url = self.settings.redis_url
            self._bus = RedisBus(url) if url else MemoryBus()
        return self._bus

    @property
    def wakes(self) -> Wakes:
        """The queue. Raises DefinitionError where no Redis is named."""
        if self._wakes is None:
            if not self.settings.redis_url:
                raise DefinitionError(
                    "there is no Redis to wake workers by", hint="Set FLOWLEAF_REDIS_URL, or start all by: flowleaf up"
                )
            self._wakes = Wakes(self.settings.redis_url)
        return self._wakes

    def vault(self) -> Vault:
        """The vault, with the installation's key. Raises CredentialError."""
        with self._lock:
            if self._vault is None:
                self._vault = Vault(load_key(self.home, self.settings.key))
            return self._vault

    def local(self) -> LocalServices:
        """What nodes may do outside in this process: files, HTTP, code."""
        return LocalServices(folders=[*self.settings.file_folders, *self.samples], http_allow=self.settings.http_allow)

    def woken(self, orders: Sequence[Order]) -> None:
        """Wake the workers for what was just committed. Where it gets lost, they find it within a second."""
        for queue, count in Counter("drafts" if o.row["slot"] == "draft" else "runs" for o in orders).items():
            self.wakes.soon(queue, count)

    async def close(self) -> None:
        """Give everything back."""
        if self._bus is not None:
            await self._bus.close()
        if self._wakes is not None:
            self._wakes.close()
        self.store.close()
