"""The memory of a Strike account: what it knows, in the order in which it was made, also after a restart."""

from functools import cache
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import TypeAdapter

from quittance.sandbox.lnd.network import Network
from quittance.sandbox.strike.entities import KINDS, Entity
from quittance.sandbox.strike.records import StrikeRecord

Kept = TypeVar("Kept", bound=Entity)


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    """Return what writes and reads each kind; they take a while to make."""
    return {kind.__name__: TypeAdapter(kind) for kind in KINDS}


class Book:
    """Entities by id and by key. What :meth:`save` returned from survives the process."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._adapters = _adapters()
        self._entities: dict[str, dict[str, Any]] = {kind.__name__: {} for kind in KINDS}
        self._ids: dict[tuple[str, str], str] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._last = 0
        for record in sorted(network.recall(StrikeRecord), key=lambda record: record.number):
            self._keep(self._adapters[record.kind].validate_json(record.content), record)

    @staticmethod
    def new_id() -> str:
        return str(uuid4())

    def save(self, *entities: Entity) -> None:
        """Write all of ``entities``, or none of them."""
        records = [self._record(entity, number=self._last + place) for place, entity in enumerate(entities, start=1)]
        self._network.remember(*records)
        for entity, record in zip(entities, records, strict=True):
            self._keep(entity, record)

    def find(self, kind: type[Kept], entity_id: str) -> Kept | None:
        found: Kept | None = self._entities[kind.__name__].get(entity_id)
        return found

    def keyed(self, kind: type[Kept], key: str) -> Kept | None:
        """Return the entity with this key."""
        entity_id = self._ids.get((kind.__name__, key))
        return self.find(kind, entity_id) if entity_id is not None else None

    def all(self, kind: type[Kept]) -> list[Kept]:
        """Return every entity of one kind, oldest first."""
        return list(self._entities[kind.__name__].values())

    def _record(self, entity: Entity, *, number: int) -> StrikeRecord:
        kind = type(entity).__name__
        return StrikeRecord(
            kind=kind,
            id=entity.id,
            number=self._numbers.get((kind, entity.id), number),
            content=self._adapters[kind].dump_json(entity).decode(),
        )

    def _keep(self, entity: Entity, record: StrikeRecord) -> None:
        self._entities[record.kind][entity.id] = entity
        self._numbers[record.kind, entity.id] = record.number
        self._last = max(self._last, record.number)
        if entity.key is not None:
            self._ids[record.kind, entity.key] = entity.id
