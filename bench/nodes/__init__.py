"""The benchmark of several nodes: very many streams over several workers, and three nodes beside one."""
