"""Files to begin with, printed by ``sample``."""
