"""The memberships of the naive model, and how they came to be: nodes may stand at different points of that."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.unit.domain.model import Membership, Memberships


class MembershipHistory:
    """`now` is what stands after `version` changes."""

    def __init__(self) -> None:
        self.now: Memberships = {}
        self.version = 0
        self._states: dict[tuple[str, str], list[tuple[int, Membership | None]]] = {}

    def change(self, user_id: str, group: str, membership: Membership | None) -> None:
        """The next change: `membership` is what now stands between this user and this group."""
        self.version += 1
        self._states.setdefault((user_id, group), [(0, None)]).append((self.version, membership))
        self.now = self._with(user_id, group, membership)

    def seen_by(
        self, knowledge: Knowledge, user_id: str | None, group: str | None, at_least: int = 0
    ) -> list[Memberships]:
        """All that a node may take them for which knows so much, or more, of what is between a user and a group."""
        key = user_id or "", group or ""
        states = self._states.get(key)
        if states is None:
            return [self.now]
        known = max(at_least, knowledge.of(key))
        first = max(index for index, (version, _) in enumerate(states) if version <= known)
        return [self._with(*key, membership) for _, membership in states[first:]]

    def _with(self, user_id: str, group: str, membership: Membership | None) -> Memberships:
        groups = {name: standing for name, standing in self.now.get(user_id, {}).items() if name != group}
        if membership is not None:
            groups[group] = membership
        return {**self.now, user_id: groups}


@dataclass
class Knowledge:
    """What a node knows at least: all changes up to a version, and its own."""

    version: int = 0
    _own: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, key: tuple[str, str]) -> int:
        return max(self.version, self._own.get(key, 0))

    def learns(self, version: int) -> None:
        self.version = max(self.version, version)

    def made(self, user_id: str, group: str, version: int) -> None:
        self._own[user_id, group] = version
