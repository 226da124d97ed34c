"""Every driven port in memory: what the contracts mean, in few words, and a store that keeps nothing."""

from sse_adapters.memory.store import MemoryStore

__all__ = ["MemoryStore"]
