"""What each system call does, by what it is done to; each module has its table ``ACTS``."""
