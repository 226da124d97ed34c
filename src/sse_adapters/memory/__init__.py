"""Every driven port in memory: what the contracts mean, in few words, and a store that keeps nothing."""

from sse_adapters.memory.bus import MemoryBus, MemoryLine
from sse_adapters.memory.presence import MemoryBoard, MemoryPresence
from sse_adapters.memory.shared import MemoryShared
from sse_adapters.memory.store import MemoryStore
from sse_adapters.memory.unread_cache import MemoryUnreadCache

__all__ = [
    "MemoryBoard",
    "MemoryBus",
    "MemoryLine",
    "MemoryPresence",
    "MemoryShared",
    "MemoryStore",
    "MemoryUnreadCache",
]
